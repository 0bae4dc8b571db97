package aiosim

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// maxIdleWaits bounds the calls of Wait in a row that tell nothing and take no
// time: so many are a loop that spins.
const maxIdleWaits = 10_000

func (d *driver) Wait(ev []aio.Event, timeout time.Duration) (int, error) {
	d.enter(kWait)
	defer d.exit()
	d.w.note(kWait, 0, int64(len(ev)), int64(timeout), 0, 0)
	d.stats.Waits++
	d.stats.Enters++
	d.recv.expire(d.w)
	if len(ev) == 0 {
		d.w.violate("wait without room for events")
	}
	if err := d.waitFails(); err != nil {
		return 0, err
	}
	began := d.w.now
	n, err := d.wait(ev, timeout)
	if d.w.roll(d.w.cfg.Faults.Lag) {
		d.w.now += d.w.below(lagMax)
	}
	d.checkProgress(n, d.w.now-began)
	d.w.note(kWaited, 0, int64(n), 0, 0, 0)
	if v := d.w.violation(); v != nil {
		return 0, v
	}
	return n, err
}

// waitFails decides whether Wait fails altogether.
func (d *driver) waitFails() error {
	w := d.w
	fails := false
	if w.cfg.FailWaits {
		fails = w.fails(kWait, w.cfg.Faults.WaitError)
	} else {
		fails = w.roll(w.cfg.Faults.WaitError)
	}
	if fails {
		return fmt.Errorf("aiosim: injected: %w", syscall.EBADR)
	}
	return nil
}

// wait moves the time to the next thing that happens and tells it.
func (d *driver) wait(ev []aio.Event, timeout time.Duration) (int, error) {
	w := d.w
	deadline := int64(1<<63 - 1)
	if timeout >= 0 {
		deadline = w.now + int64(timeout)
	}
	if d.spurious < maxStalls && w.roll(w.cfg.Faults.Spurious) {
		d.spurious++
		d.skipTo(deadline)
		return 0, nil
	}
	d.spurious = 0
	for {
		w.fireDue()
		if w.broken.Load() {
			return 0, nil
		}
		if d.woken.Swap(false) {
			w.note(kWake, 0, 0, 0, 0, 0)
			if !w.coin() {
				return 0, nil
			}
			return d.deliver(ev), nil
		}
		if n := d.deliver(ev); n > 0 {
			return n, nil
		}
		if w.now >= deadline {
			return 0, nil
		}
		if again, err := d.advance(deadline, timeout < 0); !again {
			return 0, err
		}
	}
}

// skipTo lets some time pass, in which nothing happens, for a wait that ends
// for no reason.
func (d *driver) skipTo(deadline int64) {
	until := deadline
	if at, ok := d.w.next(); ok {
		until = min(until, at)
	}
	if until > d.w.now && until-d.w.now < int64(time.Hour) {
		d.w.now += d.w.below(until - d.w.now)
	}
}

// advance moves the time to the next timer or to the deadline. It returns
// false if the wait is over because nothing will ever happen.
func (d *driver) advance(deadline int64, forever bool) (bool, error) {
	w := d.w
	at, ok := w.next()
	if !ok && forever {
		return d.idle()
	}
	if !ok || at > deadline {
		at = deadline
	}
	w.now = max(w.now, at)
	if w.Elapsed() > w.cfg.MaxTime {
		w.violate("not at an end after %v; %s", w.cfg.MaxTime, w.unfinished())
	}
	return true, nil
}

func (d *driver) idle() (bool, error) {
	w := d.w
	if w.onIdle != nil && w.onIdle() {
		return true, nil
	}
	if w.undone > 0 {
		w.violate("nothing will ever happen; %s", w.unfinished())
	}
	return false, ErrIdle
}

