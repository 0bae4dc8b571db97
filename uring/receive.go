package uring

import (
	"syscall"

	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/aio"
)

// Open implements aio.Driver.
func (d *Driver) Open(t aio.Token, fd int) error { return d.start(t, fd, 0) }

// Pause implements aio.Driver.
func (d *Driver) Pause(t aio.Token) {
	if s := d.Get(t); s != nil && !s.Own.is(paused) {
		s.Own.flags |= paused
		d.arm(t, s)
	}
}

// Resume implements aio.Driver.
func (d *Driver) Resume(t aio.Token) {
	if s := d.Get(t); s != nil && s.Own.is(paused) {
		s.Own.flags &^= paused
		d.arm(t, s)
	}
}

// armReceive queues the receive operation: recvMultishot, or 0 for a single one.
func (d *Driver) armReceive(t aio.Token, s *slot, kind uint16) bool {
	e := d.ring.prepare(opRecv.of(t), iouring.IORING_OP_RECV, s.FD, 0, 0, 0)
	if e == nil {
		return false
	}
	e.SetIoprio(kind)
	e.SetFlags(sqeBufferSelect)
	e.SetBufGroup(bufferGroup)
	s.Own.stream = armed
	s.Own.flags = s.Own.flags&^stale | unverified
	return true
}

// received handles a completion of a connection's stream.
func (d *Driver) received(t aio.Token, s *slot, c completion, ev *aio.Event) bool {
	data := d.buffers.of(c)
	if s.IsClosing() {
		return false
	}
	e := c.errno()
	switch {
	case c.res > 0:
		d.goOn(t, s, c.more())
		*ev = aio.Event{Token: t, Op: aio.Received, Data: data, More: true}
		return true
	case e == syscall.ENOBUFS:
		d.Counters.NoBuffers++
		d.starve(t, s)
		return false
	case aio.Classify(e) == aio.Wait && e != syscall.EAGAIN: // memory is short
		d.Counters.CountError(e)
		d.Postpone(t)
		return false
	case e == syscall.ECANCELED, aio.Classify(e) == aio.Retry && e != 0:
		d.arm(t, s)
		return false
	case e != 0:
		d.Counters.CountError(e)
	default:
		// A send that failed has taken the error from the socket, which then
		// reads like an orderly end; it was none.
		e = s.PopErr()
	}
	s.Own.flags |= ended
	*ev = aio.Event{Token: t, Op: aio.Received, Err: e}
	return true
}

// goOn sees to it that a stream that has delivered bytes goes on.
func (d *Driver) goOn(t aio.Token, s *slot, isArmed bool) {
	switch {
	case !isArmed && d.starving.Len() > 0:
		d.starve(t, s)
		return
	case isArmed && s.Own.is(unverified):
		d.verify(s)
	}
	d.arm(t, s)
}

// starve queues a connection for which there was no buffer, or which has had
// one while others had none.
func (d *Driver) starve(t aio.Token, s *slot) {
	if !s.Own.is(starved) {
		s.Own.flags |= starved
		d.starving.Push(t)
	}
}

// feed lets the connections that wait for a buffer receive once each, in their
// order and no more of them than there are buffers: one that sends faster than
// it is read would take all of them again and again with a multishot receive.
// Buffers have just been given back, and submission comes before the kernel
// runs receives that were armed earlier, so those that wait have precedence.
func (d *Driver) feed() {
	// What is completed and not yet drained may hold a buffer each.
	room := d.buffers.count() - int(d.ring.cq.pending())
	for room > 0 && d.starving.Len() > 0 {
		t := d.starving.Pop()
		s := d.Get(t)
		if s == nil || !s.Own.is(starved) {
			continue
		}
		room--
		s.Own.flags &^= starved
		if s.Own.stream == idle && !s.Own.is(paused|ended) && !d.armReceive(t, s, 0) {
			d.starve(t, s)
			return
		}
	}
}
