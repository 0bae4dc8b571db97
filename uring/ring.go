package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	sqEntries = 512
	// cqEntries bounds how many completions wait in the mapping; the kernel
	// keeps what exceeds it (IORING_FEAT_NODROP).
	cqEntries = 8192
)

// ring is the memory that this process shares with one io_uring instance, and
// the two queues in it. The kernel writes sqHead and cqTail, we write sqTail
// and cqHead; each is loaded and stored atomically, and published only by the
// store of a tail (or head) after what it covers. It belongs to one thread.
type ring struct {
	fd  int32
	mem []byte // both queues
	ent []byte // the SQE array

	sqes    []sqe
	sqMask  uint32
	sqHead  *uint32 // kernel
	sqTail  *uint32
	sqFlags *uint32 // kernel
	tail    uint32  // SQEs prepared so far
	flushed uint32  // SQEs the kernel has taken

	cqes   []cqe
	cqMask uint32
	cqHead *uint32
	cqTail *uint32 // kernel
	head   uint32  // CQEs taken so far

	hold bool // aio.Config.HoldProcessor

	ts  timespec
	arg getEventsArg
}

// setupFlags are tried in order: the cheapest way of running completions that
// the kernel knows.
var setupFlags = []uint32{
	setupSubmitAll | setupSingleIssuer | setupDeferTaskrun, // 6.1
	setupSubmitAll | iouring.IORING_SETUP_COOP_TASKRUN,     // 5.19
}

// newRing makes a ring that is still disabled: enable lets it run, restricted
// to the operations in use.
func newRing() (*ring, error) {
	var err error
	for _, flags := range setupFlags {
		p := iouring.IOURingParams{
			Flags: flags | iouring.IORING_SETUP_CLAMP | iouring.IORING_SETUP_CQSIZE |
				iouring.IORING_SETUP_R_DISABLED,
			CQEntries: cqEntries,
		}
		var fd int
		if fd, err = iouring.IOURingSetup(sqEntries, &p); err == nil {
			return mapRing(int32(fd), &p)
		}
		if !errors.Is(err, syscall.EINVAL) {
			break
		}
	}
	return nil, fmt.Errorf("io_uring_setup: %w", explain(err))
}

