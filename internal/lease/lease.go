// Package lease holds read leases on files (fcntl(2), F_SETLEASE).
//
// While a process has a read lease on a file nobody has that open for writing, by
// descriptor or by mapping. Whoever comes to open it so, or to cut it, is held by the
// kernel, and who has the lease is sent a signal; the writer goes on when the lease is
// given up, or is taken away after /proc/sys/fs/lease-break-time (45 s). A writer with
// O_NONBLOCK is refused with EAGAIN instead, once. Renaming and removing the file, and
// changing its owner, mode or times, break no lease. A lease belongs to an open file
// description: the writer waits for all of them.
//
// A lease is granted by local file systems, to the owner of the file and to CAP_LEASE.
package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// breakSignal tells of a break: a real-time signal, because those say of which descriptor
// (fcntl(2), F_SETSIG). It is sent to the watching thread, the only one that has it
// blocked, so that programs may use the same number elsewhere.
const breakSignal = 50

// ownerTID is F_OWNER_TID of fcntl(2).
const ownerTID = 0

// All stands for every descriptor: a break has come of which it is not known whose.
const All = int32(-1)

// Watch takes leases, and tells when they are broken. The zero value is ready; it has a
// thread of its own from the first Take on. It is safe for concurrent use.
type Watch struct {
	start sync.Once
	err   error
	tid   int
	sfd   int
	over  chan struct{} // closed when the thread ends

	mu     sync.Mutex
	next   int
	told   map[int]func(fd int32)
	closed bool
}

// Subscribe makes tell be called with the descriptor of each lease that is broken, or with
// All, until the function is called that it returns. Every subscriber is told of every
// lease, and Held says whether it is still so. tell must not wait, nor call the Watch.
func (w *Watch) Subscribe(tell func(fd int32)) (cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		w.told = make(map[int]func(int32))
	}
	id := w.next
	w.next++
	w.told[id] = tell
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.told, id)
	}
}

func (w *Watch) tell(fd int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.told {
		f(fd)
	}
}

// Take takes a lease on an open file, until Give or the close of its last descriptor.
// EAGAIN: it is open for writing. EACCES: the file is another user's. EINVAL and
// others: its file system has no leases, or this system cannot tell of breaks.
func (w *Watch) Take(fd int32) syscall.Errno {
	w.start.Do(w.watch)
	if w.err != nil {
		return syscall.ENOSYS
	}
	owner := struct{ kind, id int32 }{ownerTID, int32(w.tid)}
	if _, _, e := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner))); e != 0 {
		return e
	}
	if e := fcntl(fd, unix.F_SETSIG, breakSignal); e != 0 {
		return e
	}
	return fcntl(fd, unix.F_SETLEASE, unix.F_RDLCK)
}

// Held reports whether the lease on a file is unbroken.
func (w *Watch) Held(fd int32) bool {
	kind, _, e := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETLEASE, 0)
	return e == 0 && kind == unix.F_RDLCK
}

// Give gives the lease on a file up: who waits to write goes on.
func (w *Watch) Give(fd int32) { _ = fcntl(fd, unix.F_SETLEASE, unix.F_UNLCK) }

// Probe takes a lease on a file and gives it up: it answers as Take does, and nobody is
// told if a writer comes in between, whom it does not hold up.
func Probe(fd int32) syscall.Errno {
	e := fcntl(fd, unix.F_SETLEASE, unix.F_RDLCK)
	if e == 0 {
		_ = fcntl(fd, unix.F_SETLEASE, unix.F_UNLCK)
	}
	return e
}

func fcntl(fd int32, cmd, arg uintptr) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), cmd, arg)
	return e
}

// Close ends the watch, when no leases are held any more.
func (w *Watch) Close() {
	w.start.Do(func() { w.err = errors.New("closed") })
	if w.err != nil {
		return
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	_ = unix.Tgkill(unix.Getpid(), w.tid, breakSignal)
	<-w.over
}

// watch starts the thread.
func (w *Watch) watch() {
	started := make(chan error)
	w.over = make(chan struct{})
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine.
		runtime.LockOSThread()
		defer close(w.over)
		err := w.open()
		started <- err
		if err == nil {
			w.run()
		}
	}()
	w.err = <-started
}

// open blocks the signals for this thread and makes the descriptor that they are read from.
func (w *Watch) open() error {
	w.tid = unix.Gettid()
	var set unix.Sigset_t
	// SIGIO comes in place of the other when too many signals are queued
	// (RLIMIT_SIGPENDING), and says nothing of the descriptor.
	for _, s := range []int{breakSignal, int(unix.SIGIO)} {
		set.Val[(s-1)/64] |= 1 << ((s - 1) % 64)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return fmt.Errorf("sigmask: %w", err)
	}
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("signalfd: %w", err)
	}
	w.sfd = fd
	return nil
}

// run tells of breaks until the watch is closed.
func (w *Watch) run() {
	defer unix.Close(w.sfd)
	const size = int(unsafe.Sizeof(unix.SignalfdSiginfo{}))
	var buf [16 * size]byte
	for {
		n, err := unix.Read(w.sfd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		for p := buf[:n]; len(p) >= size; p = p[size:] {
			if binary.NativeEndian.Uint32(p) != breakSignal {
				w.tell(All)
				continue
			}
			if w.isClosed() {
				return
			}
			const fdAt = int(unsafe.Offsetof(unix.SignalfdSiginfo{}.Fd))
			w.tell(int32(binary.NativeEndian.Uint32(p[fdAt:])))
		}
	}
}

func (w *Watch) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
