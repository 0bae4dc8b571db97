package driver

import (
	"fmt"
	"iter"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

// Slot is what a driver knows about one connection or listener; Own is what only
// this driver has to know.
//
//	free --Adopt--> open --Shut--> closing --Free--> free
//
// The descriptor is the slot's from Adopt to Free. A pointer to a Slot is valid
// until the next Adopt.
type Slot[S any] struct {
	FD   int32
	gen  uint32
	use  use
	Wait Wait
	err  uint16 // of an attempt, see PopErr
	Own  S
	Move mover.State
}

type use uint8

const (
	free use = iota
	open
	closing
)

// Wait says what the attempt of a slot waits for. While it is not ForNothing
// another attempt fails with EALREADY.
type Wait uint8

const (
	ForNothing  Wait = iota
	ForRoom          // in the socket
	ForDisk          // for the range that is being fetched
	ForMemory        // of the kernel: for a pause, see Base.Due
	ForDelivery      // of its Ready event: the obstacle is gone
)

// IsClosing reports whether the slot was Shut and is not free yet.
func (s *Slot[S]) IsClosing() bool { return s.use == closing }

// PopErr returns the error that an attempt has met and that the socket will not
// tell again, and forgets it. A stream of Received events ends with it: it would
// read like an orderly end.
func (s *Slot[S]) PopErr() syscall.Errno {
	e := syscall.Errno(s.err)
	s.err = 0
	return e
}

// firstSlots is how many slots a table has at first.
const firstSlots = 64

// Adopt makes t's slot own fd. On error the caller still owns it: EINVAL says that
// the slot's number is too large, EBUSY that the slot is not free.
func (b *Base[S]) Adopt(t aio.Token, fd int) (*Slot[S], error) {
	i := int(t.Slot())
	if i >= aio.MaxSlots {
		return nil, fmt.Errorf("slot %d: limit is %d: %w", i, aio.MaxSlots, syscall.EINVAL)
	}
	if n := i + 1 - len(b.slots); n > 0 {
		b.slots = append(b.slots, make([]Slot[S], max(n, len(b.slots), firstSlots))...)
	}
	s := &b.slots[i]
	if s.use != free {
		return nil, fmt.Errorf("slot %d: in use: %w", i, syscall.EBUSY)
	}
	*s = Slot[S]{FD: int32(fd), gen: t.Gen(), use: open, Move: s.Move}
	return s, nil
}

// At returns the slot that a token names. Nothing is checked: the token's use of
// the slot must not have ended.
func (b *Base[S]) At(t aio.Token) *Slot[S] { return &b.slots[t.Slot()] }

// Find returns the slot of a token that is open or closing, nil if that use of
// it has ended.
func (b *Base[S]) Find(t aio.Token) *Slot[S] {
	i := int(t.Slot())
	if i >= len(b.slots) {
		return nil
	}
	s := &b.slots[i]
	if s.gen != t.Gen() || s.use == free {
		return nil
	}
	return s
}

// Get returns the slot of a token if it is open, else nil.
func (b *Base[S]) Get(t aio.Token) *Slot[S] {
	if s := b.Find(t); s != nil && s.use == open {
		return s
	}
	return nil
}

// All returns the slots that are open. Shut and Free may be called meanwhile,
// Adopt may not.
func (b *Base[S]) All() iter.Seq2[aio.Token, *Slot[S]] {
	return func(yield func(aio.Token, *Slot[S]) bool) {
		for i := range b.slots {
			s := &b.slots[i]
			if s.use == open && !yield(aio.MakeToken(uint32(i), s.gen), s) {
				return
			}
		}
	}
}

// Shut ends the use of an open slot for the engine: no attempt is made on it any
// more, and what it was sending is forgotten. It returns nil if the slot is not
// open. The driver closes the descriptor and calls Free.
func (b *Base[S]) Shut(t aio.Token) *Slot[S] {
	s := b.Get(t)
	if s == nil {
		return nil
	}
	s.use, s.Wait = closing, ForNothing
	b.Mover.Reset(&s.Move)
	return s
}

// Free makes a slot free that is closing or whose driver could not take it. The
// epoch of its State goes on, so that a fetch of this use is not taken for one of
// the next.
func (b *Base[S]) Free(s *Slot[S]) { *s = Slot[S]{FD: -1, Move: s.Move} }