// checkProgress finds loops that spin.
func (d *driver) checkProgress(n int, took int64) {
	if n > 0 || took > 0 {
		d.idleWaits = 0
		return
	}
	if d.idleWaits++; d.idleWaits == maxIdleWaits {
		d.w.violate("%d waits in a row without an event or any time: the loop spins", d.idleWaits)
	}
}

// deliver fills ev with events that are due.
func (d *driver) deliver(ev []aio.Event) int {
	w := d.w
	n := 0
	for n < len(ev) && len(d.due) > 0 {
		i := 0
		if len(d.due) > 1 && w.roll(w.cfg.Faults.Reorder) {
			i = int(w.below(int64(len(d.due))))
		}
		e := d.due[i]
		d.due = slices.Delete(d.due, i, i+1)
		if !d.tell(&ev[n], e) {
			continue
		}
		n++
		if w.roll(w.cfg.Faults.SmallBatch) {
			break
		}
	}
	d.due = append(d.due, d.held...)
	d.held = d.held[:0]
	d.stats.Completions += uint64(n)
	return n
}

// tell fills in one event; it returns false if there is nothing to tell any more.
func (d *driver) tell(ev *aio.Event, e dueEvent) bool {
	*ev = aio.Event{Token: e.s.tok, Op: e.op, Err: e.err}
	switch e.op {
	case aio.Accepted:
		d.tellAccepted(ev, e.s)
	case aio.Received:
		return d.tellReceived(ev, e.s)
	case aio.Ready:
		d.tellReady(ev, e.s)
	case aio.Closed:
		s := e.s
		s.state, s.blocked, s.blockedFD = slotFree, aio.OK, 0
		d.w.note(kClosed, s.tok, 0, 0, 0, 0)
	}
	return true
}

func (d *driver) tellAccepted(ev *aio.Event, s *slot) {
	w, ln := d.w, s.ln
	s.acceptDue = false
	c := ln.backlog[0]
	if e := d.acceptError(); e != 0 {
		if e == syscall.ECONNABORTED {
			ln.backlog = ln.backlog[1:]
			c.serverRST()
		}
		s.accepting = false
		ev.FD, ev.Err = -1, e
		d.stats.CountError(e)
		w.noteErr(kAccepted, s.tok, e, int64(c.id), -1, 0, 0)
		return
	}
	ln.backlog = ln.backlog[1:]
	c.conn.fd = w.newFD(descriptor{conn: c})
	ev.FD, ev.More = c.conn.fd, true
	w.note(kAccepted, s.tok, int64(c.id), int64(ev.FD), 0, 0)
	d.offerAccept(s)
}

func (d *driver) acceptError() syscall.Errno {
	w := d.w
	if w.fails(kAccepted, w.cfg.Faults.AcceptError) {
		return w.pick(syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED)
	}
	if w.full() {
		return syscall.EMFILE
	}
	return 0
}

func (d *driver) tellReceived(ev *aio.Event, s *slot) bool {
	w, c := d.w, s.conn
	n := &c.conn
	s.recvDue = false
	if s.ended { // an injected break made it due once more
		return false
	}
	if n.arrived > 0 && w.fails(kReceived, w.cfg.Faults.ReceiveError) {
		c.injectBreak()
		n.out, n.arrived = n.out[:0], 0
	}
	switch {
	case n.arrived > 0:
		return d.tellData(ev, s)
	case n.broken:
		ev.Err = n.errno()
		d.stats.CountError(ev.Err)
	}
	s.ended = true
	w.noteErr(kReceived, s.tok, ev.Err, 0, 0, 0, 0)
	return true
}

