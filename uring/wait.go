package uring

import (
	"fmt"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// Wait implements aio.Driver: give buffers back, enter the kernel (to
// wait for long a second time, see aio.ShortWait), drain one bounded batch.
func (d *Driver) Wait(ev []aio.Event, timeout time.Duration) (int, error) {
	d.stats.Waits++
	d.buffers.giveBack()
	d.feed()
	d.settleAll()
	n := copy(ev, d.ready)
	d.ready = d.ready[:copy(d.ready, d.ready[n:])]
	if n == len(ev) {
		return n, nil
	}
	if n > 0 || d.ring.cq.pending() > 0 || len(d.unsettled) > 0 || d.starving.n > 0 {
		timeout = 0
	}
	// Completions that already fill the batch are served first.
	if int(d.ring.cq.pending()) < len(ev)-n {
		if err := d.enter(timeout); err != nil {
			return n, err
		}
	}
	return n + d.drain(ev[n:]), nil
}

func (d *Driver) enter(timeout time.Duration) error {
	d.stats.Enters++
	if d.ring.sq.overflowed() {
		d.stats.Overflows++ // entering with GETEVENTS moves them to the queue
	}
	switch e := d.ring.wait(timeout); e {
	case 0, syscall.ETIME, syscall.EINTR:
	case syscall.EBUSY, syscall.EAGAIN:
		// The completion queue overflowed, or memory is short: what is queued
		// stays queued, draining completions makes room.
		d.stats.CountError(e)
	default:
		return fmt.Errorf("io_uring_enter: %w", e)
	}
	return nil
}

// drain turns completions into events until ev is full.
func (d *Driver) drain(ev []aio.Event) int {
	n := 0
	for n < len(ev) && d.ring.cq.pending() > 0 && len(d.buffers.lent) < cap(d.buffers.lent) {
		c := d.ring.cq.take()
		d.stats.Completions++
		if d.complete(userData(c.UserData()), c.Result(), c.Flags(), &ev[n]) {
			n++
		}
	}
	d.ring.cq.release()
	return n
}

// complete handles one completion and reports whether it made an event.
func (d *Driver) complete(name userData, res int32, flags uint32, ev *aio.Event) bool {
	if name.op() == opPart {
		d.partFailed(name.fetch(), res)
		return false
	}
	more := flags&cqeMore != 0
	if !more {
		d.inflight--
	}
	switch name.op() {
	case opCancel:
		return false
	case opWake:
		if !d.stopping {
			d.armWake()
		}
		return false
	case opFetch:
		return d.fetched(name.fetch(), res, ev)
	}
	// The slot is still the token's: it is freed only after its last completion.
	t := name.token()
	s := &d.slots[t.Slot()]
	if !more {
		s.ops--
		s.flags &^= streamOf[name.op()]
	}
	made := false
	switch name.op() {
	case opAccept:
		made = d.accepted(t, s, res, ev)
	case opRecv:
		made = d.received(t, s, res, flags, ev)
	case opPoll:
		made = d.polled(t, s, ev)
	}
	if s.is(closing) && s.ops == 0 {
		d.finishClose(t, s)
	}
	return made
}

// streamOf is which flags end with the last completion of an operation.
var streamOf = [...]slotFlags{
	opAccept: streaming | cancelling,
	opRecv:   streaming | cancelling,
	opPoll:   polling | pollCancelling,
	opWake:   0,
}

// polled handles the completion of a wait for room in the socket. An error of
// the socket shows in the attempt that follows.
func (d *Driver) polled(t aio.Token, s *slot, ev *aio.Event) bool {
	if s.is(closing) || !s.is(blockedSocket) {
		return false
	}
	s.flags &^= blockedSocket
	*ev = aio.Event{Token: t, Op: aio.Ready}
	return true
}

// Wake implements aio.Driver.
func (d *Driver) Wake() { sys.EventfdSignal(d.wakeFD) }
