package aio

import "syscall"

// Class says what to do about an error of a socket or file operation. Both
// drivers and the engine share this one table.
type Class uint8

const (
	// Retry: nothing is wrong, do it again now.
	Retry Class = iota
	// Wait: do it again when the socket, the file or a resource is ready.
	Wait
	// Unsupported: this kernel, file system or sandbox does not offer it;
	// take the next way and count the step down.
	Unsupported
	// Fatal: the peer is gone, the file is broken, or the fault is ours.
	Fatal
	NumClass
)

func (c Class) String() string { return nameOf(c, classNames) }

var classNames = []string{Retry: "retry", Wait: "wait", Unsupported: "unsupported", Fatal: "fatal"}

// Classify maps an errno to its class.
func Classify(e syscall.Errno) Class {
	switch e {
	case syscall.EINTR:
		return Retry
	case syscall.EAGAIN, // socket buffer full, page not resident
		syscall.ENOBUFS, // no memory for a packet, or no receive buffer left
		syscall.ENOMEM,  // the kernel is short of memory
		syscall.EMFILE,  // descriptors of the process
		syscall.ENFILE,  // descriptors of the system
		syscall.EBUSY:   // completion queue overflowed
		return Wait
	case syscall.ENOSYS, // no such system call, or filtered
		syscall.EOPNOTSUPP, // no such flag or operation here
		syscall.EINVAL,     // sendfile or splice from a file that cannot
		syscall.EPERM,      // filtered by seccomp or io_uring_disabled
		syscall.EXDEV,
		syscall.ESPIPE:
		return Unsupported
	}
	return Fatal
}

// ToldOnce reports whether an error is one that breaks a connection and that
// the kernel reports once, to whichever call comes first: a receive after it
// finds what looks like an orderly end.
func ToldOnce(e syscall.Errno) bool {
	switch e {
	case syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH:
		return true
	}
	return false
}
