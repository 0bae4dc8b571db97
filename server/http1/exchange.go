package http1

import (
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/record"
)

// exchange is what a request needs beyond its own turn of the loop: a body that
// is still arriving, a detour, a handler, a line of the access log. A plain file
// request has none unless it is logged. Exchanges are pooled by their session.
type exchange struct {
	s    *Session
	conn *loop.Conn // nil: closed during a detour

	body    body
	detour  *detour // nil: the request is not away
	call    call
	record  record.Record
	plain   bool           // it has nothing but the record
	head    []byte         // of the request, so that it can be read again
	parts   []byte         // part headers of a multipart response
	page    *listing.Page  // that is the response; nil: none
	form    *compress.Body // likewise
	grant   admit.Grant    // by which the response is counted
	meter   meter          // of what it sends
	caller  *auth.Caller   // who asks; nil: nobody was asked for, or the request has not been away
	charged bool           // the rate of its client has counted it, when it went away
	borne   bool           // the breaker has let it in, likewise
}

// keepHead copies the request head, so that it can be read again.
func (x *exchange) keepHead(raw []byte) {
	if len(x.head) == 0 {
		x.head = append(x.head, raw...)
	}
}

// keepParts moves the part headers of a multipart answer, which segs still has in the
// plan's memory, to memory of the exchange: the plan is used again before they are sent.
func (x *exchange) keepParts(segs []loop.Segment, plan []httpfile.Segment) {
	x.parts = x.parts[:0]
	for _, g := range plan {
		x.parts = append(x.parts, g.Mem...)
	}
	rest := x.parts
	for i, g := range plan {
		if g.Kind == httpfile.SegmentMemory {
			segs[i].Mem, rest = rest[:len(g.Mem):len(g.Mem)], rest[len(g.Mem):]
		}
	}
}

// exchangeOf returns the connection's exchange, a new one if it has none.
func (s *Session) exchangeOf(c *loop.Conn) *exchange {
	if x, ok := c.Data.(*exchange); ok {
		x.plain = false
		return x
	}
	x := s.pool.Get()
	x.s, x.conn, x.record.Began = s, c, s.loop.Now()
	c.Data = x
	return x
}

const (
	// maxFree bounds the exchanges that a session keeps for later.
	maxFree = 1024
	// keptHead is the most memory for the head of a request, or for part headers, that an
	// exchange keeps in the pool, in bytes.
	keptHead = 4 << 10
)

// reuse returns the memory of p for others, unless it is large.
func reuse(p []byte) []byte {
	if cap(p) > keptHead {
		return nil
	}
	return p[:0]
}

// put pools an exchange that is done with. c is its connection, nil if that is gone.
func (s *Session) put(c *loop.Conn, x *exchange) {
	if c != nil {
		c.Data = nil
	}
	x.body.uncount(s.loop)
	x.page.Release()
	x.page = nil
	x.form.Release()
	x.form = nil
	x.grant.Release()
	x.meter.End()
	if x.call.timedOut() != nil {
		return // the handler goes on with what the exchange refers to
	}
	x.body.reset()
	x.call.reset()
	x.record.Reset()
	*x = exchange{body: x.body, call: x.call, record: x.record, head: reuse(x.head), parts: reuse(x.parts)}
	s.pool.Put(x, maxFree)
}

// putPlain is put for an exchange that had nothing but a record, in less time.
func (s *Session) putPlain(c *loop.Conn, x *exchange) {
	c.Data = nil
	x.conn, x.plain = nil, false
	s.pool.Put(x, maxFree)
}
