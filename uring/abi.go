package uring

import (
	"syscall"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
)

// What the kernel's ABI has gained since iouring-go's syscall package was
// written (include/uapi/linux/io_uring.h). The kernel that brought each is named.
const (
	setupSubmitAll    = iouring.IORING_SETUP_SUBMIT_ALL // 5.18
	setupSingleIssuer = 1 << 12                         // 6.0
	setupDeferTaskrun = 1 << 13                         // 6.1

	featNoDrop = iouring.IORING_FEAT_NODROP
	featExtArg = 1 << 8 // 5.11

	enterGetEvents = uintptr(1 << 0)
	enterExtArg    = uintptr(1 << 3) // 5.11

	registerRestrictions = iouring.IORING_REGISTER_RESTRICTIONS // 5.10
	registerEnable       = iouring.IORING_REGISTER_ENABLE_RINGS
	registerIOWQWorkers  = 19 // 5.15
	registerPbufRing     = 22 // 5.19

	sqeHardlink     = iouring.IOSQE_FLAGS_IO_HARDLINK
	sqeSkipSuccess  = uint8(1 << 6) // 5.17
	sqeAsync        = iouring.IOSQE_FLAGS_ASYNC
	sqeBufferSelect = iouring.IOSQE_FLAGS_BUFFER_SELECT

	acceptMultishot = uint16(1 << 0) // 5.19, in ioprio
	recvMultishot   = uint16(1 << 1) // 6.0, in ioprio

	cqeBuffer      = uint32(1 << 0)
	cqeMore        = uint32(1 << 1)
	cqeBufferShift = 16

	restrictSQEOp    = 1
	restrictSQEFlags = 2
)

type (
	sqe = iouring.SubmissionQueueEntry64
	cqe = iouring.CompletionQueueEvent16
)

// restriction is struct io_uring_restriction.
type restriction struct {
	opcode uint16
	arg    uint8
	_      uint8
	_      [3]uint32
}

// bufReg is struct io_uring_buf_reg.
type bufReg struct {
	ringAddr    uint64
	ringEntries uint32
	bgid        uint16
	flags       uint16
	_           [3]uint64
}

// bufEntry is struct io_uring_buf.
type bufEntry struct {
	addr uint64
	len  uint32
	bid  uint16
	_    uint16 // of entry 0: the ring's tail
}

// bufTailWord is where the word starts that ends with the ring's tail.
const bufTailWord = unsafe.Offsetof(bufEntry{}.bid)

// getEventsArg is struct io_uring_getevents_arg.
type getEventsArg struct {
	sigmask   uint64
	sigmaskSz uint32
	minWait   uint32
	ts        uint64
}

type timespec struct{ sec, nsec int64 }

// enter submits and waits. The package's own wrapper lacks EXT_ARG and makes an
// error value of every EINTR and ETIME. An enter that may block for long goes through
// Syscall6, so that the runtime can use the processor meanwhile.
func enter(fd int32, submit, wait uint32, flags uintptr, arg *getEventsArg, block bool) (int, syscall.Errno) {
	var size uintptr
	if arg != nil {
		flags |= enterExtArg
		size = unsafe.Sizeof(*arg)
	}
	if block {
		n, _, e := syscall.Syscall6(iouring.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit),
			uintptr(wait), flags, uintptr(unsafe.Pointer(arg)), size)
		return int(n), e
	}
	n, _, e := syscall.RawSyscall6(iouring.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit),
		uintptr(wait), flags, uintptr(unsafe.Pointer(arg)), size)
	return int(n), e
}
