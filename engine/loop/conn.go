package loop

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/tlsrec"
)

// connState says what a connection is doing.
type connState uint8

const (
	connFree      connState = iota
	connReading             // waits for the bytes of a request, or for more of them
	connSending             // a response is on its way: stream has its phase
	connSuspended           // a task works on a request
	connLingering           // FIN is sent; input is dropped until the peer ends too
	connDraining            // FIN is sent; bytes of files lie in the socket (see recall.go)
	connClosing             // the driver is closing it
)

// ending says what follows the response at hand.
type ending uint8

const (
	keepAlive ending = iota // the next request
	closes                  // the end of the connection
	lingers                 // that, once the peer's input was dropped for a while
)

// line is what is known of the network that a connection crosses.
type line struct {
	paced    bool // by its congestion control
	local    bool // to a loopback address
	unix     bool // none: a Unix socket
	buffered bool // the send buffer was enlarged, or the peer is slow
}

// Conn is one connection. It belongs to its loop: all methods must be called on
// the loop, which is where a Session and a Task's Done are called. A *Conn is
// valid until Session.Closed has returned for it; after that the same memory
// serves another connection.
type Conn struct {
	// Data is the session's. It is nil in a new connection.
	Data any

	loop    *Loop
	stream  *Stream     // the response under way; nil: none
	flow    *shape.Flow // what a limit of connections remembers between responses; nil: nothing
	sealed  *sealed     // records of TLS; nil: what the socket carries is what sessions see
	trunk   *trunk      // nil: it carries no others
	carried *carried    // nil: it has a socket of its own
	tap     measure.Tap
	in      input
	back    holdback
	lent    *lent // files whose pages lie in the socket, the last one first
	taken   int64 // bytes that the socket took, ever

	deadline int64 // monotonic ns; 0: none
	until    int64 // monotonic ns: how long input is dropped at most; bytes, while it drains
	opened   int64 // monotonic ns
	token    aio.Token
	adopted  Adopted      // nil: accepted by a listener
	client   *clientConns // nil: it is not counted by client
	peer     netip.AddrPort
	fd       int32 // the driver's to close
	listener int32
	requests uint32

	state  connState
	ending ending
	line   line
	named  bool // peer was set by SetRemoteAddr

	severed bool // by recall

	replans uint8 // times that the response at hand was planned anew
}

// Loop returns the connection's loop.
func (c *Conn) Loop() *Loop { return c.loop }

// Listener returns the index of the listener that accepted the connection, as
// in engine.Config.Listeners; -1 if none has (see engine.Engine.Adopt).
func (c *Conn) Listener() int { return int(c.listener) }

// ID returns a number that no other open connection of the loop has.
func (c *Conn) ID() uint64 { return uint64(c.token) }

// RemoteAddr returns the peer's address; the zero value if it has none (see OnUnix), or it
// is not known.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.peer }

// OnUnix reports whether the connection was accepted by a Unix socket.
func (c *Conn) OnUnix() bool { return c.line.unix }

// SetRemoteAddr replaces the address of the peer by what is known better, for
// example from a proxy in front; the zero value is one, too.
//
// If that client has too many connections, this one is closed.
func (c *Conn) SetRemoteAddr(a netip.AddrPort) {
	c.peer, c.named = a, true
	c.counted()
}

// Named reports whether SetRemoteAddr was called.
func (c *Conn) Named() bool { return c.named }

// Preface tells, from within Receive, that what is consumed stands before the
// first request and is no part of one: the connection does not begin to rest by
// it, and its first request must still arrive within the time for the head of the
// connection itself.
func (c *Conn) Preface() { c.in.preface = true }

// Await tells that the session awaits more of a request that it has begun to take, until a
// monotonic time in ns; 0: it does not any more. If it has not called it anew by then,
// Session.Timeout is called, however much has come meanwhile.
func (c *Conn) Await(until int64) { c.in.due = until }

// Suspend leaves the request to a task: no more input is handed to the session until Respond
// or Close is called. If neither is within the time patience, Session.Timeout is; 0: there
// is no limit to it. A request that is with a task already may be left to another: a limit
// that runs then goes on, but for 0.
func (c *Conn) Suspend(patience time.Duration) {
	if c.state != connReading && c.state != connSuspended {
		return
	}
	if c.state == connReading || patience <= 0 {
		c.deadline = 0
	}
	c.state = connSuspended
	if patience > 0 && c.deadline == 0 {
		c.deadline = c.loop.now + int64(patience)
	}
}

