package fallback

import (
	"fmt"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

// flags are the state of a slot.
type flags uint16

const (
	inUse      flags = 1 << iota // from Open or Listen to the Closed event
	listener                     // accepts instead of receiving
	stopped                      // listener: not polled until Accept
	queued                       // is in the queue
	readable                     // the kernel may hold bytes, an end or an error
	hungUp                       // the peer will send no more: read on to the end
	paused                       // do not receive
	ended                        // the stream of Received events is over
	waitSocket                   // an attempt is blocked on the socket
	waitDisk                     // an attempt is blocked on the disk
	ready                        // a Ready event is due
	closing                      // a Closed event is due
)

// slot is the state of one connection or listener.
type slot struct {
	fd    int32
	gen   uint32
	flags flags
	err   uint16 // of a failed send or of Accept: delivered in place of an end
	fault uint16 // of the disk: delivered with Ready
	move  mover.State
}

// take returns an error to deliver and forgets it.
func take(e *uint16) syscall.Errno {
	err := syscall.Errno(*e)
	*e = 0
	return err
}

// newSlot returns the free slot for a token, growing the table as needed.
func (d *Driver) newSlot(t aio.Token) (*slot, error) {
	i := int(t.Slot())
	if i >= aio.MaxSlots {
		return nil, fmt.Errorf("slot %d: limit is %d: %w", i, aio.MaxSlots, syscall.EINVAL)
	}
	if i >= len(d.slots) {
		size := max(64, len(d.slots))
		for size <= i {
			size *= 2
		}
		d.slots = append(d.slots, make([]slot, size-len(d.slots))...)
		d.queue.grow(size)
	}
	if d.slots[i].flags != 0 {
		return nil, fmt.Errorf("slot %d: in use: %w", i, syscall.EBUSY)
	}
	return &d.slots[i], nil
}

// lookup returns the slot of a token, or nil if that use of it has ended.
func (d *Driver) lookup(t aio.Token) *slot {
	i := t.Slot()
	if i >= uint32(len(d.slots)) {
		return nil
	}
	sl := &d.slots[i]
	if sl.flags&(inUse|closing) != inUse || sl.gen != t.Gen() {
		return nil
	}
	return sl
}

// enqueue puts a slot at the end of the queue unless it is there already.
func (d *Driver) enqueue(i uint32) {
	if sl := &d.slots[i]; sl.flags&queued == 0 {
		sl.flags |= queued
		d.queue.push(i)
	}
}

// queue is a ring of slot numbers. A slot is in it at most once, so that a
// ring as long as the table never overflows.
type queue struct {
	ring []uint32 // length is a power of two
	head uint32
	n    uint32
}

func (q *queue) grow(size int) {
	ring := make([]uint32, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&uint32(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

func (q *queue) push(i uint32) {
	q.ring[(q.head+q.n)&uint32(len(q.ring)-1)] = i
	q.n++
}

func (q *queue) front() uint32 { return q.ring[q.head] }

func (q *queue) pop() {
	q.head = (q.head + 1) & uint32(len(q.ring)-1)
	q.n--
}
