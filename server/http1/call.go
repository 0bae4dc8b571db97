package http1

import (
	"bytes"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine/loop"
)

// call is one call of a route's handler.
type call struct {
	route  *Route // nil: no handler is called
	log    *slog.Logger
	ctx    *fasthttp.RequestCtx
	view   connView
	path   []byte // that the request was routed by; nil: the request has none
	fields []byte // lines that the handler adds to a file's response
	failed bool   // the handler panicked, or the stream that it left broke off
}

// reset makes k ready for another request.
func (k *call) reset() {
	if k.ctx != nil {
		k.ctx.Request.Reset()
		k.ctx.Response.Reset()
		k.ctx.ResetUserValues()
	}
	*k = call{ctx: k.ctx, path: k.path[:0], fields: k.fields[:0]}
}

// begin implements errand.
func (k *call) begin(done func()) {
	go func() {
		defer done()
		k.run()
	}()
}

// patience implements errand: a handler has its own.
func (k *call) patience(*Session) time.Duration { return 0 }

// run calls the handler, and reads the stream if the handler
// leaves one as the body.
func (k *call) run() {
	defer func() {
		if v := recover(); v != nil {
			k.failed = true
			k.log.Error("handler panicked", "route", k.route.Prefix, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	k.route.Handler(k.ctx)
	if err := k.readStream(); err != nil {
		k.failed = true
		k.log.Error("handler's body broke off", "route", k.route.Prefix, "err", err)
	}
}

// readStream replaces a body stream by its content: the loop sends memory.
func (k *call) readStream() error {
	r := &k.ctx.Response
	if k.timedOut() != nil || !r.IsBodyStream() {
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
func (k *call) timedOut() *fasthttp.Response {
	if k.ctx == nil {
		return nil
	}
	return k.ctx.LastTimeoutErrorResponse()
}

// look returns the connection as a handler may see it.
func (k *call) look(c *loop.Conn) net.Conn {
	k.view = connView{remote: net.TCPAddrFromAddrPort(c.RemoteAddr())}
	if e, ok := c.Adopted().(encrypted); ok {
		k.view.local = e.LocalAddr()
		return &tlsView{&k.view, e}
	}
	k.view.local = c.Loop().Addr(c.Listener())
	return &k.view
}
