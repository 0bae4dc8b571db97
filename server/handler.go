package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// ServeFile makes the response to ctx the file at path of the host that the
// request is for, as if it had been requested: ranges, preconditions and methods
// are those of the request. The path finds its location but no other route, and
// the location's Access is not asked: the handler has decided. Fields that the handler
// has set on the response are added, except those that describe the file. It
// does not block; the file is sent by the engine after the handler returns.
func ServeFile(ctx *fasthttp.RequestCtx, path string) {
	ctx.SetUserValue(fileKey{}, path)
}

type fileKey struct{}

// handle answers a request by a route.
func (s *session) handle(c *engine.Conn, r *Route) {
	h := &s.head
	x := s.take(c)
	x.route = r
	x.keepHead(h)
	x.path = append(x.path[:0], s.req.Path...)
	if !h.HasBody() {
		s.run(c, x)
		return
	}
	if h.ContentLength > s.srv.cfg.MaxBody {
		s.fail(c, http.StatusRequestEntityTooLarge)
		return
	}
	if h.Expect100 {
		c.Interim(continueLine)
	}
	x.wants = wantsHandler
	x.expect(h)
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// run calls the handler of x, whose request is complete.
func (s *session) run(c *engine.Conn, x *exchange) {
	if x.ctx == nil {
		x.ctx = new(fasthttp.RequestCtx)
	}
	x.ctx.Init2(s.view(c, x), handlerLog{s.srv.cfg.Log}, true)
	if err := s.parser.read(x.ctx, x.raw, x.data); err != nil {
		s.resume(x, nil)
		s.fail(c, http.StatusBadRequest) // fasthttp is stricter than package wire here
		return
	}
	// fasthttp normalises otherwise ("/a/." stays). The handler gets the path
	// that was routed, encoded because fasthttp decodes what it is given.
	s.nameBuf = httpfile.AppendLocation(s.nameBuf[:0], x.path, nil)
	x.ctx.URI().SetPathBytes(s.nameBuf)
	if x.route.Blocking {
		x.running = true
		c.Suspend()
		s.loop.Go(x)
		return
	}
	x.call()
	s.handled(c, x)
}

// call runs the handler, and reads the stream if it leaves one as the body.
func (x *exchange) call() {
	log := x.s.srv.cfg.Log
	defer func() {
		if v := recover(); v != nil {
			x.failed = true
			log.Error("handler panicked", "route", x.route.Prefix, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	x.route.Handler(x.ctx)
	if err := x.readStream(); err != nil {
		x.failed = true
		log.Error("handler's body broke off", "route", x.route.Prefix, "err", err)
	}
}

// readStream replaces a body stream by its content: the loop sends memory.
func (x *exchange) readStream() error {
	r := &x.ctx.Response
	if x.timedOut() != nil || !r.IsBodyStream() {
		return nil
	}
	var body bytes.Buffer
	if err := r.BodyWriteTo(&body); err != nil {
		return err
	}
	r.SetBodyRaw(body.Bytes())
	return nil
}

// timedOut returns the response of a handler that has given up waiting for its
// own work (fasthttp.TimeoutHandler), else nil. That work may still be using the
// RequestCtx, which must be left to it.
func (x *exchange) timedOut() *fasthttp.Response {
	if x.ctx == nil {
		return nil
	}
	return x.ctx.LastTimeoutErrorResponse()
}

// Run implements engine.Task: a blocking handler on its goroutine.
func (x *exchange) Run() { x.call() }

// Done implements engine.Task.
func (x *exchange) Done(*engine.Loop) {
	x.running = false
	if x.conn == nil {
		x.s.put(nil, x)
		return
	}
	x.s.handled(x.conn, x)
}

// handled sends what the handler of x has left in its context.
func (s *session) handled(c *engine.Conn, x *exchange) {
	s.resume(x, nil)
	if x.failed {
		s.fail(c, http.StatusInternalServerError)
		return
	}
	r := x.timedOut()
	if r == nil {
		r = &x.ctx.Response
	}
	if r.ConnectionClose() {
		c.CloseAfter(false)
	}
	if r == &x.ctx.Response {
		if name, ok := x.ctx.UserValue(fileKey{}).(string); ok {
			s.handlerFile(c, x, name)
			return
		}
	}
	s.handlerBody(c, x, r)
}

// handlerBody sends a response that a handler has made itself.
func (s *session) handlerBody(c *engine.Conn, x *exchange, r *fasthttp.Response) {
	status := r.StatusCode()
	if status < 200 || status > 599 { // an interim one would leave the client waiting
		s.srv.cfg.Log.Error("handler answered with a status that ends no request", "route", x.route.Prefix, "status", status)
		s.fail(c, http.StatusInternalServerError)
		return
	}
	body := r.Body()
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	} else {
		r.Header.SetContentLength(len(body))
	}
	if c.Closing() {
		r.Header.SetConnectionClose()
	} else if s.head.Minor == 0 {
		r.Header.Set("Connection", "keep-alive")
	}
	s.out = append(s.out[:0], r.Header.Header()...)
	s.setDate()
	s.segs = s.segs[:0]
	if len(body) > 0 && string(s.head.Method()) != http.MethodHead {
		s.segs = append(s.segs, engine.Segment{Mem: body})
	}
	s.respond(c, status, len(s.out), s.out, s.segs)
}

// setDate sets the Date of a head that fasthttp rendered: its own clock ticks
// once a second, at no particular instant, and stands still on a busy machine.
func (s *session) setDate() {
	const name = "\r\nDate: "
	if i := bytes.Index(s.out, []byte(name)); i >= 0 && len(s.out)-i >= len(name)+len(s.clock.date) {
		copy(s.out[i+len(name):], s.clock.date[:])
	}
}

// handlerFile sends the file that a handler has asked for.
func (s *session) handlerFile(c *engine.Conn, x *exchange, name string) {
	if !cleanPath(name) {
		s.srv.cfg.Log.Error("ServeFile: not a clean absolute path", "path", name)
		s.fail(c, http.StatusInternalServerError)
		return
	}
	for k, v := range x.ctx.Response.Header.All() {
		if !describesFile(string(k)) {
			x.extra = append(append(append(append(x.extra, k...), ": "...), v...), "\r\n"...)
		}
	}
	s.req.Path = []byte(name)
	s.locate(s.req.Path)
	s.file(c)
}

// extraOf returns the field lines that a handler adds to the response of c.
func extraOf(c *engine.Conn) []byte {
	if x, ok := c.Data.(*exchange); ok {
		return x.extra
	}
	return nil
}

// cleanPath reports whether path is one that a request could have: a root or
// what lies below it, normalised. A slash at the end asks for the index.
func cleanPath(path string) bool {
	name, ok := strings.CutPrefix(path, "/")
	return ok && (name == "" || name != "." && fs.ValidPath(strings.TrimSuffix(name, "/")))
}

// describesFile names the fields that the file's own plan sets.
func describesFile(field string) bool {
	switch http.CanonicalHeaderKey(field) {
	case "Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified",
		"Date", "Server", "Connection", "Transfer-Encoding":
		return true
	}
	return false
}

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
