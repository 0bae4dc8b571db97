package testenv

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Deny makes system calls fail with an errno, as older kernels and sandboxes
// do, on the calling goroutine only: it is locked to its thread for the rest of
// its life, and the thread ends with it. Further calls deny further system
// calls. Goroutines started later run on other threads and are not affected.
//
// The test is skipped where seccomp is not to be had.
func Deny(t testing.TB, e syscall.Errno, calls ...uintptr) {
	t.Helper()
	// Never unlocked: Go does not reuse a thread whose goroutine ends locked,
	// nor does it clone new threads from one.
	runtime.LockOSThread()
	filter := denyFilter(e, calls)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, _, e := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
		runtime.KeepAlive(filter)
		if e != 0 {
			err = e
		}
	}
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM):
		t.Skipf("seccomp: %v", err)
	case err != nil:
		t.Fatalf("seccomp: %v", err)
	}
}

// denyFilter is a BPF program over struct seccomp_data, whose first word is the
// number of the call. It does not look at the architecture: a test process
// makes native calls only.
func denyFilter(e syscall.Errno, calls []uintptr) []unix.SockFilter {
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
	for _, nr := range calls {
		prog = append(prog,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(e)})
	}
	return append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}