// mapRing maps the queues of fd and takes fd over.
func mapRing(fd int32, p *iouring.IOURingParams) (*ring, error) {
	const need = iouring.IORING_FEAT_SINGLE_MMAP | featNoDrop | featExtArg
	if p.Features&need != need {
		sys.Close(fd)
		return nil, fmt.Errorf("io_uring lacks features %#x: Linux 6.0 or newer is needed", need&^p.Features)
	}
	sqSize := p.SQOffset.Array + p.SQEntries*4
	cqSize := p.CQOffset.Cqes + p.CQEntries*uint32(unsafe.Sizeof(cqe{}))
	mem, err := unix.Mmap(int(fd), int64(iouring.IORING_OFF_SQ_RING), int(max(sqSize, cqSize)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		sys.Close(fd)
		return nil, fmt.Errorf("map io_uring queues: %w", err)
	}
	ent, err := unix.Mmap(int(fd), int64(iouring.IORING_OFF_SQES), int(p.SQEntries)*int(unsafe.Sizeof(sqe{})),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		_ = unix.Munmap(mem)
		sys.Close(fd)
		return nil, fmt.Errorf("map io_uring entries: %w", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }
	r := &ring{
		fd: fd, mem: mem, ent: ent,
		sqes:   unsafe.Slice((*sqe)(unsafe.Pointer(&ent[0])), p.SQEntries),
		sqMask: p.SQEntries - 1, sqHead: at(p.SQOffset.Head), sqTail: at(p.SQOffset.Tail), sqFlags: at(p.SQOffset.Flags),
		cqes:   unsafe.Slice((*cqe)(unsafe.Pointer(&mem[p.CQOffset.Cqes])), p.CQEntries),
		cqMask: p.CQEntries - 1, cqHead: at(p.CQOffset.Head), cqTail: at(p.CQOffset.Tail),
	}
	// Entry i of the queue is always SQE i: the indirection is filled in once.
	array := unsafe.Slice(at(p.SQOffset.Array), p.SQEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	r.arg.ts = uint64(uintptr(unsafe.Pointer(&r.ts))) // r is on the heap and never moves
	return r, nil
}

// enable restricts the ring to the operations in use, so that a bug cannot
// reach others, and lets it run. The calling thread becomes its only user.
func (r *ring) enable(ops []uint8) error {
	rs := make([]restriction, 0, len(ops)+1)
	for _, op := range ops {
		rs = append(rs, restriction{opcode: restrictSQEOp, arg: op})
	}
	rs = append(rs, restriction{opcode: restrictSQEFlags, arg: sqeAsync | sqeBufferSelect | sqeHardlink | sqeSkipSuccess})
	if err := r.register(registerRestrictions, unsafe.Pointer(&rs[0]), uint32(len(rs))); err != nil {
		return fmt.Errorf("restrict io_uring: %w", err)
	}
	if err := r.register(registerEnable, nil, 0); err != nil {
		return fmt.Errorf("enable io_uring: %w", err)
	}
	return nil
}

func (r *ring) register(op uint8, arg unsafe.Pointer, n uint32) error {
	return iouring.IOURingRegister(int(r.fd), op, arg, n)
}

// next returns a cleared SQE to fill in, or nil if the queue is full and the
// kernel does not take anything from it.
func (r *ring) next() *sqe {
	if r.tail-r.flushed == uint32(len(r.sqes)) {
		if e := r.submit(); e != 0 || r.tail-r.flushed == uint32(len(r.sqes)) {
			return nil
		}
	}
	s := &r.sqes[r.tail&r.sqMask]
	s.Reset()
	r.tail++
	return s
}

// room returns how many SQEs can be prepared before the next submit.
func (r *ring) room() int { return len(r.sqes) - int(r.tail-r.flushed) }

// submit gives the kernel what is queued, without waiting.
func (r *ring) submit() syscall.Errno {
	for {
		e := r.enter(0, 0, nil, false)
		if e != syscall.EINTR {
			return e
		}
	}
}

// enter publishes the queued SQEs and enters the kernel once.
func (r *ring) enter(wait uint32, flags uintptr, arg *getEventsArg, block bool) syscall.Errno {
	atomic.StoreUint32(r.sqTail, r.tail)
	_, e := enter(r.fd, r.tail-r.flushed, wait, flags, arg, block)
	// The head tells what was taken even when a later step failed.
	r.flushed = atomic.LoadUint32(r.sqHead)
	return e
}

// wait submits and waits for at least one completion, for at most timeout
// (negative: for ever; 0: only runs what is ready).
func (r *ring) wait(timeout time.Duration) syscall.Errno {
	if timeout == 0 {
		return r.enter(0, enterGetEvents, nil, false)
	}
	short, rest := aio.SplitWait(timeout, r.hold)
	if short > 0 {
		e := r.waitFor(short, false)
		// An enter that has submitted something says neither ETIME nor EINTR.
		if e != 0 && e != syscall.ETIME && e != syscall.EINTR || r.pending() > 0 || rest == 0 {
			return e
		}
	}
	return r.waitFor(rest, true)
}

// waitFor waits once; block says that the processor may be taken meanwhile.
func (r *ring) waitFor(timeout time.Duration, block bool) syscall.Errno {
	if timeout < 0 {
		return r.enter(1, enterGetEvents, nil, block)
	}
	r.ts = timespec{int64(timeout / time.Second), int64(timeout % time.Second)}
	return r.enter(1, enterGetEvents, &r.arg, block)
}

// pending returns how many completions are in the mapping.
func (r *ring) pending() uint32 { return atomic.LoadUint32(r.cqTail) - r.head }

// overflowed reports whether the kernel holds completions that did not fit.
func (r *ring) overflowed() bool {
	return atomic.LoadUint32(r.sqFlags)&iouring.IORING_SQ_CQ_OVERFLOW != 0
}

// take returns the oldest completion. It is valid until release.
func (r *ring) take() *cqe {
	c := &r.cqes[r.head&r.cqMask]
	r.head++
	return c
}

// release gives the entries of all taken completions back to the kernel.
func (r *ring) release() { atomic.StoreUint32(r.cqHead, r.head) }

// close unmaps and closes. The kernel must have nothing under way that
// touches memory of ours.
func (r *ring) close() error {
	return errors.Join(unix.Munmap(r.ent), unix.Munmap(r.mem), unix.Close(int(r.fd)))
}
