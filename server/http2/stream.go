package http2

import "github.com/fserve/fserve/engine/loop"

// stream is a request and its response: the loop.Carrier and loop.Adopted of the connection to the loop
// that serves it, which serves other streams later.
type stream struct {
	of *conn
	c  *loop.Conn
	id uint32

	window window
	round  uint64 // of the conn, when it sent something last
	moved  int64  // monotonic ns: the same
	waits  bool   // it is in conn.waiting
	gone   bool   // the connection to the loop has ended

	received bool  // the whole request
	sent     bool  // the whole response
	chunked  bool  // its body is fed in chunks
	stopped  bool  // no more of it should be fed
	left     int64 // bytes of it, unless chunked
	owed     int64 // bytes that were fed since
}
