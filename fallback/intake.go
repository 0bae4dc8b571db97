package fallback

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

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
	switch {
	case e == syscall.EAGAIN:
		d.Counters.CountError(e)
		s.Own.flags &^= readable
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
		*ev = aio.Event{Token: t, Op: aio.Received, Err: s.TakeErr()}
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

// accept takes a bounded number of connections from a listener.
func (d *Driver) accept(t aio.Token, s *slot, ev []aio.Event) (int, verdict) {
	if s.Own.fault != 0 {
		ev[0] = aio.Event{Token: t, Op: aio.Accepted, Err: s.Own.takeFault(), FD: -1}
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

// Accept polls a listener again that was stopped by an error.
func (d *Driver) Accept(t aio.Token) {
	s := d.Get(t)
	if s == nil || !s.Own.is(isListener|stopped) {
		return
	}
	if e := d.control(unix.EPOLL_CTL_ADD, t, s.FD, unix.EPOLLIN); e != 0 {
		s.Own.fault = uint16(e)
		d.enqueue(t, s)
		return
	}
	s.Own.flags &^= stopped
}
