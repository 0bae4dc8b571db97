package fallback

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// Open takes over a connected socket and starts to receive from it. It is read at once, since
// the first request is there as a rule. Epoll gets to know of the connection if there was
// nothing, or if it is still open in the next turn.
func (d *Driver) Open(t aio.Token, fd int) error {
	s, err := d.Adopt(t, fd)
	if err != nil {
		return err
	}
	s.Own.flags = readable | unwatched
	d.enqueue(t, s)
	return nil
}

// watchFresh has epoll know of the connections that were read from in the turn before. What
// has come meanwhile it tells, too.
func (d *Driver) watchFresh() {
	for d.fresh.Len() > 0 {
		t := d.fresh.Pop()
		if s := d.Get(t); s != nil && !d.watchConn(t, s) {
			d.enqueue(t, s)
		}
	}
}

// watchConn has epoll know of a connection. False: that cannot be, and the connection has
// been ended, which is to be delivered: what waits for room would wait for ever.
func (d *Driver) watchConn(t aio.Token, s *slot) bool {
	s.Own.flags &^= unwatched
	e := d.watch(t, s, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
	if e == 0 {
		return true
	}
	d.Counters.CountError(e)
	_ = unix.Shutdown(int(s.FD), unix.SHUT_RDWR)
	s.Own.flags |= readable | hungUp
	if s.Wait == driver.ForRoom {
		s.Wait = driver.ForDelivery
	}
	return false
}

// Pause stops receiving; what the kernel holds stays there.
func (d *Driver) Pause(t aio.Token) {
	if s := d.Get(t); s != nil {
		s.Own.flags |= paused
	}
}

// Resume goes on receiving.
func (d *Driver) Resume(t aio.Token) {
	s := d.Get(t)
	if s == nil || !s.Own.is(paused) {
		return
	}
	s.Own.flags &^= paused
	if s.Own.receives() {
		d.enqueue(t, s)
	}
}

// receive reads once into a buffer of the driver.
//
// A short read means that the socket is drained and that the next bytes make a
// new edge (epoll(7)). After the peer's end no edge is left to come, so then
// reading goes on until the end itself is read.
func (d *Driver) receive(t aio.Token, s *slot, ev *aio.Event) (int, verdict) {
	if d.nextBuf == d.cfg.RecvBuffers {
		d.Counters.NoBuffers++
		return 0, stall
	}
	size := d.cfg.RecvBufferSize
	buf := d.arena[d.nextBuf*size:][:size:size]
	n, e := sys.Recv(s.FD, buf)
	isFresh := s.Own.is(unwatched)
	if isFresh && e != syscall.EAGAIN {
		s.Own.flags &^= unwatched
		d.fresh.Push(t)
	}
	switch {
	case e == syscall.EAGAIN:
		s.Own.flags &^= readable
		if isFresh && !d.watchConn(t, s) {
			return 0, again
		}
		if !isFresh {
			d.Counters.CountError(e)
		}
		return 0, done
	case aio.Classify(e) == aio.Wait: // memory is short
		d.Counters.CountError(e)
		d.Postpone(t)
		return 0, done
	case e != 0:
		d.Counters.CountError(e)
		s.Own.flags |= ended
		*ev = aio.Event{Token: t, Op: aio.Received, Err: e}
		return 1, done
	case n == 0:
		s.Own.flags |= ended
		// A send that failed has taken the error from the socket, which then
		// reads like an orderly end; it was none.
		*ev = aio.Event{Token: t, Op: aio.Received, Err: s.PopErr()}
		return 1, done
	}
	d.nextBuf++
	*ev = aio.Event{Token: t, Op: aio.Received, More: true, Data: buf[:n]}
	if n == size || s.Own.is(hungUp) {
		return 1, again
	}
	s.Own.flags &^= readable
	return 1, done
}
