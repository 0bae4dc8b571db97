package aiosim

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
)

const (
	// lateMax bounds how late events are, lagMax how late Wait returns, in ns.
	lateMax = int64(20e6)
	lagMax  = int64(50e6)
	// callCost and bytesPerNs make calls take some virtual time, so that
	// bounds on the length of a turn mean something: 100 ns and 16 GB/s.
	callCost   = 100
	bytesPerNs = 16

	// maxStalls bounds how often in a row nothing happens without need, so
	// that a probability of 1 does not mean for ever.
	maxStalls = 8

	// smallSlots is the number of slots that are found by index.
	smallSlots = 1 << 12
)

// slotState is where a slot is in its life.
type slotState uint8

const (
	slotFree slotState = iota
	slotOpen
	slotClosing // from Close to the delivery of Closed
)

// slot is one slot of the driver.
type slot struct {
	state slotState
	used  bool // was open before: tok is that of the last use
	use   uint32
	tok   aio.Token
	fd    int32
	conn  *Client   // of a connection
	ln    *Listener // of a listener

	// Streams. due: an event waits to be delivered.
	accepting bool
	acceptDue bool
	paused    bool
	ended     bool
	recvDue   bool

	// The attempt. It stays blocked until Ready, or Closed, is delivered.
	blocked    aio.Status // OK: not blocked
	blockedFD  int32      // the file it names; 0: none
	readyDue   bool
	readyTimer bool
	fetchEnd   int64 // when what is fetched for it is there
	fetch      fetch
	ahead      ahead

	stalls int // attempts in a row that moved nothing

	turn  uint64 // the last Wait before an attempt
	moved int64  // by attempts since

	shut  bool // CloseWrite was called
	reset bool // of Close
}

// fetch is a range on its way from the disk.
type fetch struct {
	file   *File
	off, n int64
	err    syscall.Errno
}

// ahead is what splice took into the slot's pipe and has not yet sent.
type ahead struct {
	fd     int32
	off, n int64 // of the file
	chunk  chunk // what the file had there; off+n is its end
}

// driver implements aio.Driver.
type driver struct {
	w     *World
	cfg   aio.Config
	stats aio.Stats

	slots []*slot // below smallSlots
	far   map[uint32]*slot
	order []*slot // all, in the order of their first use

	due  []dueEvent
	held []dueEvent // of this Wait, for the next one: no memory left

	recv receiveMemory

	busy      atomic.Bool // a call is under way
	woken     atomic.Bool
	wake      chan struct{} // holds one element after Wake; for AwaitWake
	destroyed atomic.Bool
	goroutine uint64
	calls     int
	idleWaits int // calls of Wait in a row that neither told anything nor took time
	spurious  int // waits in a row that ended for no reason
	leftOpen  []string
	maxTurn   int64
}

// dueEvent is an event that waits to be delivered.
type dueEvent struct {
	op  aio.Op
	s   *slot
	err syscall.Errno
}

// NewDriver makes the world's one driver. Its methods must be called from this
// goroutine. It counts as a fallible call.
func (w *World) NewDriver(cfg aio.Config) (aio.Driver, error) {
	if w.drv != nil {
		return nil, errors.New("aiosim: a world has one driver")
	}
	w.note(kNewDriver, 0, 0, 0, 0, 0)
	if w.fails(kNewDriver, w.cfg.Faults.DriverError) {
		e := w.pick(syscall.EPERM, syscall.ENOSYS, syscall.ENOMEM, syscall.EMFILE)
		return nil, fmt.Errorf("aiosim: injected: %w", e)
	}
	cfg = cfg.WithDefaults()
	w.drv = &driver{w: w, cfg: cfg, goroutine: goroutineID(), wake: make(chan struct{}, 1)}
	w.drv.recv.init(cfg)
	return w.drv, nil
}

func (d *driver) Name() string { return "sim" }

// enter begins a call: every call must be alone and in its place.
func (d *driver) enter(k kind) {
	if !d.busy.CompareAndSwap(false, true) {
		d.w.violate("%v called during another call: inside Wait, or on another goroutine", k)
	}
	if d.destroyed.Load() {
		d.w.violate("%v called after Destroy", k)
	}
	if !onGoroutine(d.goroutine) {
		d.w.violate("%v called on another goroutine than the one that made the driver", k)
	}
	d.calls++
	if d.calls == d.w.cfg.MaxCalls {
		d.w.violate("%d calls: the loop spins", d.calls)
	}
	d.w.now += callCost
}

