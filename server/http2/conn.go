package http2

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/fserve/fserve/engine/loop"
)

// conn is the connection of a client. It is the loop.Multiplexer of its streams. All of it is for the
// goroutine of its loop.
type conn struct {
	of     *Server
	c      *loop.Conn
	loop   *loop.Loop
	client client
	number uint64

	phase   phase
	over    bool // nothing can be sent any more
	refused bool // the client has too many connections

	streams map[uint32]*stream
	idle    []*stream // whose connections to the loop rest
	ended   []*stream // to rest at the end of the turn
	waiting []*stream // for room in the socket or in a window
	lastID  uint32    // of the client's streams, the last
	mostID  uint32    // the last one that is served, once the connection drains
	ours    [16]uint32
	oursAt  int // streams that were reset here last: what was under way is ignored

	window  window // of all streams together
	initial int64  // window.out of a stream that begins

	out   []byte // frames that are to be sent
	most  int    // bytes of them, before what streams send has to wait
	moved int64  // monotonic ns: when the socket took something last
	round uint64 // counts turns of streams

	block      []byte // fields of a head that comes in several frames
	blockID    uint32 // its stream; 0: none
	blockFlags byte
	fields     *hpack.Decoder
	request    *request // whose fields are being read
	shrinks    bool     // the next block says that the table of fields is empty

	calm   int64 // monotonic ns: see mayBother
	headAt int64 // monotonic ns: when what has begun must be whole; 0: nothing has
	idleAt int64 // monotonic ns: when a connection without streams ends
	goneAt int64 // monotonic ns: when streams that begin are too late; 0: it does not drain
}

type phase uint8

const (
	awaitsPreface phase = iota
	awaitsSettings
	open
)

const (
	// mostOut and leastOut bound the frames that are gathered before they are sent, in bytes: less for a
	// client that takes little, and for all while heldMemory is exceeded.
	mostOut    = 64 << 10
	leastOut   = 16 << 10
	heldMemory = 64 << 20

	// roomOut is the memory for them: one more fits.
	roomOut = mostOut + headLen + frameSize

	// mostUnread bounds the frames that the client has not read when it begins another stream, in bytes:
	// what streams gather and 10 kB of heads for each of maxStreams. It is leastUnread while heldMemory is exceeded.
	mostUnread  = 1 << 20
	leastUnread = 256 << 10

	// goneAfter is how long new streams are served when the connection drains: they are on their way while
	// GOAWAY is.
	goneAfter = time.Second
)

var outs = sync.Pool{New: func() any { return new([roomOut]byte) }}

func newConn(s *Server, c *loop.Conn) *conn {
	l := c.Loop()
	m := &conn{
		of: s, c: c, loop: l, client: c.Adopted().(client), streams: make(map[uint32]*stream), mostID: maxStream, initial: firstWindow,
		window: window{out: firstWindow, in: connWindow}, most: mostOut, shrinks: true, moved: l.Now(), headAt: l.Now() + int64(s.cfg.Engine.Config().HeaderTimeout),
	}
	m.fields = hpack.NewDecoder(4096, func(f hpack.HeaderField) { m.request.field(f) })
	m.fields.SetMaxStringLength(m.maxBlock())
	return m
}

// maxHead bounds what is kept of a head: the loop refuses what is too long, and logs it.
func (m *conn) maxHead() int { return 2 * m.of.cfg.MaxHead }

// maxBlock bounds a head as it comes, in bytes.
func (m *conn) maxBlock() int { return 4 * m.of.cfg.MaxHead }

// touch has the connection flushed at the end of the turn.
func (m *conn) touch() {
	if !m.over {
		loop.Touch(m.c)
	}
}

// put adds a frame to those that are to be sent.
func (m *conn) put(frame []byte) {
	if !m.over {
		m.room(len(frame))
		m.out = append(m.out, frame...)
		m.touch()
	}
}

// room makes room for n bytes of frames.
func (m *conn) room(n int) {
	before := cap(m.out)
	if before == 0 && !loop.Blocked(m.c) {
		m.out = outs.Get().(*[roomOut]byte)[:0]
	}
	m.out = slices.Grow(m.out, n)
	m.of.held.Add(int64(cap(m.out) - before))
}

