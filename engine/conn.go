package engine

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
)

// connState says what a connection is doing.
type connState uint8

const (
	connFree      connState = iota
	connReading             // waits for the bytes of a request, or for more of them
	connSending             // a response is on its way
	connSuspended           // a task works on a request
	connLingering           // FIN is sent; input is dropped until the peer ends too
	connClosing             // the driver is closing it
)

// Conn is one connection. It belongs to its loop: all methods must be called on
// the loop, which is where a Session and a Task's Done are called. A *Conn is
// valid until Session.Closed has returned for it; after that the same memory
// serves another connection.
type Conn struct {
	// Data is the session's. It is nil in a new connection.
	Data any

	loop     *Loop
	in       []byte // received and not consumed, of the loop's pools
	out      *transfer
	deadline int64 // monotonic ns; 0: none
	lingers  int64 // monotonic ns: until when input is dropped at most
	opened   int64 // monotonic ns
	token    aio.Token
	peer     netip.AddrPort
	adopted  Adopted     // nil: accepted by a listener
	flow     *shape.Flow // nil: not in the tree of limits
	tap      measure.Tap
	fd       int32 // the driver's to close
	unsent   int32 // bytes that the kernel may keep unsent, if lowat is set
	listener int32

	state     connState
	named     bool // peer was set by SetRemoteAddr
	preface   bool // what was consumed last was no part of a request
	seen      bool // in holds bytes that the session has seen and found too few
	paused    bool // the driver was told to Pause
	ended     bool // the peer has sent its FIN
	closeNext bool // close once the response is sent
	linger    bool // and drop the peer's input before that
	corked    bool // TCP_CORK is set
	lowat     bool // the kernel keeps little unsent data
	paced     bool // by its congestion control
	local     bool // accepted at a loopback address
	buffered  bool // the send buffer was enlarged, or the peer is slow
	queued    bool // in the loop's run queue
	requests  uint32
}

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

// Listener returns the index of the listener that accepted the connection, as
// in Config.Listeners; -1 if none has (see Engine.Adopt).
func (c *Conn) Listener() int { return int(c.listener) }

// ID returns a number that no other open connection of the loop has.
func (c *Conn) ID() uint64 { return uint64(c.token) }

// Requests returns how many responses were started on the connection.
func (c *Conn) Requests() uint32 { return c.requests }

// RemoteAddr returns the peer's address; the zero value for a Unix socket or a
// peer that is gone already. The system is asked once.
func (c *Conn) RemoteAddr() netip.AddrPort {
	if !c.peer.IsValid() && !c.named && c.state != connClosing {
		if sa, err := unix.Getpeername(int(c.fd)); err == nil {
			c.peer = peer.Of(sa)
		}
	}
	return c.peer
}

// Preface tells, from within Receive, that what is consumed stands before the
// first request and is no part of one: the connection does not begin to rest by
// it, and its first request must still arrive within Config.HeaderTimeout of the
// connection itself.
func (c *Conn) Preface() { c.preface = true }

// Suspend leaves the request to a task: no more input is handed to the session
// until Respond or Close is called.
func (c *Conn) Suspend() {
	if c.state == connReading {
		c.state = connSuspended
		c.deadline = 0
	}
}

// Close ends the connection in order: the peer gets what was sent, then FIN.
func (c *Conn) Close() { c.loop.closeConn(c, false) }

// Reset ends the connection with RST, so that the peer cannot take a part of a
// response for the whole.
func (c *Conn) Reset() { c.loop.closeConn(c, true) }

// CloseAfter makes the loop close the connection once the response is sent.
// linger also drops what the peer is still sending, for a while, so that the
// response is not lost to a reset (RFC 9112 section 9.6).
func (c *Conn) CloseAfter(linger bool) {
	c.closeNext = true
	c.linger = c.linger || linger
}

// Closing reports whether the connection ends with the response at hand.
func (c *Conn) Closing() bool { return c.closeNext }

// Interim sends a few bytes ahead of the response (100 Continue). If the socket
// does not take them at once the connection is closed: its peer is not reading.
func (c *Conn) Interim(p []byte) {
	if c.state != connReading {
		return
	}
	if s := c.loop.driver.Send(c.token, p, nil, false); s.Status != aio.OK || s.N != int64(len(p)) {
		c.Reset()
		return
	}
	if c.corked { // by the response before
		c.loop.driver.Push(c.token)
	}
}

// slab is how many connections are allocated together.
const slab = 256

// conns numbers connections (and listeners) by slot.
type conns struct {
	slabs [][]Conn
	gens  []uint32
	free  []uint32
	open  int
}

// get returns a free slot; ok is false when limit slots are in use.
func (s *conns) get(limit int) (slot uint32, ok bool) {
	if s.open >= limit {
		return 0, false
	}
	if len(s.free) == 0 {
		first := uint32(len(s.slabs) * slab)
		s.slabs = append(s.slabs, make([]Conn, slab))
		for i := uint32(slab); i > 0; i-- {
			s.free = append(s.free, first+i-1)
			s.gens = append(s.gens, 0)
		}
	}
	slot = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.open++
	s.gens[slot]++
	return slot, true
}

func (s *conns) token(slot uint32) aio.Token { return aio.MakeToken(slot, s.gens[slot]) }

func (s *conns) put(slot uint32) {
	s.free = append(s.free, slot)
	s.open--
}

// of returns the connection of a token, nil if the slot is used anew.
func (s *conns) of(t aio.Token) *Conn {
	slot := t.Slot()
	c := &s.slabs[slot/slab][slot%slab]
	if c.token != t || c.state == connFree {
		return nil
	}
	return c
}

func (s *conns) at(slot uint32) *Conn { return &s.slabs[slot/slab][slot%slab] }
