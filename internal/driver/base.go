// Package driver is what the drivers uring and fallback have in common: the table
// of slots, the attempts that are made on them, and being woken by other
// goroutines. A driver adds how it waits: for connections, for bytes, for room in a
// socket and for the disk.
package driver

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// Base is embedded by a driver and implements the methods of aio.Driver that do
// not wait; see there for their contracts. S is what the driver keeps for each
// slot. Like the driver it belongs to one goroutine.
type Base[S any] struct {
	Mover    *mover.Mover
	Counters aio.Stats

	slots []Slot[S]
	waits Waits[S]
	short Queue[pause] // slots for which the kernel had no memory, in their order
}

// Waits are the two ways of a driver to wait for what blocks an attempt.
type Waits[S any] struct {
	// Room is called when an attempt has found the socket full and the slot waits
	// ForRoom. It may be nil.
	Room func(t aio.Token, s *Slot[S])

	// Fetch has a range of f brought into memory: it calls BeginFetch, and
	// EndFetch when that has ended. False: it cannot now, and has done nothing.
	Fetch func(t aio.Token, s *Slot[S], f *aio.File, r mover.Range) bool
}

// Init prepares a Base, which must not be copied from then on.
func (b *Base[S]) Init(cfg aio.Config, w Waits[S]) {
	b.Mover = mover.New(cfg, &b.Counters)
	b.waits = w
}

// Now implements aio.Driver.
func (b *Base[S]) Now() int64 {
	b.Mover.Now = sys.Nanotime()
	return b.Mover.Now
}

// Stats implements aio.Driver.
func (b *Base[S]) Stats() *aio.Stats { return &b.Counters }

// Stat implements aio.Driver.
func (b *Base[S]) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	size, mtime, ctime, e := sys.Fstat(f.FD)
	return aio.FileStat{Size: size, MtimeNs: mtime, CtimeNs: ctime}, e
}

// ReadAt implements aio.Driver.
func (b *Base[S]) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	return b.Mover.ReadAt(f, p, off)
}

// Cork implements aio.Driver.
func (b *Base[S]) Cork(t aio.Token, on bool) {
	if s := b.Get(t); s != nil {
		sys.SetCork(s.FD, on)
	}
}

// Push implements aio.Driver.
func (b *Base[S]) Push(t aio.Token) {
	if s := b.Get(t); s != nil {
		sys.Push(s.FD)
	}
}

// CloseWrite implements aio.Driver. If it fails the peer has reset the connection,
// which the stream of Received events tells.
func (b *Base[S]) CloseWrite(t aio.Token) {
	if s := b.Get(t); s != nil {
		sys.ShutdownWrite(s.FD)
	}
}

// PrepareListener makes a listening socket as a driver needs it: blocking or not,
// whatever it was before, and never waiting in accept for long, since a successor
// that shares it may change that.
func PrepareListener(fd int, blocking bool) error {
	err := unix.SetNonblock(fd, !blocking)
	if err == nil {
		err = sys.SetAcceptPatience(int32(fd))
	}
	if err != nil {
		return fmt.Errorf("listener %d: %w", fd, err)
	}
	return nil
}