// GoOn ends what Suspend of a connection has begun, without a response: from the next turn on the
// session gets what has arrived meanwhile.
func GoOn(c *Conn) {
	if c.state != connSuspended {
		return
	}
	c.state, c.deadline, c.in.queued = connReading, 0, true
	c.loop.backlog = append(c.loop.backlog, c)
}

// Close ends the connection in order: the peer gets what was sent, then FIN.
func (c *Conn) Close() { c.close(false) }

// Reset ends the connection with RST, so that the peer cannot take a part of a
// response for the whole.
func (c *Conn) Reset() { c.close(true) }

// CloseAfter makes the loop close the connection once the response is sent.
// linger also drops what the peer is still sending, for a while, so that the
// response is not lost to a reset (RFC 9112 section 9.6).
func (c *Conn) CloseAfter(linger bool) {
	if linger {
		c.ending = lingers
	}
	c.ending = max(c.ending, closes)
}

// Closing reports whether the connection ends with the response at hand.
func (c *Conn) Closing() bool { return c.ending != keepAlive }

// Interim sends a few bytes ahead of the response (100 Continue). If the socket
// does not take them at once the connection is closed: its peer is not reading.
func (c *Conn) Interim(p []byte) {
	if c.state != connReading {
		return
	}
	if s := send(c, p, nil, false); s.Status != aio.OK || s.N != int64(len(p)) {
		c.Reset()
		return
	}
	c.letGo() // corked by the response before
}

// Respond starts the response to the request that Receive was given last, or
// that the connection was suspended for. Sent is called when it has ended,
// never before Respond has returned. It does nothing if the connection is
// being closed, but for closing a Source.
func (c *Conn) Respond(r *Response) {
	if c.state != connReading && c.state != connSuspended {
		if r.Source != nil {
			r.Source.Close()
		}
		return
	}
	l := c.loop
	c.state = connSending
	if c.replans == 0 {
		c.requests++
		if c.requests > 1 {
			l.stats.Reused++
		}
	}
	(*lender)(c).settle()
	c.deadline = l.now + int64(l.cfg.SendTimeout)
	c.stream = l.newStream(c)
	c.stream.begin(r)
}

// Pull tells that the Source of the response under way, which has answered Later, has
// more: it is asked again in the loop's next turn. Without such a response it does
// nothing.
func (c *Conn) Pull() {
	if s := c.stream; s != nil && s.phase == awaitingBody {
		s.goOn()
	}
}

// unblocked goes on with a stream after Ready.
func (c *Conn) unblocked(e *aio.Event) {
	if c.sealed != nil {
		c.sealed.blocked = false
	}
	if c.trunk != nil {
		if e.Err != 0 {
			c.broken(outcome.PeerGone, true)
		} else {
			c.trunk.ready(c)
		}
		return
	}
	s := c.stream
	if c.state != connSending || s.phase != awaitingRoom && s.phase != awaitingDisk {
		return
	}
	if e.Err != 0 {
		s.end(outcome.OfErrno(e.Err))
	}
	s.goOn() // not now: it might get its turn twice
}

// broken ends a connection from the loop's side.
func (c *Conn) broken(why outcome.End, reset bool) {
	if c.state == connSending && c.stream.underWay() {
		c.stream.end(why)
		c.finish(0)
		return
	}
	c.close(reset)
}

// finish tells the session how the response ended and decides what becomes of
// the connection, which has unread bytes of input left.
func (c *Conn) finish(unread int) {
	l, s := c.loop, c.stream
	s.tell()
	if c.state != connSending {
		return // the session has closed it; closed frees s
	}
	if s.outcome.End != outcome.Complete {
		c.close(true) // a driver may still use the file until closed
		return
	}
	c.stream = nil
	c.state, c.replans = connReading, 0
	l.freeStream(s)
	switch {
	case c.ending == lingers && !c.in.ended:
		c.linger()
	case c.ending != keepAlive, c.sealed.worn(), (c.in.ended || l.draining && !l.retiring) && unread == 0:
		c.close(false)
	default:
		c.in.seen = false
		c.deadline = cmp.Or(c.in.due, l.now+int64(l.cfg.IdleTimeout))
		if l.retiring {
			l.hurry(c)
		}
		if unread == 0 {
			c.resume()
		}
	}
}

