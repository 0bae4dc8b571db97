package sys

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EpollPwait fills ev, which must not be empty, with the events of an epoll
// instance and waits for one for at most ms milliseconds (epoll_pwait(2));
// negative: for ever, 0: not at all. A wait that may be long must have block set,
// so that the runtime can use the processor meanwhile. EINTR is returned.
func EpollPwait(ep int32, ev []unix.EpollEvent, ms int, block bool) (int, syscall.Errno) {
	if block {
		return counted(syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep),
			uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(ms), 0, 0))
	}
	return counted(syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep),
		uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(ms), 0, 0))
}

// EpollPwait2 is EpollPwait with a time-out in nanoseconds (epoll_pwait2(2)).
// ENOSYS: Linux before 5.11. EPERM: a sandbox that does not know the call.
func EpollPwait2(ep int32, ev []unix.EpollEvent, timeout time.Duration, block bool) (int, syscall.Errno) {
	ts := unix.NsecToTimespec(int64(timeout))
	at := &ts
	if timeout < 0 {
		at = nil
	}
	if block {
		return counted(syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep),
			uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(unsafe.Pointer(at)), 0, 0))
	}
	return counted(syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep),
		uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(unsafe.Pointer(at)), 0, 0))
}

// counted returns the result of a call as a count, which is 0 if the call failed.
func counted(n, _ uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
