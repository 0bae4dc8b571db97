package uring

import (
	"fmt"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
)

// Wait implements aio.Driver. In a turn it
//
//  1. gives lent buffers back, and lets those receive that wait for one;
//  2. queues what slots want and could not have before, and the read of the waker;
//  3. delivers what has happened without the kernel;
//  4. enters the kernel, to wait for long twice (see aio.ShortWait);
//  5. reaps one bounded batch of completions.
func (d *Driver) Wait(ev []aio.Event, timeout time.Duration) (n int, err error) {
	d.Counters.Waits++
	d.buffers.giveBack()
	d.feed()
	d.armAll()
	wakes := d.armWake()
	for ; n < len(ev) && d.ready.Len() > 0; n++ {
		ev[n] = d.ready.Pop()
	}
	for n < len(ev) {
		t, s := d.Due()
		if s == nil {
			break
		}
		if s.Wait == driver.ForMemory {
			s.Wait = driver.ForNothing
			ev[n] = aio.Event{Token: t, Op: aio.Ready}
			n++
		}
		d.arm(t, s)
	}
	timeout = d.Trimmed(d.Until(timeout), d.fetches.trim(d.Mover.Now))
	if n == len(ev) {
		return n, nil
	}
	if n > 0 || d.ring.cq.pending() > 0 || d.unarmed.Len() > 0 || d.starving.Len() > 0 || !wakes {
		timeout = 0
	}
	// Completions that already fill the batch are served first.
	if int(d.ring.cq.pending()) < len(ev)-n {
		if err = d.enter(timeout); err != nil {
			return n, err
		}
	}
	return n + d.reap(ev[n:]), nil
}

// shortOfMemory is how long the loop rests when the kernel has no memory to take anything
// and has nothing to tell.
const shortOfMemory = time.Millisecond

func (d *Driver) enter(timeout time.Duration) error {
	d.Counters.Enters++
	d.Counters.Submissions = d.ring.submitted
	if d.ring.sq.overflowed() {
		d.Counters.Overflows++ // entering with GETEVENTS moves them to the queue
	}
	switch e := d.ring.wait(timeout); e {
	case 0, syscall.ETIME, syscall.EINTR:
	default:
		if aio.Classify(e) == aio.Wait {
			// The completion queue overflowed, or memory is short: what is queued
			// stays queued, draining completions makes room.
			d.Counters.CountError(e)
			if d.ring.cq.pending() == 0 {
				time.Sleep(shortOfMemory)
			}
			return nil
		}
		return fmt.Errorf("io_uring_enter: %w", e)
	}
	return nil
}

// reap turns completions into events until ev is full, or until all buffers are
// lent: then it is time to give them back.
func (d *Driver) reap(ev []aio.Event) int {
	n := 0
	for n < len(ev) && d.ring.cq.pending() > 0 && len(d.buffers.lent) < cap(d.buffers.lent) {
		c := d.ring.cq.next()
		d.Counters.Completions++
		if d.complete(completion{userData(c.UserData()), c.Result(), c.Flags()}, &ev[n]) {
			n++
		}
	}
	d.ring.cq.release()
	return n
}

// completion is what the kernel says of an operation.
type completion struct {
	name  userData
	res   int32
	flags uint32
}

// more reports whether the operation goes on and will complete again.
func (c completion) more() bool { return c.flags&cqeMore != 0 }

// errno returns the error of the result.
func (c completion) errno() syscall.Errno { return syscall.Errno(max(0, -c.res)) }

// complete handles one completion and reports whether it made an event.
func (d *Driver) complete(c completion, ev *aio.Event) bool {
	if c.name.op() == opPart {
		d.fetches.partFailed(c)
		return false
	}
	if !c.more() {
		d.ring.inflight--
	}
	switch c.name.op() {
	case opCancel:
		return false
	case opWake:
		d.woken()
		return false
	case opFetch:
		return d.fetched(c, ev)
	}
	return d.completeSlot(c, ev)
}

// completeSlot handles a completion that names a slot. That is still the token's:
// it is freed only after its last completion.
func (d *Driver) completeSlot(c completion, ev *aio.Event) (made bool) {
	t := c.name.token()
	s := d.At(t)
	p := &s.Own.stream
	if c.name.op() == opPoll {
		p = &s.Own.poll
	}
	if !c.more() {
		*p = idle
	}
	switch c.name.op() {
	case opAccept:
		made = d.accepted(t, s, c, ev)
	case opRecv:
		made = d.received(t, s, c, ev)
	case opPoll:
		made = d.polled(t, s, ev)
	}
	if s.IsClosing() && s.Own.isQuiet() {
		d.closeFD(t, s)
	}
	return made
}