// mayFill reports whether a stream may add to what is to be sent.
func (m *conn) mayFill() bool {
	most := m.most
	if m.of.held.Load() > heldMemory {
		most = leastOut
	}
	if len(m.out) >= most {
		m.push()
	}
	return len(m.out) < most && !loop.Blocked(m.c)
}

// isUnread reports whether the client reads too little of what it has asked for. Heads do not wait for
// room: the streams that they end are open to the client still, which knows better than to begin others.
func isUnread(m *conn) bool {
	most := mostUnread
	if m.of.held.Load() > heldMemory {
		most = leastUnread
	}
	return len(m.out) > most
}

// push sends what may be sent, and reports whether the socket has failed.
func (m *conn) push() (failed bool) {
	if len(m.out) == 0 {
		return false
	}
	all := len(m.out)
	n, failed := loop.Write(m.c, m.out)
	if n > 0 {
		m.moved = m.loop.Now()
	}
	switch {
	case n == all && !loop.Blocked(m.c):
		m.most = min(2*m.most, mostOut)
	case all >= m.most:
		m.most = max(m.most/2, leastOut)
	}
	m.keep(m.out[n:])
	return failed
}

// keep keeps what is left to be sent, in as much memory as it needs.
func (m *conn) keep(rest []byte) {
	if len(rest) == len(m.out) && len(rest) > 0 && cap(m.out) != roomOut {
		return
	}
	old := m.out
	m.out = nil
	if len(rest) > 0 {
		m.out = slices.Clone(rest)
	}
	m.of.held.Add(int64(cap(m.out) - cap(old)))
	if cap(old) == roomOut {
		outs.Put((*[roomOut]byte)(old[:roomOut]))
	}
}

// Flush implements loop.Multiplexer.
func (m *conn) Flush(c *loop.Conn) bool {
	if m.over {
		return true
	}
	m.rest()
	if m.push() {
		return false
	}
	if len(m.out) == 0 && !loop.Blocked(c) {
		m.wake()
	}
	if m.goneAt != 0 && m.mostID < maxStream && m.Idle() {
		loop.Linger(c)
		return true
	}
	m.schedule()
	return true
}

// wake has the streams go on that wait for what is there now, the one first that had its turn the
// longest ago.
func (m *conn) wake() {
	if m.window.out <= 0 || len(m.out) >= m.most || loop.Blocked(m.c) {
		return
	}
	slices.SortFunc(m.waiting, func(a, b *stream) int { return cmp.Compare(a.round, b.round) })
	waiting := m.waiting[:0]
	for _, s := range m.waiting {
		if s.waits = s.window.out <= 0; s.waits {
			waiting = append(waiting, s)
		} else {
			loop.Unblock(s.c)
		}
	}
	clear(m.waiting[len(waiting):])
	m.waiting = waiting
}

// schedule says when the loop has to look at the connection.
func (m *conn) schedule() {
	var at int64
	sooner := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	sooner(m.headAt)
	sooner(m.sendBy())
	if m.mostID == maxStream {
		sooner(m.goneAt)
	}
	if len(m.streams) > 0 {
		m.idleAt = 0
	} else if m.phase == open && m.goneAt == 0 {
		m.idleAt = cmp.Or(m.idleAt, m.loop.Now()+int64(m.of.cfg.Idle))
		sooner(m.idleAt)
	}
	loop.SetDeadline(m.c, at)
}

// sendBy returns when the client must have taken something; 0: there is nothing. What this turn has gathered
// was not offered yet.
func (m *conn) sendBy() int64 {
	if !loop.Blocked(m.c) && !loop.Pending(m.c) {
		return 0
	}
	return m.moved + int64(m.of.cfg.Send)
}

// Timeout implements loop.Multiplexer.
func (m *conn) Timeout(c *loop.Conn) {
	now := m.loop.Now()
	due := func(at int64) bool { return at != 0 && at <= now }
	switch {
	case due(m.sendBy()):
		c.Reset()
	case due(m.headAt):
		m.fail(noError)
	case m.mostID == maxStream && due(m.goneAt):
		m.goAway()
		m.touch()
	case due(m.idleAt) && len(m.streams) == 0:
		m.fail(noError)
	default:
		m.schedule()
	}
}