func (d *driver) exit() { d.busy.Store(false) }

// open returns the open slot of a token; anything else is a violation.
func (d *driver) open(k kind, t aio.Token) *slot {
	s := d.find(t)
	switch {
	case t&^aio.TokenMask != 0:
		d.w.violate("%v with token %#x: the upper 8 bits belong to the driver", k, uint64(t))
	case s == nil || !s.used:
		d.w.violate("%v of slot %d, which was never open", k, t.Slot())
	case s.tok != t:
		d.w.violate("%v of slot %d with generation %d; the last one was %d", k, t.Slot(), t.Gen(), s.tok.Gen())
	case s.state == slotClosing:
		d.w.violate("%v of slot %d after Close", k, t.Slot())
	case s.state == slotFree:
		d.w.violate("%v of slot %d after Closed", k, t.Slot())
	default:
		return s
	}
	return nil
}

// take begins a use of a slot with a descriptor that becomes the driver's.
func (d *driver) take(s *slot, t aio.Token, fd int32, desc *descriptor) {
	*s = slot{state: slotOpen, used: true, use: s.use + 1, tok: t, fd: fd, conn: desc.conn, ln: desc.ln}
	desc.owner = ownedByDriver
}

// give checks a descriptor that is to become the driver's.
func (d *driver) give(k kind, fd int, listener bool) *descriptor {
	desc := d.w.fd(int32(fd))
	switch {
	case desc == nil:
		d.w.violate("%v of descriptor %d, which is not open", k, fd)
	case desc.owner == ownedByDriver:
		d.w.violate("%v of descriptor %d, which the driver has already", k, fd)
	case listener && desc.ln == nil, !listener && desc.conn == nil:
		d.w.violate("%v of descriptor %d, which is of another kind", k, fd)
	default:
		return desc
	}
	return nil
}

// begin is what Listen and Open have in common.
func (d *driver) begin(k kind, t aio.Token, fd int, listener bool) (*slot, error) {
	desc := d.give(k, fd, listener)
	if desc == nil {
		return nil, syscall.EBADF
	}
	s := d.claim(k, t)
	if s == nil {
		return nil, syscall.EINVAL
	}
	if d.w.fails(k, d.w.cfg.Faults.OpenError) {
		e := d.w.pick(syscall.ENOMEM, syscall.EMFILE, syscall.ENOBUFS)
		d.w.noteErr(k, t, e, int64(fd), 0, 0, 0)
		return nil, fmt.Errorf("aiosim: injected: %w", e)
	}
	d.w.note(k, t, int64(fd), 0, 0, 0)
	d.take(s, t, int32(fd), desc)
	return s, nil
}

func (d *driver) Listen(t aio.Token, fd int, _ bool) error {
	d.enter(kListen)
	defer d.exit()
	s, err := d.begin(kListen, t, fd, true)
	if err != nil {
		return err
	}
	s.ln.slot = s
	s.accepting = true
	d.offerAccept(s)
	return nil
}

func (d *driver) Accept(t aio.Token) {
	d.enter(kAccept)
	defer d.exit()
	s := d.open(kAccept, t)
	if s == nil {
		return
	}
	d.w.note(kAccept, t, 0, 0, 0, 0)
	switch {
	case s.ln == nil:
		d.w.violate("accept of slot %d, which is no listener", t.Slot())
	case s.accepting:
		d.w.violate("accept of slot %d, whose stream goes on", t.Slot())
	default:
		s.accepting = true
		d.offerAccept(s)
	}
}

func (d *driver) Open(t aio.Token, fd int) error {
	d.enter(kOpen)
	defer d.exit()
	s, err := d.begin(kOpen, t, fd, false)
	if err != nil {
		return err
	}
	s.conn.conn.slot = s
	d.offerReceive(s)
	return nil
}

// connection returns the open connection of a token; anything else is a violation.
func (d *driver) connection(k kind, t aio.Token) *slot {
	s := d.open(k, t)
	if s != nil && s.conn == nil {
		d.w.violate("%v of slot %d, which is a listener", k, t.Slot())
		return nil
	}
	return s
}

func (d *driver) Pause(t aio.Token) {
	d.enter(kPause)
	defer d.exit()
	s := d.connection(kPause, t)
	if s == nil {
		return
	}
	d.w.note(kPause, t, 0, 0, 0, 0)
	if !s.paused && s.recvDue && !d.w.roll(d.w.cfg.Faults.LatePause) {
		d.withdraw(s, aio.Received)
		s.recvDue = false
	}
	s.paused = true
}