func (d *driver) tellData(ev *aio.Event, s *slot) bool {
	w, n := d.w, &s.conn.conn
	k := int64(min(n.arrived, d.cfg.RecvBufferSize))
	if k > 1 && w.roll(w.cfg.Faults.SplitReceive) {
		k = w.upTo(k)
	}
	ev.Data = d.recv.fill(w, n.out[:k])
	if len(ev.Data) == 0 { // all receive memory is in use until the next Wait
		d.stats.NoBuffers++
		s.recvDue = true
		d.held = append(d.held, dueEvent{op: aio.Received, s: s})
		return false
	}
	k = int64(len(ev.Data))
	n.out, n.arrived = n.out[k:], n.arrived-int(k)
	ev.More = !s.paused || w.coin()
	var more int64
	if ev.More {
		more = 1
	}
	w.note(kReceived, s.tok, k, more, 0, 0)
	s.conn.pump()
	d.offerReceive(s)
	return true
}

func (d *driver) tellReady(ev *aio.Event, s *slot) {
	w := d.w
	if ev.Err == 0 && w.fails(kReady, w.cfg.Faults.ReadyError) {
		ev.Err = syscall.EIO
		if s.blocked == aio.BlockedSocket {
			ev.Err = syscall.ECONNRESET
			s.conn.injectBreak()
		}
	}
	s.readyDue = false
	s.blocked, s.blockedFD = aio.OK, 0
	w.noteErr(kReady, s.tok, ev.Err, 0, 0, 0, 0)
}

// offerAccept makes an Accepted event due if there is one to tell.
func (d *driver) offerAccept(s *slot) {
	if s.state == slotOpen && s.accepting && !s.acceptDue && len(s.ln.backlog) > 0 {
		s.acceptDue = true
		d.due = append(d.due, dueEvent{op: aio.Accepted, s: s})
	}
}

// offerReceive makes a Received event due if there is one to tell.
func (d *driver) offerReceive(s *slot) {
	n := &s.conn.conn
	if s.state != slotOpen || s.paused || s.ended || s.recvDue {
		return
	}
	if n.arrived > 0 || n.broken || n.finArrived {
		s.recvDue = true
		d.due = append(d.due, dueEvent{op: aio.Received, s: s})
	}
}

// offerReady makes Ready due, soon, for an attempt that is blocked by a
// socket which has room, or is broken, or by a lack of memory.
func (d *driver) offerReady(s *slot) {
	if s.state != slotOpen || s.blocked != aio.BlockedSocket && s.blocked != aio.BlockedMemory || s.readyTimer || s.readyDue {
		return
	}
	s.readyTimer = true
	var late int64
	if d.w.roll(d.w.cfg.Faults.LateReady) {
		late = d.w.below(lateMax)
	}
	d.w.after(late, timer{kind: tReady, s: s, use: s.use})
}

// withdraw takes back an event that is due.
func (d *driver) withdraw(s *slot, op aio.Op) {
	d.due = slices.DeleteFunc(d.due, func(e dueEvent) bool { return e.s == s && e.op == op })
}

// fire does what a timer of the driver is for.
func (d *driver) fire(t *timer) {
	s := t.s
	if s.use != t.use {
		return
	}
	switch t.kind {
	case tClosed:
		if s.state == slotClosing && d.w.fd(s.fd) != nil {
			d.closeDescriptor(s)
		}
	case tReady:
		s.readyTimer = false
		var e syscall.Errno
		if s.conn.conn.broken && d.w.coin() {
			e = syscall.ECONNRESET
		}
		d.ready(s, e)
	case tFetch:
		d.fetched(s)
	}
}

// fetched ends a fetch: the range is in memory, or could not be read.
func (d *driver) fetched(s *slot) {
	f := &s.fetch
	if f.err == 0 && f.file != nil {
		f.file.warm(f.off, f.n)
	}
	d.w.noteErr(kFetched, s.tok, f.err, f.off, f.n, 0, 0)
	e := f.err
	*f = fetch{}
	s.fetchEnd = 0
	d.ready(s, e)
}

// ready makes Ready due.
func (d *driver) ready(s *slot, e syscall.Errno) {
	if s.state != slotOpen {
		return
	}
	s.readyDue = true
	d.due = append(d.due, dueEvent{op: aio.Ready, s: s, err: e})
}