// Idle implements loop.Multiplexer. The end of a connection drops records that the socket has not taken.
func (m *conn) Idle() bool { return len(m.streams) == 0 && len(m.out) == 0 && !loop.Pending(m.c) }

// Refuse implements loop.Multiplexer: streams are answered with 503.
func (m *conn) Refuse(*loop.Conn) { m.refused = true }

// Drain implements loop.Multiplexer: the client is told to ask for no more, and later that what it
// has asked for since is not answered.
func (m *conn) Drain(_ *loop.Conn, retiring bool) {
	if m.goneAt != 0 || m.over {
		return
	}
	m.goneAt = m.loop.Now() + int64(goneAfter)
	if m.phase == awaitsPreface || len(m.streams) == 0 && !retiring {
		m.goAway()
	} else {
		m.put(appendGoAway(nil, maxStream, noError))
	}
	m.touch()
}

// goAway says which stream is the last one that is served.
func (m *conn) goAway() {
	m.mostID = m.lastID
	m.put(appendGoAway(nil, m.lastID, noError))
}

// fail ends the connection.
func (m *conn) fail(why code) {
	if m.over {
		return
	}
	m.put(appendGoAway(nil, m.lastID, why))
	m.push()
	if why == enhanceYourCalm {
		m.c.Close() // what it goes on to send is not even read
	} else {
		loop.Linger(m.c)
	}
}

// Ending implements loop.Multiplexer.
func (m *conn) Ending(*loop.Conn) {
	if m.over {
		return
	}
	m.over = true
	for _, s := range m.streams {
		m.cut(s)
	}
	resting := slices.Concat(m.idle, m.ended)
	m.idle, m.ended, m.waiting, m.block = nil, nil, nil, nil
	for _, s := range resting {
		if !s.gone {
			loop.Cut(s.c)
		}
	}
	m.keep(nil)
	m.of.forget(m)
}

// cut ends a stream and its response.
func (m *conn) cut(s *stream) {
	m.drop(s)
	loop.Cut(s.c)
}

// drop forgets a stream.
func (m *conn) drop(s *stream) {
	if m.streams[s.id] != s {
		return
	}
	delete(m.streams, s.id)
	m.idleAt = 0 // it rests from now on, even if this stream has begun in this turn
	m.giveBack(s.owed)
	s.owed = 0
	if s.waits {
		s.waits = false
		m.waiting = slices.DeleteFunc(m.waiting, func(o *stream) bool { return o == s })
	}
	if s.sent {
		m.of.completed.Add(1)
	} else {
		m.of.aborted.Add(1)
	}
	m.touch()
}

// rest lets the connections of streams that have ended serve others.
func (m *conn) rest() {
	for _, s := range m.ended {
		switch {
		case s.gone:
		case loop.Rests(s.c):
			m.idle = append(m.idle, s)
		default: // of a body that nobody reads
			loop.Cut(s.c)
		}
	}
	clear(m.ended)
	m.ended = m.ended[:0]
}

// Frames that cost more here than they cost the client are counted: so many at once, and so many a second.
const (
	botherMost  = 1000
	botherEvery = int64(time.Second) / 200
)

// mayBother takes one such frame; false: there were too many.
func (m *conn) mayBother() bool {
	now := m.loop.Now()
	m.calm = max(m.calm, now-botherMost*botherEvery) + botherEvery
	return m.calm <= now
}

// giveBack lets the client send n bytes more.
func (m *conn) giveBack(n int64) {
	if n := m.window.giveBack(n, connWindow/2); n > 0 {
		m.put(appendNumber(nil, frameWindow, 0, uint32(n)))
	}
}

// resetStream resets a stream.
func (m *conn) resetStream(id uint32, why code) code {
	m.ours[m.oursAt%len(m.ours)] = id
	m.oursAt++
	m.put(appendNumber(nil, frameReset, id, uint32(why)))
	if why != noError && !m.mayBother() {
		return enhanceYourCalm
	}
	return noError
}

// endStream ends a stream whose client does what it must not.
func (m *conn) endStream(s *stream, why code) code {
	m.cut(s)
	return m.resetStream(s.id, why)
}

// beginBlock begins the fields of a head.
func (m *conn) beginBlock(p []byte) []byte {
	if m.shrinks {
		m.shrinks = false
		p = append(p, emptyTable)
	}
	return p
}
