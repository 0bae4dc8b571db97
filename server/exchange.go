package server

import (
	"net/netip"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/wire"
)

// wants says what the bytes of a body are for.
type wants uint8

const (
	wantsNothing wants = iota
	wantsDrain         // they are dropped
	wantsHandler       // a handler gets them
)

// exchange is what a request needs beyond its own turn of the loop: a body that
// is still arriving, a task, a line of the access log. A plain file request has
// none unless it is logged. Exchanges are pooled by their session.
type exchange struct {
	s       *session
	conn    *engine.Conn // nil: closed while a task runs
	running bool         // a task uses the exchange

	wants   wants
	left    int64 // bytes of a body with a length
	chunks  wire.Chunked
	chunked bool
	raw     []byte // the request head
	path    []byte // what it was routed by
	data    []byte // the body
	parts   []byte // part headers of a multipart response

	route  *Route
	ctx    *fasthttp.RequestCtx
	view   connView
	failed bool   // the handler panicked, or the stream that it left broke off
	extra  []byte // field lines that the handler adds to a file's response

	open openTask

	began   int64      // monotonic ns: the turn in which the request was read
	client  netip.Addr // of the log line
	logged  bool
	plain   bool // nothing but the log line is of the request
	headLen int
	request []byte // of the log line
	suffix  []byte
	next    *exchange
}

// take returns the connection's exchange, a new one if it has none.
func (s *session) take(c *engine.Conn) *exchange {
	if x, ok := c.Data.(*exchange); ok {
		x.plain = false
		return x
	}
	x := s.free
	if x == nil {
		x = &exchange{s: s}
	} else {
		s.free, x.next = x.next, nil
	}
	x.conn = c
	x.began = s.loop.Now()
	c.Data = x
	return x
}

// takeForLog is take for the line of the access log.
func (s *session) takeForLog(c *engine.Conn) *exchange {
	x, ok := c.Data.(*exchange)
	if !ok {
		x = s.take(c)
		x.plain = true
	}
	return x
}

// putPlain is put for an exchange that had nothing but a line of the log.
func (s *session) putPlain(c *engine.Conn, x *exchange) {
	c.Data = nil
	x.conn, x.plain = nil, false
	s.free, x.next = x, s.free
}

// maxKept bounds the memory that a pooled exchange keeps, in bytes.
const maxKept = 64 << 10

// put pools an exchange that is done with.
func (s *session) put(c *engine.Conn, x *exchange) {
	if c != nil {
		c.Data = nil
	}
	if x.timedOut() != nil {
		return // the handler goes on with what the exchange refers to
	}
	if cap(x.data) > maxKept {
		x.data = nil
	}
	if x.ctx != nil {
		x.ctx.Request.Reset()
		x.ctx.Response.Reset()
		x.ctx.ResetUserValues()
	}
	*x = exchange{
		s: s, ctx: x.ctx, next: s.free,
		raw: x.raw[:0], path: x.path[:0], data: x.data[:0], parts: x.parts[:0], extra: x.extra[:0], request: x.request[:0], suffix: x.suffix[:0],
	}
	s.free = x
}

// skipBody arranges for the body of a request that nobody wants: it is read and
// dropped so that the connection can go on, or the connection ends.
func (s *session) skipBody(c *engine.Conn) {
	h := &s.head
	if !h.HasBody() {
		return
	}
	// A client that waits for 100 Continue may or may not send its body after
	// a final answer: what comes next cannot be known (RFC 9110 section 10.1.1).
	if c.Closing() || h.Expect100 || h.ContentLength > s.srv.cfg.MaxDrain {
		c.CloseAfter(true)
		return
	}
	x := s.take(c)
	x.wants = wantsDrain
	x.expect(h)
}

func (x *exchange) expect(h *wire.Head) {
	x.left, x.chunked = max(h.ContentLength, 0), h.Chunked
	x.chunks = wire.Chunked{}
}

