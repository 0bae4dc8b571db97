package http1

import (
	"bytes"
	"net/http"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// handle answers a request by a route.
func (s *Session) handle(c *loop.Conn, r *Route) {
	h, x := &s.head, s.exchangeOf(c)
	x.keepHead(h.Raw())
	x.keepAsked()
	x.call.route, x.call.log = r, s.cfg.Log
	x.call.path = append(x.call.path[:0], s.answer.Request.Path...)
	if !h.HasBody() {
		s.run(c, x)
		return
	}
	if h.ContentLength > s.cfg.MaxBody {
		s.fail(c, http.StatusRequestEntityTooLarge)
		return
	}
	loop.GoOn(c) // the body is yet to be received
	if h.Expect100 {
		c.Interim(continueLine)
	}
	x.expect(c, wantsHandler)
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// run calls the handler of x, whose request is complete.
func (s *Session) run(c *loop.Conn, x *exchange) {
	k := &x.call
	if k.ctx == nil {
		k.ctx = new(fasthttp.RequestCtx)
	}
	k.ctx.Init2(k.look(c), handlerLog{k.log}, true)
	if err := s.parser.read(k.ctx, x.head, x.body.data); err != nil {
		s.resume(x)
		s.fail(c, http.StatusBadRequest) // fasthttp is stricter than package wire here
		return
	}
	// fasthttp normalises otherwise ("/a/." stays). The handler gets the path
	// that was routed, encoded because fasthttp decodes what it is given.
	s.path = httpfile.AppendLocation(s.path[:0], k.path, nil)
	k.ctx.URI().SetPathBytes(s.path)
	if k.route.Blocking {
		s.sendAway(c, nil, k)
		return
	}
	k.run()
	s.resume(x)
	k.goOn(s, x)
}

// land implements errand.
func (k *call) land(*Session, *exchange) {}

// goOn implements errand: it sends what the handler has left in its context.
func (k *call) goOn(s *Session, x *exchange) {
	c := x.conn
	if k.failed {
		s.fail(c, http.StatusInternalServerError)
		return
	}
	r := k.timedOut()
	if r == nil {
		r = &k.ctx.Response
	}
	if r.ConnectionClose() {
		c.CloseAfter(false)
	}
	if r == &k.ctx.Response {
		if name, ok := k.ctx.UserValue(fileKey{}).(string); ok {
			s.handlerFile(c, k, name)
			return
		}
	}
	s.handlerBody(c, k, r)
}

// handlerBody sends a response that a handler has made itself.
func (s *Session) handlerBody(c *loop.Conn, k *call, r *fasthttp.Response) {
	status := r.StatusCode()
	if status < 200 || status > 599 { // an interim one would leave the client waiting
		k.log.Error("handler answered with a status that ends no request", "route", k.route.Prefix, "status", status)
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
	if secure := s.answer.Secure(); len(secure) > 0 && len(r.Header.Peek(hsts)) == 0 {
		s.out = append(append(s.out[:len(s.out)-len("\r\n")], secure...), "\r\n"...)
	}
	if own := s.answer.Fields; len(own) > 0 && len(r.Header.Peek("RateLimit")) == 0 {
		s.out = append(append(s.out[:len(s.out)-len("\r\n")], own...), "\r\n"...)
	}
	setDate(s.out, s.clock.date[:])
	s.segs = s.segs[:0]
	if len(body) > 0 && string(s.head.Method()) != http.MethodHead {
		s.segs = append(s.segs, loop.Segment{Mem: body})
	}
	s.respond(c, status, len(s.out), s.out)
}

// hsts is the field of the host that a handler may set itself.
const hsts = "Strict-Transport-Security"

// setDate sets the Date of a head that fasthttp rendered: its own clock ticks
// once a second, at no particular instant, and stands still on a busy machine.
func setDate(head, date []byte) {
	const name = "\r\nDate: "
	if i := bytes.Index(head, []byte(name)); i >= 0 && len(head)-i >= len(name)+len(date) {
		copy(head[i+len(name):], date)
	}
}

// handlerFile sends the file that a handler has asked for.
func (s *Session) handlerFile(c *loop.Conn, k *call, name string) {
	if !site.CleanPath(name) {
		k.log.Error("ServeFile: not a clean absolute path", "path", name)
		s.fail(c, http.StatusInternalServerError)
		return
	}
	s.answer.Locate([]byte(name))
	for field, v := range k.ctx.Response.Header.All() {
		if !describesFile(string(field)) && (string(field) != hsts || len(s.answer.Secure()) == 0) {
			k.fields = append(append(append(append(k.fields, field...), ": "...), v...), "\r\n"...)
		}
	}
	s.answer.Fields = k.fields
	s.drive(c, s.answer.File())
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
