package driver

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// Waker is an eventfd by which other goroutines end the wait of a driver. The zero
// value is closed: it wakes nobody.
type Waker struct {
	FD int32

	due  atomic.Bool // a wake-up is on its way; spares the system call
	mu   sync.Mutex
	open bool // under mu: guards the descriptor against its end
}

// Open makes the eventfd. flags are those of eventfd(2).
func (w *Waker) Open(flags int) error {
	fd, err := unix.Eventfd(0, flags|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	w.FD, w.open = int32(fd), true
	return nil
}

// Wake makes the eventfd readable. Any goroutine may call it at any time; after
// Close it does nothing.
func (w *Waker) Wake() {
	// Swap, not Load: it orders what the caller has published before the driver's
	// own Swap in Seen, even when no system call is made.
	if w.due.Swap(true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		sys.EventfdSignal(w.FD)
	}
}

// Seen is called by the driver when it has read the eventfd, which must come first:
// a Wake in between makes no signal, and the wait ends anyway. The other way round
// its signal would be read while the next Wake still waits for that.
func (w *Waker) Seen() { w.due.Swap(false) }

// Close closes the eventfd.
func (w *Waker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		sys.Close(w.FD)
		w.open = false
	}
}
