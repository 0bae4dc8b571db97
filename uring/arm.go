package uring

import (
	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
)

// arm queues what a slot wants and does not have: its stream, the end of its
// stream, a wait for room, the end of everything. If the ring takes nothing it is
// tried again before the next wait.
func (d *Driver) arm(t aio.Token, s *slot) {
	if !d.tryArm(t, s) {
		d.unarmed.Push(t)
	}
}

// armAll tries again what the ring did not take.
func (d *Driver) armAll() {
	for n := d.unarmed.Len(); n > 0; n-- {
		t := d.unarmed.Pop()
		if s := d.Find(t); s != nil {
			d.arm(t, s)
		}
	}
}

func (d *Driver) tryArm(t aio.Token, s *slot) bool {
	if s.IsClosing() {
		return d.endAll(t, s)
	}
	if d.stopping {
		return true
	}
	if s.Wait == driver.ForRoom && s.Own.poll == idle && !d.armPoll(t, s) {
		return false
	}
	unwanted := s.Own.is(paused | ended)
	switch {
	case s.Own.stream == idle && !unwanted && !s.Own.is(starved):
		return d.armStream(t, s)
	case s.Own.stream == armed && (unwanted || s.Own.is(stale)):
		return d.cancel(s.Own.streams(), t, &s.Own.stream)
	}
	return true
}

func (d *Driver) armStream(t aio.Token, s *slot) bool {
	if s.Own.is(isListener) {
		return d.armAccept(t, s)
	}
	return d.armReceive(t, s, recvMultishot)
}

// endAll queues the end of everything that names the descriptor of a closing slot,
// and closes it if there is nothing.
func (d *Driver) endAll(t aio.Token, s *slot) bool {
	if s.Own.isQuiet() {
		d.closeFD(t, s)
		return true
	}
	ok := s.Own.stream != armed || d.cancel(s.Own.streams(), t, &s.Own.stream)
	return (s.Own.poll != armed || d.cancel(opPoll, t, &s.Own.poll)) && ok
}

// cancel queues the end of one operation, which is found by its user data: a
// cancellation by descriptor would look at every operation of the ring.
func (d *Driver) cancel(o op, t aio.Token, p *phase) bool {
	if d.ring.prepare(opCancel.of(0), iouring.IORING_OP_ASYNC_CANCEL, -1, uint64(o.of(t)), 0, 0) == nil {
		return false
	}
	*p = cancelled
	return true
}
