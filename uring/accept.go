package uring

import (
	"syscall"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// Listen implements aio.Driver.
func (d *Driver) Listen(t aio.Token, fd int, shared bool) error {
	// A non-blocking listener makes the ring answer EAGAIN instead of waiting.
	if err := driver.PrepareListener(fd, true); err != nil {
		return err
	}
	kind := isListener
	if shared {
		kind |= isShared
	}
	return d.start(t, fd, kind)
}

// Accept implements aio.Driver.
func (d *Driver) Accept(t aio.Token) { d.Resume(t) }

// armAccept queues the accept operation. The kernel wakes the first of those that
// wait at a socket. A multishot accept stays the first for ever, and its loop would
// get all connections. A single one leaves the queue when it is woken, and comes
// back as the last.
func (d *Driver) armAccept(t aio.Token, s *slot) bool {
	e := d.ring.prepare(opAccept.of(t), iouring.IORING_OP_ACCEPT, s.FD, 0, 0, 0)
	if e == nil {
		return false
	}
	if !s.Own.is(isShared) {
		e.SetIoprio(acceptMultishot)
	}
	e.SetOpFlags(unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC)
	s.Own.stream = armed
	return true
}

// accepted handles a completion of a listener's stream.
func (d *Driver) accepted(t aio.Token, s *slot, c completion, ev *aio.Event) bool {
	if s.IsClosing() && c.res < 0 {
		return false
	}
	if d.stopping && c.res >= 0 {
		sys.Close(c.res)
		return false
	}
	switch e := c.errno(); {
	case e == 0:
		*ev = aio.Event{Token: t, Op: aio.Accepted, FD: c.res, More: true}
		d.arm(t, s)
		return true
	case e == syscall.ECANCELED, e == syscall.ECONNABORTED, aio.Classify(e) == aio.Retry:
		d.arm(t, s)
		return false
	default:
		d.Counters.CountError(e)
		s.Own.flags |= paused
		*ev = aio.Event{Token: t, Op: aio.Accepted, Err: e, FD: -1}
		return true
	}
}
