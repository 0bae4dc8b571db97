package fallback

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
)

// slot is one connection or listener.
type slot = driver.Slot[state]

// state is what this driver keeps for a slot.
type state struct {
	flags
	fault uint16 // of the disk, or of Accept: delivered with the next event
}

// flags are what epoll has said of a slot, and what it may do.
type flags uint16

const (
	isListener flags = 1 << iota // accepts instead of receiving
	stopped                      // a listener that is not polled until Accept
	queued                       // is in the queue
	readable                     // the kernel may hold bytes, an end or an error
	hungUp                       // the peer will send no more: read on to the end
	paused                       // do not receive
	ended                        // the stream of Received events is over
	unwatched                    // epoll does not know it yet
)

// is reports whether one of the flags is set.
func (f flags) is(any flags) bool { return f&any != 0 }

// receives reports whether there is something to receive, and it may be.
func (f flags) receives() bool { return f&(readable|paused|ended) == readable }

// popFault returns the fault to deliver and forgets it.
func (s *state) popFault() syscall.Errno {
	e := syscall.Errno(s.fault)
	s.fault = 0
	return e
}

// enqueue puts a slot at the end of the queue unless it is there already.
func (d *Driver) enqueue(t aio.Token, s *slot) {
	if !s.Own.is(queued) {
		s.Own.flags |= queued
		d.queue.Push(t)
	}
}
