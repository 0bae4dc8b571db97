package loop

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// A connection may carry others: the streams of HTTP/2, each of which is a connection to
// sessions, limits and time-outs, and has no socket of its own. A Multiplexer speaks on the
// one that carries, in place of the loop's Session, and is the Carrier of the others.

// Speaker is what an Adopted is besides if something other than the loop's Session may speak on
// the connection.
type Speaker interface {
	// Speak returns what does; nil: the loop's Session. It is called once, on the loop.
	Speak(*Conn) Multiplexer
}

// Multiplexer speaks on a connection that carries others. Its methods are called on the loop and must not
// block. The connection has no responses: what it sends it gives to Write.
type Multiplexer interface {
	// Receive is given received bytes, and returns how many of them it consumes, and whether they
	// were a request. It is called again while it consumes any.
	Receive(c *Conn, p []byte) (n int, request bool)
	// Flush sends what waits to be sent (Write). It is called at the end of a turn in which Touch was called,
	// and when the socket has room again; false: the socket has failed, and the connection is reset.
	Flush(c *Conn) bool
	// Timeout tells that the time of SetDeadline is over.
	Timeout(c *Conn)
	// Idle reports whether nothing is carried, so that the connection may make room for others.
	Idle() bool
	// Refuse tells that the connection is one too many.
	Refuse(c *Conn)
	// Drain tells that the engine is shutting down, in favour of a successor if retiring.
	Drain(c *Conn, retiring bool)
	// Ending tells that nothing can be sent any more: what is carried is to be cut. It may be
	// called twice.
	Ending(c *Conn)
}

// Carrier carries one connection. Its methods are called on the loop; Cut and Feed of that
// connection must not be called from inside.
type Carrier interface {
	// Send sends head, then body, and returns how many bytes it took. If that is not all,
	// Unblock is to follow. The slices are not kept.
	Send(head, body []byte) int
	// Room lends memory for at most so many of the next bytes. None: Unblock is to follow. Else Filled
	// does, at once.
	Room(most int) []byte
	// Filled sends the first n bytes of what Room has lent.
	Filled(n int)
	// Resume tells that input which Feed has had to keep is used.
	Resume()
	// Closed tells that the connection has ended; reset says that what was sent must not be taken for
	// the whole. Nothing else is called after it.
	Closed(reset bool)
}

// trunk is what a connection has besides if it carries others.
type trunk struct {
	speaks  Multiplexer
	leader  *Conn // of those that are carried the one that is measured, which stands for all; nil: none
	touched bool
	blocked bool // an attempt is: Ready follows
}

// carried is what a connection has besides if another one carries it.
type carried struct {
	by Carrier
	on *Conn
}

// carriers is what is to be done for such connections at the end of a turn.
type carriers struct {
	touched []*Conn // to be flushed. It may name one that is free.
	gone    []*Conn // that are carried, and have ended
}

// carriedTurn is the turn of a connection that is carried, in bytes: the next one on the same
// socket does not wait for long.
const carriedTurn = 64 << 10

// Carry opens a connection that on carries, nil if there are too many.
func Carry(on *Conn, a Adopted, by Carrier) *Conn {
	l := on.loop
	l.stats.Accepted++
	if l.crowd.full() {
		l.stats.Refused++
		return nil
	}
	slot, ok := l.conns.get(1 << 31)
	if !ok {
		return nil
	}
	c := l.conns.at(slot)
	*c = Conn{
		loop: l, token: l.conns.token(slot), fd: -1, listener: -1, adopted: a, carried: &carried{by, on},
		state: connReading, deadline: l.now + int64(l.cfg.HeaderTimeout), opened: l.now, line: line{local: on.line.local},
	}
	l.cfg.Bounds.conns.Add(1)
	if on.trunk.leader == nil {
		on.trunk.leader = c
	}
	c.SetRemoteAddr(a.Peer())
	return c
}

// Feed gives input to a connection that is carried. It reports false if some of that has to be kept: until
// Carrier.Resume no more should come.
func Feed(c *Conn, p []byte) bool {
	if c.state == connClosing {
		return true
	}
	c.input(p)
	return !c.in.paused
}

// Unblock goes on with a response for which its Carrier had no room.
func Unblock(c *Conn) {
	if s := c.stream; c.state == connSending && s.phase == awaitingRoom {
		s.goOn()
	}
}

// Cut ends a connection whose peer has ended it.
func Cut(c *Conn) {

	if c.state != connClosing {
		c.broken(outcome.PeerGone, true)
	}
}

// Rests reports whether a connection waits for a request of which nothing has come.
func Rests(c *Conn) bool { return c.state == connReading && len(c.in.buf) == 0 && !c.in.queued }

