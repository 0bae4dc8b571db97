package uring

import (
	"fmt"
	"syscall"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const wakeBytes = 8

// Listen implements aio.Driver.
func (d *Driver) Listen(t aio.Token, fd int, shared bool) error {
	// A non-blocking listener makes the ring answer EAGAIN instead of waiting.
	if err := unix.SetNonblock(fd, false); err != nil {
		return fmt.Errorf("listener %d: %w", fd, err)
	}
	if err := sys.SetAcceptPatience(int32(fd)); err != nil { // of a successor, see there
		return fmt.Errorf("listener %d: %w", fd, err)
	}
	flags := isListener | wantStream
	if shared {
		flags |= isShared
	}
	s, err := d.adopt(t, fd, flags)
	if err != nil {
		return err
	}
	d.settle(t, s)
	return nil
}

// Accept implements aio.Driver.
func (d *Driver) Accept(t aio.Token) { d.Resume(t) }

// Open implements aio.Driver.
func (d *Driver) Open(t aio.Token, fd int) error {
	s, err := d.adopt(t, fd, wantStream)
	if err != nil {
		return err
	}
	d.settle(t, s)
	return nil
}

// Pause implements aio.Driver.
func (d *Driver) Pause(t aio.Token) {
	if s := d.slot(t); s != nil && s.is(wantStream) {
		s.flags &^= wantStream
		d.settle(t, s)
	}
}

// Resume implements aio.Driver.
func (d *Driver) Resume(t aio.Token) {
	if s := d.slot(t); s != nil && !s.is(wantStream) && !s.is(ended) {
		s.flags |= wantStream
		d.settle(t, s)
	}
}

// settle queues what the slot wants and does not have: its stream, the end of
// its stream, a wait for room, its cancellation. If the ring takes nothing it is
// called again before the next wait.
func (d *Driver) settle(t aio.Token, s *slot) {
	if !d.trySettle(t, s) {
		d.unsettled = append(d.unsettled, t)
	}
}

func (d *Driver) trySettle(t aio.Token, s *slot) bool {
	switch {
	case s.is(closing):
		if s.ops == 0 {
			d.finishClose(t, s)
			return true
		}
		return d.cancelAll(t, s)
	case d.stopping:
		return true
	case s.is(blockedSocket) && !s.is(polling) && !d.armPoll(t, s):
		return false
	case s.is(wantStream) && !s.is(streaming|starved):
		return d.armStream(t, s)
	case s.is(streaming) && !s.is(cancelling) && (s.is(stale) || !s.is(wantStream)):
		return d.cancelStream(t, s)
	}
	return true
}

// settleAll retries what the ring did not take.
func (d *Driver) settleAll() {
	if len(d.unsettled) == 0 {
		return
	}
	again := d.unsettled
	d.unsettled = nil
	for _, t := range again {
		if i := int(t.Slot()); d.slots[i].gen == t.Gen() && d.slots[i].is(isOpen) {
			d.settle(t, &d.slots[i])
		}
	}
	if d.unsettled == nil {
		d.unsettled = again[:0]
	}
}

func (d *Driver) armStream(t aio.Token, s *slot) bool {
	if !s.is(isListener) {
		return d.armReceive(t, s, recvMultishot)
	}
	e := d.prepare(opAccept.of(t), iouring.IORING_OP_ACCEPT, s.fd, 0, 0, 0)
	if e == nil {
		return false
	}
	// The kernel wakes the first of those that wait at a socket. A multishot accept
	// stays the first for ever, and its loop would get all connections. A single one
	// leaves the queue when it is woken, and comes back as the last.
	if !s.is(isShared) {
		e.SetIoprio(acceptMultishot)
	}
	e.SetOpFlags(unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC)
	s.flags |= streaming
	s.ops++
	return true
}

func (d *Driver) armPoll(t aio.Token, s *slot) bool {
	e := d.prepare(opPoll.of(t), iouring.IORING_OP_POLL_ADD, s.fd, 0, 0, 0)
	if e == nil {
		return false
	}
	e.SetOpFlags(unix.POLLOUT) // poll32_events; errors and hang-ups are implied
	s.flags |= polling
	s.ops++
	return true
}

// cancelStream queues the end of the accept or receive.
func (d *Driver) cancelStream(t aio.Token, s *slot) bool {
	stream := opRecv
	if s.is(isListener) {
		stream = opAccept
	}
	return d.cancel(stream, t, s, cancelling)
}

// cancelAll queues the end of everything that names the slot's descriptor.
func (d *Driver) cancelAll(t aio.Token, s *slot) bool {
	ok := true
	if s.is(streaming) && !s.is(cancelling) {
		ok = d.cancelStream(t, s)
	}
	if s.is(polling) && !s.is(pollCancelling) {
		ok = d.cancel(opPoll, t, s, pollCancelling) && ok
	}
	return ok
}

// cancel queues the end of one operation, which is found by its user data: a
// cancellation by descriptor would look at every operation of the ring.
func (d *Driver) cancel(target op, t aio.Token, s *slot, f slotFlags) bool {
	if d.prepare(opCancel.of(0), iouring.IORING_OP_ASYNC_CANCEL, -1, uint64(target.of(t)), 0, 0) == nil {
		return false
	}
	s.flags |= f
	return true
}

func (d *Driver) armWake() bool {
	return d.prepare(opWake.of(0), iouring.IORING_OP_READ, d.wakeFD,
		uint64(uintptr(unsafe.Pointer(&d.wakeBuf[0]))), wakeBytes, 0) != nil
}

// accepted handles a completion of a listener's stream.
func (d *Driver) accepted(t aio.Token, s *slot, res int32, ev *aio.Event) bool {
	if s.is(closing) && res < 0 {
		return false
	}
	if d.stopping && res >= 0 {
		unix.Close(int(res))
		return false
	}
	switch e := errnoOf(res); {
	case e == 0:
		*ev = aio.Event{Token: t, Op: aio.Accepted, FD: res, More: true}
		d.settle(t, s)
		return true
	case e == syscall.ECANCELED, e == syscall.ECONNABORTED, aio.Classify(e) == aio.Retry:
		d.settle(t, s)
		return false
	default:
		d.stats.CountError(e)
		s.flags &^= wantStream
		*ev = aio.Event{Token: t, Op: aio.Accepted, Err: e, FD: -1}
		return true
	}
}
