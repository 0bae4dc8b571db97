package testenv

import (
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// LimitFDs lowers the limit of descriptors to a little over what is open, until
// the test ends. Call it before starting anything that keeps the limit of its start,
// as a multishot accept of io_uring does.
func LimitFDs(t testing.TB, spare int) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	highest := 0
	for fd := range FDs(t) {
		highest = max(highest, fd)
	}
	if err := setNofile(unix.Rlimit{Cur: uint64(highest + 1 + spare), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := setNofile(old); err != nil {
			t.Errorf("restore limit of descriptors: %v", err)
		}
	})
}

// ExhaustFDs leaves the process without a free descriptor, after LimitFDs, until
// the returned function is called or the test ends. Meanwhile only the code under test
// may need a descriptor.
func ExhaustFDs(t testing.TB) (restore func()) {
	t.Helper()
	fillers := fillFDs()
	restore = sync.OnceFunc(func() {
		for _, fd := range fillers {
			unix.Close(fd)
		}
	})
	t.Cleanup(restore)
	return restore
}

// setNofile sets the limit without telling package syscall, which would
// otherwise restore its own idea of it in child processes.
func setNofile(l unix.Rlimit) error {
	return unix.Prlimit(0, unix.RLIMIT_NOFILE, &l, nil)
}

// fillFDs takes the numbers below the limit that are free.
func fillFDs() []int {
	var fds []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil { // EMFILE: that is the aim
			return fds
		}
		fds = append(fds, fd)
	}
}

// FDRoom returns how many more descriptors the process may open, less a
// reserve for what runs beside a test.
func FDRoom(t testing.TB) int {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	const reserve = 100
	return int(min(l.Cur, 1<<20)) - len(FDs(t)) - reserve
}