// body consumes bytes of a body.
func (s *session) body(c *engine.Conn, x *exchange, p []byte) int {
	var n int
	var done bool
	if x.chunked {
		var r wire.Reason
		if n, done, r = s.chunkedBody(x, p); r != wire.OK {
			s.badBody(c, x, r)
			return len(p)
		}
	} else {
		n = int(min(x.left, int64(len(p))))
		x.left -= int64(n)
		done = x.left == 0
		if x.wants == wantsHandler {
			x.data = append(x.data, p[:n]...)
		}
	}
	if done {
		s.bodyDone(c, x)
	}
	return n
}

func (s *session) chunkedBody(x *exchange, p []byte) (n int, done bool, r wire.Reason) {
	if x.wants == wantsHandler {
		x.data, n, r = x.chunks.Append(x.data, p, int(s.srv.cfg.MaxBody))
	} else if n, r = x.chunks.Discard(p); r == wire.OK && x.chunks.Size() > s.srv.cfg.MaxDrain {
		r = wire.BodyTooLarge
	}
	return n, x.chunks.Done(), r
}

// badBody ends a connection on which nobody knows where the next request begins.
func (s *session) badBody(c *engine.Conn, x *exchange, r wire.Reason) {
	was := x.wants
	x.wants = wantsNothing
	if was == wantsHandler {
		s.resume(x, nil)
		s.refuse(c, r)
		return
	}
	// The request has had its answer. An empty one more sends nothing and ends
	// the connection as the answer should have: lingering, so that what the
	// client is still sending does not turn the end into a reset.
	s.stats.Refused[r]++
	c.CloseAfter(true)
	s.resp.Head, s.resp.Body = nil, nil
	c.Respond(&s.resp)
}

func (s *session) bodyDone(c *engine.Conn, x *exchange) {
	was := x.wants
	x.wants = wantsNothing
	switch {
	case was == wantsHandler:
		s.run(c, x)
	case !x.logged:
		s.put(c, x)
	}
}

// openTask opens a file whose directories are not in memory, off the loop.
type openTask struct {
	x      *exchange
	place  *place
	path   []byte // normalised path of the request
	key    string // of the cache
	index  int    // which candidate it is
	opened engine.Opened
}

// openLater leaves the request until the file is open.
func (s *session) openLater(c *engine.Conn, key string, i int) {
	x := s.take(c)
	x.keepHead(&s.head)
	x.open = openTask{x: x, place: s.hold(), path: append(x.open.path[:0], s.req.Path...), key: key, index: i}
	x.running = true
	c.Suspend()
	s.loop.Go(&x.open)
}

// keepHead copies the request head, so that it can be read again.
func (x *exchange) keepHead(h *wire.Head) {
	if len(x.raw) == 0 {
		x.raw = append(x.raw, h.Raw()...)
	}
}

// Run implements engine.Task.
func (t *openTask) Run() { t.opened = t.place.root.Open(t.place.name(t.key), false) }

// Done implements engine.Task.
func (t *openTask) Done(l *engine.Loop) {
	x, s, p := t.x, t.x.s, t.place
	defer s.leave(p.site)
	x.running = false
	f, e := l.Files.Add(t.key, t.opened)
	if x.conn == nil {
		s.put(nil, x)
		return
	}
	s.resume(x, p)
	s.req.Path = t.path
	s.found(x.conn, f, e, t.key, t.index)
}

// hold returns the place of the request at hand, for a task, which keeps its roots
// open until it calls leave.
func (s *session) hold() *place {
	s.at.site.hold()
	return s.at
}

// resume makes the request of an exchange the one at hand again, in the place that
// a task has held for it; nil: in the one that it is in now, by the path that it
// was routed by.
func (s *session) resume(x *exchange, p *place) {
	s.clock.at(s.loop.Now())
	s.head.Parse(x.raw, 0, s.srv.cfg.RequestLimits)
	s.readRequest()
	if p != nil {
		s.goTo(p)
		return
	}
	s.locate(x.path)
}
