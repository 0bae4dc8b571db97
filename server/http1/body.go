package http1

import (
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

// body is the body of a request, as far as it has arrived.
type body struct {
	wants   wants
	left    int64 // bytes of a body with a length
	chunks  wire.Chunked
	chunked bool
	data    []byte
}

// expect begins a body.
func (b *body) expect(h *wire.Head, w wants) {
	b.wants, b.left, b.chunked = w, max(h.ContentLength, 0), h.Chunked
	b.chunks = wire.Chunked{}
}

// reset makes b ready for another request.
func (b *body) reset() {
	if cap(b.data) > maxKept {
		b.data = nil
	}
	*b = body{data: b.data[:0]}
}

// receive takes the bytes of the body at the beginning of p, n of them. A reason other
// than OK says that nobody knows where the next request begins.
func (b *body) receive(p []byte, cfg *Config) (n int, done bool, r wire.Reason) {
	if b.chunked {
		return b.receiveChunks(p, cfg)
	}
	n = int(min(b.left, int64(len(p))))
	b.left -= int64(n)
	if b.wants == wantsHandler {
		b.data = append(b.data, p[:n]...)
	}
	return n, b.left == 0, wire.OK
}

func (b *body) receiveChunks(p []byte, cfg *Config) (n int, done bool, r wire.Reason) {
	if b.wants == wantsHandler {
		b.data, n, r = b.chunks.Append(b.data, p, int(cfg.MaxBody))
	} else if n, r = b.chunks.Discard(p); r == wire.OK && b.chunks.Size() > cfg.MaxDrain {
		r = wire.BodyTooLarge
	}
	return n, b.chunks.Done(), r
}

// skipBody arranges for the body of a request that nobody wants: it is read and
// dropped so that the connection can go on, or the connection ends.
func (s *Session) skipBody(c *engine.Conn) {
	h := &s.head
	if !h.HasBody() {
		return
	}
	// A client that waits for 100 Continue may or may not send its body after
	// a final answer: what comes next cannot be known (RFC 9110 section 10.1.1).
	if c.Closing() || h.Expect100 || h.ContentLength > s.cfg.MaxDrain {
		c.CloseAfter(true)
		return
	}
	s.take(c).body.expect(h, wantsDrain)
}

// receiveBody consumes bytes of a body.
func (s *Session) receiveBody(c *engine.Conn, x *exchange, p []byte) int {
	n, done, r := x.body.receive(p, s.cfg)
	wanted := x.body.wants
	switch {
	case r != wire.OK:
		x.body.wants = wantsNothing
		s.badBody(c, x, r, wanted)
		return len(p)
	case !done:
		return n
	}
	x.body.wants = wantsNothing
	if wanted == wantsHandler {
		s.run(c, x)
	} else if !x.record.Logged() {
		s.pool.put(c, x)
	}
	return n
}

// badBody ends a connection on which nobody knows where the next request begins.
func (s *Session) badBody(c *engine.Conn, x *exchange, r wire.Reason, wanted wants) {
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
	s.resp.Head, s.resp.Body = nil, nil
	c.Respond(&s.resp)
}