// Touch has the connection's Multiplexer flushed at the end of the turn.
func Touch(c *Conn) {
	if t := c.trunk; !t.touched {
		t.touched = true
		c.loop.carriers.touched = append(c.loop.carriers.touched, c)
	}
}

// Write sends p on a connection that carries others, and returns how many bytes of it need not be
// kept. If that is not all of it there is no room, and Flush follows, or the socket has failed.
func Write(c *Conn, p []byte) (n int, failed bool) {
	for len(p) > 0 && c.state != connClosing && !c.trunk.blocked && !failed {
		s := send(c, p, nil, false)
		c.told(false, s.N)
		n, p = n+int(s.N), p[s.N:]
		c.trunk.blocked, failed = s.Blocked(), s.Status == aio.Failed
	}
	return n, failed
}

// Blocked reports whether Write takes nothing before Flush was called.
func Blocked(c *Conn) bool { return c.trunk.blocked }

// Pending reports whether the socket has not taken all that Write has.
func Pending(c *Conn) bool { return c.sealed != nil && len(c.sealed.pending) > 0 }

// SetDeadline sets when Multiplexer.Timeout is called, in monotonic ns; 0: never.
func SetDeadline(c *Conn, at int64) {
	if c.state == connReading {
		c.deadline = at
	}
}

// Linger ends a connection that carries others once the peer has what was sent: its input is dropped for a while.
func Linger(c *Conn) {
	if c.state == connReading {
		c.linger()
	}
}

// receive hands input to who speaks on the connection. It may be called on nil.
func (t *trunk) receive(c *Conn, p []byte, seen int) int {
	if t == nil {
		return c.loop.session.Receive(c, p, seen)
	}
	n, request := t.speaks.Receive(c, p)
	if request {
		c.requests++
	}
	return n
}

// ready goes on when the socket has room.
func (t *trunk) ready(c *Conn) {
	t.blocked = false
	if c.sealed.seals() {
		s := c.sealed.flush()
		t.blocked = s.Blocked()
		if s.Status == aio.Failed {
			c.broken(outcome.PeerGone, true)
			return
		}
	}
	if !t.blocked {
		t.flush(c)
	}
}

func (t *trunk) flush(c *Conn) {
	switch {
	case c.state != connReading:
	case !t.speaks.Flush(c):
		c.broken(outcome.PeerGone, true)
	case c.sealed.worn():
		t.speaks.Drain(c, false)
	}
}

// run flushes what was touched, and frees what has gone.
func (r *carriers) run() {
	for i := 0; i < len(r.touched); i++ {
		c := r.touched[i]
		if t := c.trunk; t != nil && t.touched {
			t.touched = false
			t.flush(c)
		}
	}
	clear(r.touched)
	r.touched = r.touched[:0]
	for i := 0; i < len(r.gone); i++ {
		r.gone[i].closed()
	}
	clear(r.gone)
	r.gone = r.gone[:0]
}

// close ends a connection that is carried.
func (v *carried) close(c *Conn, reset bool) {
	if t := v.on.trunk; t != nil && t.leader == c {
		t.leader = nil
	}
	v.by.Closed(reset)
	r := &c.loop.carriers
	r.gone = append(r.gone, c)
}

// sendCarried sends at most so many bytes of the file's range at hand, which are read into memory that the
// Carrier has. The file is looked at before the last ones are sent.
func (s *Stream) sendCarried(most int64, more bool) aio.Sent {
	c, at := s.conn, &s.at
	d, by := c.loop.driver, c.carried.by
	p := by.Room(int(min(at.N, most, carriedTurn)))
	if len(p) == 0 {
		return aio.Sent{Status: aio.BlockedSocket}
	}
	n, e := d.ReadAt(at.File.Lent(), p, at.Off)
	switch {
	case e != 0: // it is not in memory, or this file system cannot tell
		by.Filled(0)
		s.beginRead()
		return aio.Sent{Status: aio.BlockedDisk}
	case n == 0, int64(n) == at.N && !at.trusted && !at.File.Leased() && !at.File.Unchanged(d):
		by.Filled(0)
		return aio.Sent{Status: aio.EOF}
	}
	by.Filled(n)
	return s.sent(aio.Sent{N: int64(n), Via: aio.ViaCopy}, more)
}

// measuredBy returns the connection whose socket is asked about c; nil: it is not measured.
func measuredBy(c *Conn) *Conn {
	switch {
	case c.carried == nil:
		return c
	case c.carried.on.trunk == nil || c.carried.on.trunk.leader != c:
		return nil
	}
	return c.carried.on
}
