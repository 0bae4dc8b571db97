package uring

import (
	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
)

// armPoll queues the wait for room in a socket.
func (d *Driver) armPoll(t aio.Token, s *slot) bool {
	e := d.ring.prepare(opPoll.of(t), iouring.IORING_OP_POLL_ADD, s.FD, 0, 0, 0)
	if e == nil {
		return false
	}
	e.SetOpFlags(unix.POLLOUT) // poll32_events; errors and hang-ups are implied
	s.Own.poll = armed
	return true
}

// polled handles the completion of a wait for room. An error of the socket shows in
// the attempt that follows.
func (d *Driver) polled(t aio.Token, s *slot, ev *aio.Event) bool {
	if s.Wait != driver.ForRoom {
		return false
	}
	s.Wait = driver.ForNothing
	*ev = aio.Event{Token: t, Op: aio.Ready}
	return true
}
