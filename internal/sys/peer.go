package sys

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerOf returns the address of the peer of a socket, the zero value if it has none: a Unix
// socket has none. It is known also of a connection that the peer has reset: SO_PEERNAME
// answers as accept(2) does, where getpeername(2) says ENOTCONN.
func PeerOf(fd int32) netip.AddrPort {
	var sa unix.RawSockaddrAny
	n := uint32(unsafe.Sizeof(sa))
	_, _, e := syscall.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)))
	// SO_PEERNAME gives no more than is there: it must be known how much.
	for _, size := range [...]uint32{unix.SizeofSockaddrInet6, unix.SizeofSockaddrInet4} {
		if e != syscall.ENOTCONN && e != syscall.EINVAL {
			break
		}
		n = size
		_, _, e = syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n)), 0)
	}
	if e != 0 {
		return netip.AddrPort{}
	}
	return addrPort(unsafe.Pointer(&sa))
}

// PeerLen is how much AcceptFrom tells of an address, in bytes: all of one of IP.
const PeerLen = unix.SizeofSockaddrInet6

// PeerIn returns the address that AcceptFrom has told, the zero value for one that is not of IP.
func PeerIn(addr []byte) netip.AddrPort {
	return addrPort(unsafe.Pointer((*[PeerLen]byte)(addr)))
}

// addrPort reads a sockaddr, of which there are PeerLen bytes.
func addrPort(sa unsafe.Pointer) netip.AddrPort {
	switch (*unix.RawSockaddr)(sa).Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(sa)
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(sa)
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), networkOrder(in.Port))
	}
	return netip.AddrPort{}
}

// networkOrder returns a port that was read in the order of the machine.
func networkOrder(port uint16) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(p[0])<<8 | uint16(p[1])
}
