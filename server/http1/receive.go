package http1

import (
	"net/http"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/wire"
)

// Receive implements loop.Session.
func (s *Session) Receive(c *loop.Conn, p []byte, seen int) int {
	s.clock.at(s.loop.Now())
	if s.cfg.Proxied != nil && s.awaitsProxyHeader(c) {
		return s.proxyHeader(c, p)
	}
	if x, ok := c.Data.(*exchange); ok && x.body.wants != wantsNothing {
		return s.receiveBody(c, x, p)
	}
	n, r := s.parse(p, seen)
	if n == 0 {
		if r == wire.OK {
			return 0
		}
		s.refuse(c, r)
		return len(p)
	}
	s.rec.Stats.Requests++
	s.request(c, p[n:])
	return n
}

// request answers the request in s.head, or has a route answer it. rest is what has arrived
// behind the head.
func (s *Session) request(c *loop.Conn, rest []byte) {
	if !s.head.KeepAlive || s.loop.Draining() {
		c.CloseAfter(false)
	}
	s.begin(c)
	e := (*entry)(s)
	e.enter(c, e.place(c), rest)
}

// skipBody arranges for the body of a request that nobody wants: it is read and
// dropped so that the connection can go on, or the connection ends. It reports false if
// what has arrived of it is malformed: such a request is refused.
func (s *Session) skipBody(c *loop.Conn, rest []byte) bool {
	h := &s.head
	if !h.HasBody() {
		return true
	}
	if h.Chunked {
		var trial wire.Chunked
		if _, r := trial.Discard(rest); r != wire.OK {
			s.refuse(c, r)
			return false
		}
	}
	// A client that waits for 100 Continue may or may not send its body after
	// a final answer: what comes next cannot be known (RFC 9110 section 10.1.1).
	if c.Closing() || h.Expect100 || h.ContentLength > s.cfg.MaxDrain {
		c.CloseAfter(true)
		return true
	}
	s.exchangeOf(c).expect(c, wantsDiscard)
	return true
}

// expect begins the body of the request at hand.
func (x *exchange) expect(c *loop.Conn, w wants) {
	x.body.expect(&x.s.head, w)
	x.body.began, x.body.size = x.s.loop.Now(), 0
	c.Await(x.body.due(x.s.cfg.BodyTimeout))
}

// receiveBody consumes bytes of a body.
func (s *Session) receiveBody(c *loop.Conn, x *exchange, p []byte) int {
	n, done, r := x.body.receive(p, s.cfg)
	x.body.size += int64(n)
	c.Await(0)
	wanted := x.body.wants
	switch {
	case r != wire.OK:
		x.body.wants = wantsNothing
		x.badBody(c, r, wanted)
		return len(p)
	case !x.body.count(s.loop):
		x.body.wants = wantsNothing
		s.resume(x)
		s.fail(c, http.StatusServiceUnavailable)
		return len(p)
	case !done:
		c.Await(x.body.due(s.cfg.BodyTimeout))
		return n
	}
	x.body.wants = wantsNothing
	if wanted == wantsHandler {
		s.run(c, x)
	} else if !x.record.Logged() {
		s.put(c, x)
	}
	return n
}

// badBody ends a connection on which nobody knows where the next request begins.
func (x *exchange) badBody(c *loop.Conn, r wire.Reason, wanted wants) {
	s := x.s
	if wanted == wantsHandler {
		s.resume(x)
		s.refuse(c, r)
		return
	}
	// The request has had its answer. An empty one more sends nothing and ends
	// the connection as the answer should have: lingering, so that what the
	// client is still sending does not turn the end into a reset.
	s.rec.Stats.Refused[r]++
	c.CloseAfter(true)
	s.resp.Head, s.resp.Body, s.resp.Meter = nil, nil, nil
	c.Respond(&s.resp)
}

// Timeout implements loop.Session: the request did not arrive in time, or what it is away for
// takes too long.
func (s *Session) Timeout(c *loop.Conn) {
	if x, ok := c.Data.(*exchange); ok && x.isAway() {
		s.giveUp(c, x)
		return
	}
	if s.awaitsProxyHeader(c) {
		return // there is nobody to answer
	}
	s.clock.at(s.loop.Now())
	s.head, s.client, s.caller = wire.Head{}, client{}, nil
	s.answer.Place = s.set.Default(s.cfg.listener(s.set, c))
	if x, ok := c.Data.(*exchange); ok && x.body.wants != wantsNothing { // it is the body that is late
		if x.body.wants == wantsDiscard {
			return // of a request that was answered
		}
		x.body.wants = wantsNothing
		s.resume(x)
	}
	s.fail(c, http.StatusRequestTimeout)
}

// Sent implements loop.Session.
func (s *Session) Sent(c *loop.Conn, o *engine.Outcome) {
	if o.End == engine.FileChanged || o.End == engine.FileFailed {
		s.cfg.Log.Warn("response cut off", "reason", o.End.String(), // once for each response
			"client", c.RemoteAddr().String(), "bytes", o.Total())
	}
	x, ok := c.Data.(*exchange)
	if !ok {
		s.rec.End(nil, o, 0)
		return
	}
	x.grant.Release()
	x.meter.End()
	s.clock.at(s.loop.Now())
	s.rec.End(&x.record, o, s.clock.unix(s.loop.Now()))
	if x.plain {
		s.putPlain(c, x)
	} else if x.body.wants == wantsNothing {
		s.put(c, x)
	}
}

// Again implements loop.Replanner: it answers a request that was admitted, and of which the body
// was seen to, if it has one.
func (s *Session) Again(c *loop.Conn, request []byte) {
	s.clock.at(s.loop.Now())
	s.parse(request, 0)
	s.charged, s.borne = true, true
	s.begin(c)
	x, ok := c.Data.(*exchange)
	if ok {
		began := x.record.Began
		x.record.Reset()
		x.record.Began = began
	}
	if ok && x.call.route != nil { // its handler has named the file
		x.call.fields, s.caller = x.call.fields[:0], x.caller
		x.call.goOn(s, x)
		return
	}
	e := (*entry)(s)
	step := e.place(c)
	e.anonymous(c, step)
	e.route(c, step, nil)
}

// Ending implements loop.Ender: who waits for a turn does not get it any more.
func (s *Session) Ending() {
	for q := range s.queued {
		q.waiter.Leave()
	}
}

// Closed implements loop.Session.
func (s *Session) Closed(c *loop.Conn) {
	x, ok := c.Data.(*exchange)
	switch {
	case !ok:
	case x.isAway():
		x.conn = nil // the detour pools it
		c.Data = nil
		switch e := x.detour.errand.(type) {
		case *queueing:
			e.waiter.Leave()
		case *compressing:
			e.waiter.Leave()
			x.grant.Release()
		case *call: // the handler goes on, and its work counts
		default: // a disk may be waited for without end, a response is not under way any more
			x.grant.Release()
		}
	default:
		s.put(c, x)
	}
}