func (d *driver) Resume(t aio.Token) {
	d.enter(kResume)
	defer d.exit()
	s := d.connection(kResume, t)
	if s == nil {
		return
	}
	d.w.note(kResume, t, 0, 0, 0, 0)
	s.paused = false
	d.offerReceive(s)
}

func (d *driver) Cork(t aio.Token, on bool) {
	d.enter(kCork)
	defer d.exit()
	s := d.connection(kCork, t)
	if s == nil {
		return
	}
	var o int64
	if on {
		o = 1
	}
	d.w.note(kCork, t, o, 0, 0, 0)
	s.conn.cork(on)
}

func (d *driver) Push(t aio.Token) {
	d.enter(kPush)
	defer d.exit()
	s := d.connection(kPush, t)
	if s == nil {
		return
	}
	d.w.note(kPush, t, 0, 0, 0, 0)
	s.conn.push()
}

func (d *driver) CloseWrite(t aio.Token) {
	d.enter(kCloseWrite)
	defer d.exit()
	s := d.connection(kCloseWrite, t)
	if s == nil {
		return
	}
	d.w.note(kCloseWrite, t, 0, 0, 0, 0)
	s.shut = true
	n := &s.conn.conn
	if !n.broken {
		n.finSent = true
		s.conn.push()
	}
}

func (d *driver) Close(t aio.Token, reset bool) {
	d.enter(kClose)
	defer d.exit()
	s := d.open(kClose, t)
	if s == nil {
		return
	}
	var r int64
	if reset {
		r = 1
	}
	d.w.note(kClose, t, r, 0, 0, 0)
	d.withdraw(s, aio.Accepted)
	d.withdraw(s, aio.Received)
	d.withdraw(s, aio.Ready)
	s.state, s.reset = slotClosing, reset
	var late int64
	if d.w.roll(d.w.cfg.Faults.LateClosed) {
		late = d.w.below(lateMax)
	}
	if s.fetchEnd > d.w.now && !d.w.coin() { // else the fetch can be cancelled
		late = max(late, s.fetchEnd-d.w.now)
	}
	if late > 0 {
		d.w.after(late, timer{kind: tClosed, s: s, use: s.use})
		return
	}
	d.closeDescriptor(s)
}

// closeDescriptor ends the use of the descriptor; Closed is due.
func (d *driver) closeDescriptor(s *slot) {
	d.w.release(d.w.fd(s.fd))
	if s.conn != nil {
		s.conn.serverClose(s.reset)
	}
	if s.ln != nil {
		s.ln.close()
	}
	d.setAhead(s, ahead{})
	d.due = append(d.due, dueEvent{op: aio.Closed, s: s})
}

// blockedOn returns the slot of which a blocked attempt names the file.
func (d *driver) blockedOn(fd int32) *slot {
	if d == nil {
		return nil
	}
	for _, s := range d.order {
		if s.state != slotFree && s.blockedFD == fd {
			return s
		}
	}
	return nil
}

func (d *driver) Wake() {
	if d.destroyed.Load() {
		d.w.violate("wake called after Destroy")
	}
	d.woken.Store(true)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *driver) Now() int64 {
	d.enter(kNow)
	defer d.exit()
	return d.w.now
}

func (d *driver) Stats() *aio.Stats {
	d.enter(kStats)
	defer d.exit()
	return &d.stats
}

func (d *driver) Destroy() error {
	d.enter(kDestroy)
	defer d.exit()
	var open int64
	for _, s := range d.order {
		if s.state == slotOpen {
			d.leftOpen = append(d.leftOpen, fmt.Sprintf("slot %d was open when Destroy was called", s.tok.Slot()))
		}
		if s.state != slotFree {
			open++
			d.destroySlot(s)
		}
	}
	d.due = nil
	d.w.note(kDestroy, 0, open, 0, 0, 0)
	d.recv.check(d.w)
	d.destroyed.Store(true)
	return nil
}

func (d *driver) destroySlot(s *slot) {
	if desc := d.w.fd(s.fd); desc != nil {
		d.closeDescriptor(s)
	}
	s.state, s.blocked, s.blockedFD = slotFree, aio.OK, 0
}

// elapse lets the moving of n bytes take its time.
func (d *driver) elapse(n int64) { d.w.now += n / bytesPerNs }
