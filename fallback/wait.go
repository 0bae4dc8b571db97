package fallback

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// verdict says what becomes of a slot that was served.
type verdict uint8

const (
	done  verdict = iota // nothing more until an edge or a call
	again                // has more: back to the end of the queue
	stall                // no room or no buffer: stays at the front
)

// Wait takes what epoll has, waiting only if nothing is queued, and serves the
// queue.
func (d *Driver) Wait(ev []aio.Event, timeout time.Duration) (int, error) {
	d.Counters.Waits++
	d.nextBuf, d.arrivals.n = 0, 0
	d.watchFresh()
	for t, s := d.Due(); s != nil; t, s = d.Due() {
		if s.Wait == driver.ForMemory {
			s.Wait = driver.ForDelivery
		}
		d.enqueue(t, s)
	}
	timeout = d.Trimmed(d.Until(timeout), 0)
	var deadline int64
	if timeout > 0 {
		deadline = sys.Nanotime() + int64(timeout)
	}
	for {
		wait := timeout
		if d.queue.Len() > 0 {
			wait = 0
		}
		taken, e := d.poll(min(max(len(ev), 1), maxEvents), wait)
		if e != 0 && e != syscall.EINTR {
			return 0, fmt.Errorf("epoll: %w", e)
		}
		woken := d.noteAll(d.events[:taken])
		n := d.serveAll(ev)
		if n > 0 || taken == 0 && wait != 0 || woken || timeout == 0 || d.queue.Len() > 0 {
			return n, nil
		}
		// Edges that nobody waits for, such as the first "writable" of each
		// connection, are no reason to return, and neither is a new one that has nothing.
		if timeout > 0 {
			timeout = max(time.Duration(deadline-sys.Nanotime()), 0)
		}
		timeout = d.Until(timeout)
	}
}

// poll calls epoll_wait in the form that suits the time-out. The count is 0
// with any error.
func (d *Driver) poll(limit int, timeout time.Duration) (int, syscall.Errno) {
	d.Counters.Enters++
	ev := d.events[:limit]
	if timeout == 0 {
		return sys.EpollPwait(d.epfd, ev, 0, false)
	}
	if !d.noPwait2 {
		n, e := d.pwait2(ev, timeout)
		if e != syscall.ENOSYS && e != syscall.EPERM {
			return n, e
		}
		d.noPwait2 = true // Linux before 5.11, or a sandbox that does not know the call
	}
	return sys.EpollPwait(d.epfd, ev, millis(timeout), true)
}

// pwait2 waits with the time-out as it is, at first for a short time in which the
// processor is kept.
func (d *Driver) pwait2(ev []unix.EpollEvent, timeout time.Duration) (int, syscall.Errno) {
	short, rest := aio.SplitWait(timeout, d.cfg.HoldProcessor)
	if short > 0 {
		n, e := sys.EpollPwait2(d.epfd, ev, short, false)
		if n > 0 || e != 0 && e != syscall.EINTR || rest == 0 {
			return n, e
		}
	}
	return sys.EpollPwait2(d.epfd, ev, rest, true)
}

// millis rounds a time-out up to milliseconds, so that Wait never returns early.
func millis(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((timeout + time.Millisecond - 1) / time.Millisecond)
}

// noteAll records what events of epoll say and reports whether one was a wake-up.
func (d *Driver) noteAll(events []unix.EpollEvent) (woken bool) {
	d.Counters.Completions += uint64(len(events))
	for i := range events {
		if events[i].Fd == wakeSlot {
			d.noteWake()
			woken = true
			continue
		}
		d.note(&events[i])
	}
	if d.fetching > 0 {
		d.collect()
	}
	return woken
}

// note records what an event says about its slot.
func (d *Driver) note(ev *unix.EpollEvent) {
	// A descriptor that was duplicated elsewhere goes on reporting after Close.
	t := aio.MakeToken(uint32(ev.Fd), uint32(ev.Pad))
	s := d.Get(t)
	if s == nil {
		return
	}
	if s.Own.is(isListener) {
		d.enqueue(t, s)
		return
	}
	const gone = unix.EPOLLHUP | unix.EPOLLERR
	if ev.Events&(unix.EPOLLRDHUP|gone) != 0 {
		s.Own.flags |= hungUp
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|gone) != 0 {
		s.Own.flags |= readable
		if s.Own.receives() {
			d.enqueue(t, s)
		}
	}
	if ev.Events&(unix.EPOLLOUT|gone) != 0 && s.Wait == driver.ForRoom {
		s.Wait = driver.ForDelivery
		d.enqueue(t, s)
	}
}

// Wake makes the current or next Wait return. It may be called by any goroutine.
func (d *Driver) Wake() { d.waker.Wake() }

// noteWake reads the wake-up away.
func (d *Driver) noteWake() {
	sys.EventfdDrain(d.waker.FD)
	d.waker.Seen()
}

// serveAll serves each slot of the queue at most once, in order, while there is
// room for events and there are buffers to receive into.
func (d *Driver) serveAll(ev []aio.Event) int {
	n := 0
	for left := d.queue.Len(); left > 0 && n < len(ev); left-- {
		t := d.queue.Front()
		s := d.At(t)
		k, v := d.serve(t, s, ev[n:])
		n += k
		switch v {
		case stall:
			return n
		case done:
			d.queue.Pop()
			s.Own.flags &^= queued
		case again:
			d.queue.Push(d.queue.Pop())
		}
	}
	return n
}

// serve delivers what a slot has, into at least one free event. It returns how
// many events it filled.
func (d *Driver) serve(t aio.Token, s *slot, ev []aio.Event) (int, verdict) {
	switch {
	case s.IsClosing():
		d.Free(s)
		ev[0] = aio.Event{Token: t, Op: aio.Closed}
		return 1, done
	case s.Own.is(isListener):
		return d.accept(t, s, ev)
	}
	n := 0
	if s.Wait == driver.ForDelivery {
		s.Wait = driver.ForNothing
		ev[0] = aio.Event{Token: t, Op: aio.Ready, Err: s.Own.popFault()}
		n = 1
	}
	if !s.Own.receives() {
		if s.Own.is(unwatched) && !d.watchConn(t, s) {
			return n, again // the end is read when it may be
		}
		return n, done
	}
	if n == len(ev) {
		return n, stall
	}
	k, v := d.receive(t, s, &ev[n])
	return n + k, v
}
