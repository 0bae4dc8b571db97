package mover

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

// Null returns /dev/null, which is opened once and kept; -1 if there is none.
var Null = sync.OnceValue(func() int32 {
	fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return int32(fd)
})

// Reader returns the descriptor through which f is fetched: one of its own, so
// that the kernel's read-ahead follows the fetches. It is -1 if /proc is not
// there to open the file by.
func Reader(f *aio.File) int32 {
	if f.Reader == 0 {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.FD), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil || Null() < 0 {
			fd = -1
		}
		f.Reader = int32(fd)
	}
	return f.Reader
}

// drain reads a range of a file into the page cache and drops it, without
// copying (sendfile(2) to /dev/null). It blocks.
func drain(fd int32, r Range) syscall.Errno {
	for off := r.Off; off < r.End; {
		o := off
		n, err := unix.Sendfile(int(Null()), int(fd), &o, int(r.End-off))
		var e syscall.Errno
		switch {
		case errors.As(err, &e) && e == syscall.EINTR:
		case e != 0:
			return e
		case n == 0:
			return 0 // the file was cut meanwhile
		default:
			off += int64(n)
		}
	}
	return 0
}
