// Package sys holds the system calls of the hot path as thin functions: no
// allocation, no error wrapping, EINTR retried, the errno returned as it is.
//
// Calls that cannot block (non-blocking sockets, RWF_NOWAIT) use RawSyscall:
// the scheduler is not told, which saves about 50 ns a call. Calls that may
// block use Syscall, so that the collector can stop the world meanwhile.
package sys

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sysCachestat = 451 // Linux 6.5
	rwfNowait    = 0x8 // RWF_NOWAIT, Linux 4.14

	// sendFlags: never block, never raise SIGPIPE.
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

// call makes a system call that cannot block, and whose second argument is memory, until no
// signal interrupts it.
func call(trap uintptr, fd int32, p unsafe.Pointer, a, b, c, d uintptr) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(trap, uintptr(fd), uintptr(p), a, b, c, d)
		if e == 0 {
			return int(n), 0
		}
		if e != syscall.EINTR {
			return 0, e
		}
	}
}

// Send sends p without blocking (sendto(2)). more sets MSG_MORE.
func Send(fd int32, p []byte, more bool) (int, syscall.Errno) {
	flags := uintptr(sendFlags)
	if more {
		flags |= unix.MSG_MORE
	}
	return call(unix.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)), flags, 0, 0)
}

// Send2 sends head then body in one call without blocking (sendmsg(2)).
func Send2(fd int32, head, body []byte, more bool) (int, syscall.Errno) {
	if len(body) == 0 {
		return Send(fd, head, more)
	}
	if len(head) == 0 {
		return Send(fd, body, more)
	}
	flags := uintptr(sendFlags)
	if more {
		flags |= unix.MSG_MORE
	}
	iov := [2]unix.Iovec{
		{Base: unsafe.SliceData(head), Len: uint64(len(head))},
		{Base: unsafe.SliceData(body), Len: uint64(len(body))},
	}
	msg := unix.Msghdr{Iov: &iov[0], Iovlen: 2}
	return call(unix.SYS_SENDMSG, fd, unsafe.Pointer(&msg), flags, 0, 0, 0)
}

// Recv receives into p without blocking (recvfrom(2)). 0, 0 is the end of the stream.
func Recv(fd int32, p []byte) (int, syscall.Errno) {
	return call(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
}

// Sendfile sends up to n bytes of file from off to a non-blocking socket
// (sendfile(2) with an explicit offset: the file's own offset is not used).
// It blocks on disk if the range is not in the page cache. 0, 0 is the end of
// the file.
func Sendfile(sock, file int32, off int64, n int) (int, syscall.Errno) {
	for {
		o := off
		r, _, e := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(sock), uintptr(file),
			uintptr(unsafe.Pointer(&o)), uintptr(n), 0, 0)
		if e == 0 {
			return int(r), 0
		}
		if e != syscall.EINTR {
			return 0, e
		}
	}
}

