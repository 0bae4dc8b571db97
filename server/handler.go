package server

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
)

// ServeFile makes the response to ctx the file at path, below the server's
// root, as if it had been requested: ranges, preconditions and methods are
// those of the request, the path is routed no further. Fields that the handler
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
	x.view = connView{remote: net.TCPAddrFromAddrPort(c.RemoteAddr()), local: s.loop.Addr(c.Listener())}
	x.ctx.Init2(&x.view, nil, true)
	if err := s.parser.read(x.ctx, x.raw, x.data); err != nil {
		s.fail(c, http.StatusBadRequest) // fasthttp is stricter than package wire here
		return
	}
	if x.route.Blocking {
		x.running = true
		c.Suspend()
		s.loop.Go(x)
		return
	}
	x.call()
	s.handled(c, x)
}

// call runs the handler; what it panics with is kept.
func (x *exchange) call() {
	defer func() {
		if v := recover(); v != nil {
			x.panic = v
			x.s.srv.cfg.Log.Error("handler panicked", "route", x.route.Prefix, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	x.route.Handler(x.ctx)
}

// Run implements engine.Task: a blocking handler on its goroutine.
func (x *exchange) Run() {
	x.call()
	if x.panic == nil {
		x.ctx.Response.Body() // a stream is read here, where it may block
	}
}

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
	s.resume(x)
	if x.panic != nil {
		s.fail(c, http.StatusInternalServerError)
		return
	}
	ctx := x.ctx
	if ctx.Response.ConnectionClose() {
		c.CloseAfter(false)
	}
	if name, ok := ctx.UserValue(fileKey{}).(string); ok {
		s.handlerFile(c, ctx, name)
		return
	}
	r := &ctx.Response
	body := r.Body()
	if status := r.StatusCode(); status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified {
		r.Header.SetContentLength(len(body))
	} else {
		body = nil
	}
	if string(s.head.Method()) == http.MethodHead {
		body = nil
	}
	if c.Closing() {
		r.Header.SetConnectionClose()
	} else if s.head.Minor == 0 {
		r.Header.Set("Connection", "keep-alive")
	}
	s.out = append(s.out[:0], r.Header.Header()...)
	s.segs = s.segs[:0]
	if len(body) > 0 {
		s.segs = append(s.segs, engine.Segment{Mem: body})
	}
	s.respond(c, max(r.StatusCode(), 200), len(s.out), s.out, s.segs)
}

// handlerFile sends the file that a handler has asked for.
func (s *session) handlerFile(c *engine.Conn, ctx *fasthttp.RequestCtx, name string) {
	if !strings.HasPrefix(name, "/") || !engine.Clean(strings.Trim(name, "/")) && name != "/" {
		s.srv.cfg.Log.Error("ServeFile: not a clean absolute path", "path", name)
		s.fail(c, http.StatusInternalServerError)
		return
	}
	s.extra = s.extra[:0]
	for k, v := range ctx.Response.Header.All() {
		if !describesFile(string(k)) {
			s.extra = append(append(append(append(s.extra, k...), ": "...), v...), "\r\n"...)
		}
	}
	s.req.Path = []byte(name)
	s.file(c)
}

// describesFile names the fields that the file's own plan sets.
func describesFile(field string) bool {
	switch field {
	case "Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "ETag", "Last-Modified",
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
	if p.buf == nil {
		p.buf = bufio.NewReaderSize(&p.src, 64<<10)
	}
	p.src.Reset(head)
	p.buf.Reset(&p.src)
	if err := ctx.Request.Header.Read(p.buf); err != nil {
		return err
	}
	ctx.Request.SetBodyRaw(body)
	return nil
}

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