// lingerTimes bounds how long the input of a closing connection is dropped, in time-outs:
// a peer that sends all the while must find time to read the answer, but not for ever.
const lingerTimes = 15

// linger sends FIN and drops what the peer still sends, for a while.
func (c *Conn) linger() {
	l := c.loop
	if c.carried != nil {
		c.close(false)
		return
	}
	if c.trunk != nil {
		c.trunk.speaks.Ending(c)
	}
	c.state, c.in.queued = connLingering, false
	c.deadline = l.now + int64(l.cfg.LingerTimeout)
	c.until = l.now + lingerTimes*int64(l.cfg.LingerTimeout)
	l.buffers.put(&c.in.buf)
	c.resume()
	c.fin()
}

// close gives the connection to the driver to close.
func (c *Conn) close(reset bool) {
	if c.state == connClosing || c.state == connFree {
		return
	}
	l := c.loop
	if c.trunk != nil {
		c.trunk.speaks.Ending(c)
	}
	if c.state == connSending {
		if c.stream.underWay() {
			c.stream.end(outcome.Aborted)
		}
		reset = reset || c.stream.outcome.End != outcome.Complete
	}
	if (*lender)(c).settle(); !reset && c.lent != nil {
		(*lender)(c).drain()
		return
	}
	if c.ending != keepAlive && !reset && c.state < connLingering {
		c.fin()
	}
	if !reset {
		c.sealed.say(tlsrec.CloseNotify)
	}
	c.sealed.forget()
	l.sampler.End(&c.tap, false, l.now)
	l.cfg.Bounds.conns.Add(-1)
	l.cfg.Bounds.uncount(c)
	c.state, c.in.queued = connClosing, false
	c.deadline = 0
	l.buffers.put(&c.in.buf)
	if c.adopted != nil {
		c.adopted.Ending(reset)
	}
	if c.carried != nil {
		c.carried.close(c, reset)
		return
	}
	if c.severed {
		return // see recalls
	}
	if reset && (*lender)(c).lends() {
		l.kernel.sever(c.fd) // a driver may take its time
	}
	l.driver.Close(c.token, reset)
}

// closed frees a connection: the driver has closed its descriptor.
func (c *Conn) closed() {
	l := c.loop
	if s := c.stream; s != nil {
		s.tell()
		c.stream = nil
		l.freeStream(s)
	}
	l.recalls.put(c.lent)
	if c.trunk == nil {
		l.session.Closed(c)
	}
	l.sampler.End(&c.tap, true, l.now) // the descriptor may be another's by now
	l.flows.leave(&c.flow, l.now)
	slot := c.token.Slot()
	*c = Conn{}
	l.conns.put(slot)
	l.stats.Closed++
}

// expire ends what has taken too long.
func (c *Conn) expire() {
	l := c.loop
	c.deadline = 0
	switch c.state {
	case connSending:
		if stillTakes(c) {
			return
		}
		l.stats.SendTimeouts++
		c.broken(outcome.TimedOut, true)
	case connReading:
		if c.trunk != nil {
			c.trunk.speaks.Timeout(c)
			return
		}
		if c.in.due == 0 && len(c.in.buf) == 0 && c.requests > 0 { // idle, between requests
			c.close(false)
			return
		}
		c.in.due = 0
		l.stats.HeaderTimeouts++
		l.session.Timeout(c)
		if c.state == connReading {
			c.close(false)
		}
	case connSuspended:
		l.session.Timeout(c)
	case connLingering:
		c.close(false)
	case connDraining:
		if !(*lender)(c).stillDrains() {
			l.stats.SendTimeouts++
			c.close(true)
		}
	}
}

// retireGrace is how long connections that rest between requests are kept when
// the engine retires: a client that downloads one file after another asks for the
// next one meanwhile, and learns from its answer that the connection ends. Closing
// at once would meet requests that are on their way, which look failed to clients.
const retireGrace = 2e9 // ns

// hurry bounds how long a connection may rest before its next request, the last.
// Those without any have their time for the first one.
func (l *Loop) hurry(c *Conn) {
	if c.requests > 0 {
		c.deadline = min(c.deadline, l.now+retireGrace)
	}
}