// SpliceFromFile moves up to n bytes of file from off into a pipe. It blocks
// on disk as Sendfile does, but not on the pipe. 0, 0 is the end of the file.
func SpliceFromFile(pipe, file int32, off int64, n int) (int, syscall.Errno) {
	return call(unix.SYS_SPLICE, file, unsafe.Pointer(&off), uintptr(pipe), 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
}

// SpliceToSocket moves up to n bytes from a pipe to a socket without blocking.
func SpliceToSocket(sock, pipe int32, n int, more bool) (int, syscall.Errno) {
	flags := uintptr(unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MOVE)
	if more {
		flags |= unix.SPLICE_F_MORE
	}
	return call(unix.SYS_SPLICE, pipe, nil, uintptr(sock), 0, uintptr(n), flags)
}

// PreadNowait reads what the page cache holds (preadv2(2) with RWF_NOWAIT).
// EAGAIN: the first page is not there. A short count may mean that a later
// page is not there, or the end of the file.
func PreadNowait(fd int32, p []byte, off int64) (int, syscall.Errno) {
	iov := unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	return call(unix.SYS_PREADV2, fd, unsafe.Pointer(&iov), 1, uintptr(off), 0, rwfNowait)
}

// Pread reads from off and may block on disk.
func Pread(fd int32, p []byte, off int64) (int, syscall.Errno) {
	for {
		n, _, e := syscall.Syscall6(unix.SYS_PREAD64, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(off), 0, 0)
		if e == 0 {
			return int(n), 0
		}
		if e != syscall.EINTR {
			return 0, e
		}
	}
}

type cachestatRange struct{ off, len uint64 }

// Cachestat counts the pages of a range, as cachestat(2) reports them.
type Cachestat struct {
	Cached, Dirty, Writeback, Evicted, RecentlyEvicted uint64
}

// CachestatRange reports how much of a range is in the page cache, in pages
// of the system's size. EPERM: the process neither owns the file nor may write it.
// ENOSYS: Linux before 6.5.
func CachestatRange(fd int32, off, n int64, st *Cachestat) syscall.Errno {
	r := cachestatRange{uint64(off), uint64(n)}
	_, _, e := syscall.RawSyscall6(sysCachestat, uintptr(fd), uintptr(unsafe.Pointer(&r)),
		uintptr(unsafe.Pointer(st)), 0, 0, 0)
	return e
}

// Fadvise gives advice about a whole file (posix_fadvise(2)).
func Fadvise(fd int32, advice int) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_FADVISE64, uintptr(fd), 0, 0, uintptr(advice), 0, 0)
	return e
}

// Fstat returns size and modification time of an open file.
func Fstat(fd int32) (size, mtimeNs, ctimeNs int64, e syscall.Errno) {
	var st unix.Stat_t
	_, _, e = syscall.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&st)), 0)
	return st.Size, st.Mtim.Nano(), st.Ctim.Nano(), e
}

// Accept4 takes one connection, non-blocking and close-on-exec.
func Accept4(fd int32) (int32, syscall.Errno) { return AcceptFrom(fd, nil) }

// AcceptFrom is Accept4 which puts the address of the peer into addr, for PeerIn.
func AcceptFrom(fd int32, addr *[PeerLen]byte) (int32, syscall.Errno) {
	for {
		size := uint32(PeerLen)
		n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(addr)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch e {
		case 0:
			return int32(n), 0
		case syscall.EINTR:
		default:
			return -1, e
		}
	}
}

// SetAcceptPatience makes accept(2) on a listening socket wait for at most a
// tick, even where it is blocking (SO_RCVTIMEO). Whether it blocks is a property
// of the description, which processes that share the socket share too: a
// successor may change it at any time, and so must not make an event loop wait.
// Accepted TCP sockets inherit it; it has no effect on non-blocking ones. MPTCP
// listeners take it and do not heed it (Linux 6.18).
func SetAcceptPatience(fd int32) error {
	return unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 1})
}

// Dup duplicates the descriptor of a socket of package net, which keeps its own.
// Its File method is not used: asking an os.File for its descriptor makes the
// socket blocking, for everybody who shares it.
func Dup(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(f uintptr) { fd, dup = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = dup
	}
	if err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	return fd, nil
}

// Close closes a descriptor. It is never retried: Linux releases the
// descriptor even when close(2) is interrupted.
func Close(fd int32) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return e
}

// ShutdownWrite sends FIN after what was sent.
func ShutdownWrite(fd int32) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return e
}

// HungUp reports whether the end of a socket's input, or an error, has arrived,
// read or not (ppoll(2)). It takes neither from the socket.
func HungUp(fd int32) bool {
	const end = unix.POLLRDHUP | unix.POLLHUP | unix.POLLERR
	return poll(fd, unix.POLLRDHUP)&end != 0
}

// Readable reports whether a socket has something to receive or to accept, or an
// error (ppoll(2)).
func Readable(fd int32) bool { return poll(fd, unix.POLLIN) != 0 }

// poll returns which of the events, and of errors and hang-ups, a socket has now.
func poll(fd int32, events int16) int16 {
	p := unix.PollFd{Fd: fd, Events: events}
	var now unix.Timespec
	_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return p.Revents // none after an error
}

