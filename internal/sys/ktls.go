package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TLS in the kernel, of what is sent: Documentation/networking/tls.rst, Linux 4.13, and 5.1 for
// TLS 1.3.
const (
	tlsSend       = 1 // TLS_TX
	tlsRecordType = 1 // TLS_SET_RECORD_TYPE
)

// SealByKernel has the kernel seal what is sent on a TCP socket from now on, with the keys of
// info (struct tls12_crypto_info_...). On error the socket is as it was, but that it may not be
// given another protocol.
func SealByKernel(fd int32, info []byte) error {
	if err := unix.SetsockoptString(int(fd), unix.SOL_TCP, unix.TCP_ULP, "tls"); err != nil {
		return err
	}
	return unix.SetsockoptString(int(fd), unix.SOL_TLS, tlsSend, string(info))
}

// controlled is the control message of SendRecord, as cmsg(3) lays it out.
type controlled struct {
	unix.Cmsghdr
	kind byte
	_    [7]byte
}

// SendRecord sends a record of a type of its own on a socket of SealByKernel, all or nothing.
func SendRecord(fd int32, kind byte, p []byte) syscall.Errno {
	c := controlled{kind: kind}
	c.Level, c.Type = unix.SOL_TLS, tlsRecordType
	c.SetLen(unix.CmsgLen(1))
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	msg := unix.Msghdr{Iov: &iov, Iovlen: 1, Control: (*byte)(unsafe.Pointer(&c))}
	msg.SetControllen(unix.CmsgSpace(1))
	for {
		_, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if e != syscall.EINTR {
			return e
		}
	}
}
