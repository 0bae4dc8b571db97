package uring

import "github.com/fserve/fserve/internal/driver"

// slot is one connection or listener.
type slot = driver.Slot[state]

// state is what this driver keeps for a slot.
type state struct {
	stream phase // of the accept or receive operation
	poll   phase // of the wait for room in the socket
	flags
}

// phase is how far an operation of a slot is.
//
//	idle --> armed --> idle
//	           |        ^
//	           v        |
//	        cancelled --+
type phase uint8

const (
	idle      phase = iota
	armed           // under way
	cancelled       // under way, and so is its cancellation
)

type flags uint8

const (
	isListener flags = 1 << iota
	isShared         // a listener at which other loops wait too
	paused           // the stream is not wanted
	ended            // the stream is over: the peer has finished or is gone
	starved          // in starving: wants to receive when there are buffers
	unverified       // the receive operation has not been verified: see verify
	stale            // the stream is to be armed anew, it may have lost its end
	reset            // close with RST
)

// is reports whether one of the flags is set.
func (f flags) is(any flags) bool { return f&any != 0 }

// isQuiet reports whether no operation names the slot's descriptor.
func (s *state) isQuiet() bool { return s.stream == idle && s.poll == idle }

// streams returns the operation that is the slot's stream.
func (s *state) streams() op {
	if s.is(isListener) {
		return opAccept
	}
	return opRecv
}
