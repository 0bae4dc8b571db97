package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Unsent returns how many bytes a socket took that its peer has not acknowledged
// (SIOCOUTQ, tcp(7)), or more: a Unix socket counts the memory that they take.
func Unsent(fd int32) int64 {
	var n int32
	_, _, _ = syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int64(n)
}

// NotSent returns how many bytes a TCP socket took and has not sent yet (SIOCOUTQNSD).
func NotSent(fd int32) int64 {
	var n int32
	_, _, _ = syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQNSD, uintptr(unsafe.Pointer(&n)))
	return int64(n)
}

// Disconnect ends a TCP connection at once, whoever else uses the socket: its peer gets
// RST, and what lies in the socket is dropped (connect(2) to AF_UNSPEC).
func Disconnect(fd int32) {
	to := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, _ = syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
}

// InFlight reports whether queues and devices of the network hold packets of a socket
// (SO_MEMINFO, Linux 4.12), which are as it has sent them or refer to what it was given.
func InFlight(fd int32) bool {
	const wmemAlloc, vars = 2, 9 // SK_MEMINFO_WMEM_ALLOC, SK_MEMINFO_VARS
	var info [vars]uint32
	n := uint32(unsafe.Sizeof(info))
	_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&n)), 0)
	return e == 0 && info[wmemAlloc] > 0
}
