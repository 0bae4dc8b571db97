package uring

import (
	"syscall"

	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/aio"
)

// armReceive queues the receive operation: recvMultishot, or 0 for a single one.
func (d *Driver) armReceive(t aio.Token, s *slot, kind uint16) bool {
	e := d.prepare(opRecv.of(t), iouring.IORING_OP_RECV, s.fd, 0, 0, 0)
	if e == nil {
		return false
	}
	e.SetIoprio(kind)
	e.SetFlags(sqeBufferSelect)
	e.SetBufGroup(bufferGroup)
	s.flags = s.flags&^stale | streaming | unverified
	s.ops++
	return true
}

// received handles a completion of a connection's stream. The operation is
// still armed if cqeMore is set.
func (d *Driver) received(t aio.Token, s *slot, res int32, flags uint32, ev *aio.Event) bool {
	var data []byte
	if flags&cqeBuffer != 0 {
		data = d.buffers.lend(uint16(flags>>cqeBufferShift), int(max(res, 0)))
	}
	if s.is(closing) {
		return false
	}
	e := errnoOf(res)
	switch {
	case res > 0:
		d.goOn(t, s, flags&cqeMore != 0)
		*ev = aio.Event{Token: t, Op: aio.Received, Data: data, More: true}
		return true
	case e == syscall.ENOBUFS:
		d.stats.NoBuffers++
		d.starve(t, s)
		return false
	case e == syscall.ECANCELED, aio.Classify(e) == aio.Retry && e != 0:
		d.settle(t, s)
		return false
	case e != 0:
		d.stats.CountError(e)
	default:
		// A send that failed has taken the error from the socket, which then
		// reads like an orderly end; it was none.
		e = syscall.Errno(s.err)
	}
	s.flags = s.flags&^wantStream | ended
	*ev = aio.Event{Token: t, Op: aio.Received, Err: e}
	return true
}

// goOn sees to it that a stream that has delivered bytes goes on.
func (d *Driver) goOn(t aio.Token, s *slot, armed bool) {
	switch {
	case !armed && d.starving.n > 0:
		d.starve(t, s)
		return
	case armed && s.is(unverified):
		d.verify(s)
	}
	d.settle(t, s)
}

// starve queues a connection for which there was no buffer, or which has had
// one while others had none.
func (d *Driver) starve(t aio.Token, s *slot) {
	if !s.is(starved) {
		s.flags |= starved
		d.starving.push(t)
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
	for ; room > 0 && d.starving.n > 0; room-- {
		t := d.starving.pop()
		s := d.slot(t)
		if s == nil || !s.is(starved) {
			room++
			continue
		}
		s.flags &^= starved
		if s.is(wantStream) && !s.is(streaming) && !d.armReceive(t, s, 0) {
			d.starve(t, s)
			return
		}
	}
}

// tokens is a queue.
type tokens struct {
	ring []aio.Token // length is a power of two
	head uint32
	n    uint32
}

func (q *tokens) push(t aio.Token) {
	if int(q.n) == len(q.ring) {
		ring := make([]aio.Token, max(64, 2*len(q.ring)))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&uint32(len(q.ring)-1)] = t
	q.n++
}

func (q *tokens) pop() aio.Token {
	t := q.ring[q.head]
	q.head = (q.head + 1) & uint32(len(q.ring)-1)
	q.n--
	return t
}
