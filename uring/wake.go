package uring

import (
	"errors"
	"fmt"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/sys"
)

// wakeBytes is what a read of an eventfd takes.
const wakeBytes = 8

// openWaker makes what Wake needs.
func (d *Driver) openWaker() (err error) {
	if d.wakeBuf, err = sys.MmapAnon(wakeBytes); err != nil {
		return fmt.Errorf("map wake buffer: %w", err)
	}
	// Not EFD_NONBLOCK: the ring would answer EAGAIN instead of waiting.
	if err := d.waker.Open(0); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if !d.armWake() {
		return errors.New("io_uring takes no submissions")
	}
	return nil
}

// Wake implements aio.Driver.
func (d *Driver) Wake() { d.waker.Wake() }

// armWake queues the read of the eventfd, unless it is under way or nobody will be
// woken any more. It reports false if the ring takes nothing: then the driver must
// not wait.
func (d *Driver) armWake() bool {
	if d.wake == idle && !d.stopping {
		if d.ring.prepare(opWake.of(0), iouring.IORING_OP_READ, d.waker.FD,
			uint64(uintptr(unsafe.Pointer(&d.wakeBuf[0]))), wakeBytes, 0) == nil {
			return false
		}
		d.wake = armed
	}
	return true
}

// woken handles the completion of the read. The next Wait arms it again.
func (d *Driver) woken() {
	d.wake = idle
	d.waker.Seen()
}
