package http2

import (
	crypto "crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/fserve/fserve/engine/loop"
)

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

	response
}

// begin begins a request.
func (s *stream) begin(id uint32, r *request, ends bool) {
	*s = stream{
		of: s.of, c: s.c, id: id, window: window{out: s.of.initial, in: streamWindow}, moved: s.of.loop.Now(),
		received: ends, chunked: !ends && r.length < 0, left: max(r.length, 0),
	}
	s.bodiless = r.method == "HEAD"
}

// takeBody feeds a part of the request's body.
func (s *stream) takeBody(p []byte, ends bool) code {
	n := int64(len(p))
	if s.left -= n; !s.chunked && (s.left < 0 || ends && s.left > 0) {
		return s.of.endStream(s, protocolError)
	}
	s.received = ends
	if n > 0 {
		s.owed += n
		s.feed(p)
	}
	if ends && s.chunked && !s.gone {
		s.feedAll([]byte("0\r\n\r\n"))
	}
	if !s.stopped {
		s.repay()
	}
	s.end()
	return noError
}

// feed feeds bytes of the body, as a chunk if need be.
func (s *stream) feed(p []byte) {
	if !s.chunked {
		s.feedAll(p)
		return
	}
	var head [20]byte
	s.feedAll(append(strconv.AppendInt(head[:0], int64(len(p)), 16), "\r\n"...))
	s.feedAll(p)
	s.feedAll([]byte("\r\n"))
}

func (s *stream) feedAll(p []byte) {
	if !s.gone {
		s.stopped = !loop.Feed(s.c, p)
	}
}

// owe lets the client send n bytes more, of which nothing was fed.
func (s *stream) owe(n int64) {
	s.owed += n
	if !s.stopped {
		s.repay()
	}
}

// repay lets the client send as much as was used.
func (s *stream) repay() {
	n := s.owed
	s.owed = 0
	if n == 0 {
		return
	}
	s.of.giveBack(n)
	if s.received {
		return
	}
	if n := s.window.giveBack(n, streamWindow/2); n > 0 {
		s.of.put(appendNumber(nil, frameWindow, s.id, uint32(n)))
	}
}

// Resume implements loop.Carrier.
func (s *stream) Resume() {
	s.stopped = false
	s.repay()
}

// end ends the stream if both have sent all.
func (s *stream) end() {
	if s.sent && s.received && s.of.streams[s.id] == s {
		s.of.drop(s)
		s.of.ended = append(s.of.ended, s)
	}
}

// Closed implements loop.Carrier.
func (s *stream) Closed(reset bool) {
	m := s.of
	s.gone = true
	for i, o := range m.idle {
		if o == s {
			m.idle = append(m.idle[:i], m.idle[i+1:]...)
			break
		}
	}
	if m.streams[s.id] != s {
		return
	}
	if !reset && s.endless() {
		s.finish()
	}
	m.drop(s)
	switch {
	case !s.sent:
		m.resetStream(s.id, internalError)
	case !s.received: // what it still sends nobody reads
		m.resetStream(s.id, noError)
	}
}

// Peer implements loop.Adopted.
func (s *stream) Peer() netip.AddrPort { return s.of.c.RemoteAddr() }

// Ending implements loop.Adopted. Closed says what there is to say.
func (s *stream) Ending(bool) {}

// Rests implements loop.Relay. While the socket is full the client is known to go on by what it takes of
// others.
func (s *stream) Rests() time.Duration {
	at := s.moved
	if s.window.out > 0 && s.of.window.out > 0 {
		at = max(at, s.of.moved)
	}
	return time.Duration(s.of.loop.Now() - at)
}

// HTTP2 returns the number of the client's connection.
func (s *stream) HTTP2() uint64 { return s.of.number }

// client is what is known of the client's connection. Handlers may ask after its end.
type client interface {
	Listener() int
	LocalAddr() net.Addr
	ConnectionState() crypto.ConnectionState
}

// Listener returns the index of the client's listener among those of TLS.
func (s *stream) Listener() int { return s.of.client.Listener() }

// LocalAddr returns the address at which the client's connection was accepted.
func (s *stream) LocalAddr() net.Addr { return s.of.client.LocalAddr() }

// ConnectionState describes the client's connection.
func (s *stream) ConnectionState() crypto.ConnectionState {
	return s.of.client.ConnectionState()
}
