package fallback

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// acceptBatch bounds the connections taken from one listener in one turn.
const acceptBatch = 64

// Listen takes over a listening socket and starts to accept from it. All that share
// it are woken for each connection, and the first one gets it.
func (d *Driver) Listen(t aio.Token, fd int, _ bool) error {
	if err := driver.PrepareListener(fd, false); err != nil {
		return err
	}
	// Level-triggered: a turn accepts a bounded number, the rest is reported again.
	return d.register(t, fd, isListener, unix.EPOLLIN)
}

// Accept polls a listener again that was stopped by an error.
func (d *Driver) Accept(t aio.Token) {
	s := d.Get(t)
	if s == nil || !s.Own.is(stopped) {
		return
	}
	if e := d.control(unix.EPOLL_CTL_ADD, t, s.FD, unix.EPOLLIN); e != 0 {
		s.Own.fault = uint16(e)
		d.enqueue(t, s)
		return
	}
	s.Own.flags &^= stopped
}

// accept takes a bounded number of connections from a listener.
func (d *Driver) accept(t aio.Token, s *slot, ev []aio.Event) (int, verdict) {
	if s.Own.fault != 0 {
		ev[0] = aio.Event{Token: t, Op: aio.Accepted, Err: s.Own.popFault(), FD: -1}
		return 1, done
	}
	n := 0
	for range min(len(ev), acceptBatch) {
		fd, e := sys.Accept4(s.FD)
		switch {
		case e == 0:
			ev[n] = aio.Event{Token: t, Op: aio.Accepted, More: true, FD: fd}
			n++
		case e == syscall.EAGAIN:
			return n, done
		case ofConnection(e):
			d.Counters.CountError(e)
		default:
			d.Counters.CountError(e)
			d.stopAccepting(t, s)
			ev[n] = aio.Event{Token: t, Op: aio.Accepted, Err: e, FD: -1}
			return n + 1, done
		}
	}
	return n, done // epoll reports the listener again if more are there
}

// ofConnection reports whether an error of accept is about a connection that
// broke while it waited: Linux passes these on to the listener, which is well
// (accept(2), "Error handling").
func ofConnection(e syscall.Errno) bool {
	switch e {
	case syscall.ECONNABORTED, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.ENETDOWN, syscall.ENETUNREACH,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENONET, syscall.EOPNOTSUPP, syscall.EPERM,
		syscall.ETIMEDOUT:
		return true
	}
	return false
}

// stopAccepting stops polling a listener, which would report the connections
// that cannot be taken in every turn.
func (d *Driver) stopAccepting(t aio.Token, s *slot) {
	_ = d.control(unix.EPOLL_CTL_DEL, t, s.FD, 0) // it is registered
	s.Own.flags |= stopped
}
