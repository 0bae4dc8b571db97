package fallback

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// acceptBatch bounds the connections taken in one turn.
const acceptBatch = 64

// arrivals are the connections taken in a turn. It is one at first, so that no call finds
// nothing, and twice as many in each turn in which there are more.
type arrivals struct {
	most  int    // from a listener
	turn  uint64 // in which a listener had as many
	n     int    // taken in this turn
	peers [acceptBatch][sys.PeerLen]byte
}

// mostArrivals returns how many connections are taken from a listener now.
func (d *Driver) mostArrivals() int {
	a := &d.arrivals
	if a.turn+1 < d.Counters.Waits {
		a.most = 1
	}
	return min(max(a.most, 1), acceptBatch-a.n)
}

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
	for range min(len(ev), d.mostArrivals()) {
		peer := &d.arrivals.peers[d.arrivals.n]
		fd, e := sys.AcceptFrom(s.FD, peer)
		switch {
		case e == 0:
			ev[n] = aio.Event{Token: t, Op: aio.Accepted, More: true, FD: fd, Data: peer[:]}
			n++
			d.arrivals.n++
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
	if n > 0 { // else others had what may be taken in this turn
		d.arrivals.most, d.arrivals.turn = max(d.arrivals.most, 2*n), d.Counters.Waits
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
