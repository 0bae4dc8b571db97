package http1

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// ctxParser fills fasthttp requests from heads that package wire has accepted.
type ctxParser struct {
	src bytes.Reader
	buf *bufio.Reader
}

func (p *ctxParser) read(ctx *fasthttp.RequestCtx, head, body []byte) error {
	if p.buf == nil || p.buf.Size() < len(head) { // fasthttp wants a head to fit
		p.buf = bufio.NewReaderSize(&p.src, max(len(head), 16<<10))
	}
	p.src.Reset(head)
	p.buf.Reset(&p.src)
	if err := ctx.Request.Header.Read(p.buf); err != nil {
		return err
	}
	ctx.Request.SetBodyRaw(body)
	return nil
}

// handlerLog is where RequestCtx.Logger of a handler writes.
type handlerLog struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l handlerLog) Printf(format string, args ...any) { l.log.Info(fmt.Sprintf(format, args...)) }

// connView is the connection as a handler's RequestCtx sees it: addresses only.
type connView struct{ remote, local net.Addr }

var errNoConn = errors.New("server: the connection belongs to the event loop")

func (v *connView) Read([]byte) (int, error)         { return 0, errNoConn }
func (v *connView) Write([]byte) (int, error)        { return 0, errNoConn }
func (v *connView) Close() error                     { return errNoConn }
func (v *connView) LocalAddr() net.Addr              { return v.local }
func (v *connView) RemoteAddr() net.Addr             { return v.remote }
func (v *connView) SetDeadline(time.Time) error      { return errNoConn }
func (v *connView) SetReadDeadline(time.Time) error  { return errNoConn }
func (v *connView) SetWriteDeadline(time.Time) error { return errNoConn }

// encrypted is a connection that was given to the engine and is one end of TLS.
type encrypted interface {
	LocalAddr() net.Addr
	ConnectionState() tls.ConnectionState
}

// tlsView is a connView by which RequestCtx.IsTLS tells a TLS connection.
type tlsView struct {
	*connView
	tls encrypted
}

// Handshake is there for fasthttp, which looks for it.
func (v *tlsView) Handshake() error { return nil }

// ConnectionState describes the TLS connection.
func (v *tlsView) ConnectionState() tls.ConnectionState { return v.tls.ConnectionState() }