// SetReset makes the coming close of a socket send RST (SO_LINGER with 0 s).
func SetReset(fd int32) syscall.Errno {
	return setsockopt(fd, unix.SOL_SOCKET, unix.SO_LINGER, unix.Linger{Onoff: 1})
}

// SetNotsentLowat sets TCP_NOTSENT_LOWAT (Linux 3.12): a socket with so many
// bytes that are not sent yet takes no more.
func SetNotsentLowat(fd, n int32) syscall.Errno {
	return setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
}

// SetMaxPacingRate sets SO_MAX_PACING_RATE, bytes per second (Linux 3.13; by TCP
// itself, without the fq queue, since 4.20); ^0 for none. Kernels before 5.0 read
// 32 bits, which are given in full if the rate is more.
func SetMaxPacingRate(fd int32, rate uint64) syscall.Errno {
	return setsockopt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate)
}

// SetQuickAck acknowledges at once what was received (TCP_QUICKACK).
func SetQuickAck(fd int32) syscall.Errno {
	return setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}

// SetCork sets or clears TCP_CORK.
func SetCork(fd int32, on bool) syscall.Errno {
	v := int32(0)
	if on {
		v = 1
	}
	return setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_CORK, v)
}

// Push sends what a corked socket holds back. Setting TCP_NODELAY does so even
// under TCP_CORK (tcp(7)), for what is queued now.
func Push(fd int32) syscall.Errno {
	return setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, int32(1))
}

func setsockopt[T any](fd int32, level, option uintptr, v T) syscall.Errno {
	_, _, e := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), level, option,
		uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return e
}

// Pipe makes a pipe with non-blocking ends. size > 0 asks for a capacity in
// bytes (F_SETPIPE_SZ); a refusal leaves the default, 64 KiB. The capacity that
// the pipe has is returned.
func Pipe(size int) (r, w int32, capacity int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return -1, -1, 0, err
	}
	if size > 0 {
		_, _ = unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, size)
	}
	capacity, err = unix.FcntlInt(uintptr(p[0]), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return -1, -1, 0, err
	}
	return int32(p[0]), int32(p[1]), capacity, nil
}

// EventfdSignal adds one to an eventfd. It may be called from any goroutine.
func EventfdSignal(fd int32) {
	one := uint64(1)
	_, _ = call(unix.SYS_WRITE, fd, unsafe.Pointer(&one), 8, 0, 0, 0) // EAGAIN: the counter is full, so a wake-up is pending anyway
}

// EventfdDrain resets an eventfd to zero.
func EventfdDrain(fd int32) {
	var v uint64
	_, _ = call(unix.SYS_READ, fd, unsafe.Pointer(&v), 8, 0, 0, 0)
}

// epoch makes Nanotime a difference of two monotonic readings, which Go takes
// through the vDSO; unix.ClockGettime would be a system call.
var epoch = time.Now()

// Nanotime returns the monotonic time in nanoseconds since the process started.
func Nanotime() int64 { return int64(time.Since(epoch)) }

// MmapAnon returns n bytes of zeroed memory outside the Go heap, for memory
// that the kernel writes to. Munmap frees it.
func MmapAnon(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

// Munmap frees memory of MmapAnon.
func Munmap(p []byte) error { return unix.Munmap(p) }

// ErrnoOf returns the errno in an error, EIO if there is none.
func ErrnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EIO
}

// shortPath is the length of the paths that Openat2 copies to its stack, in bytes.
const shortPath = 512

// Openat2 opens a path (openat2(2)). It does not allocate. It does not keep the processor
// either: a path that is in memory (RESOLVE_CACHED) may still have to wait for whoever permits
// that it is opened (fanotify).
func Openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	var p [shortPath]byte
	if len(path) >= len(p) || strings.IndexByte(path, 0) >= 0 {
		return unix.Openat2(dir, path, how)
	}
	copy(p[:], path)
	fd, _, e := syscall.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&p)),
		uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// FstatAll asks about an open file (fstat(2)) whose inode is in memory.
func FstatAll(fd int, st *unix.Stat_t) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	return e
}
