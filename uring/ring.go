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
)

const (
	sqEntries = 512
	// cqEntries bounds how many completions wait in the mapping; the kernel
	// keeps what exceeds it (IORING_FEAT_NODROP).
	cqEntries = 8192
)

// ring is one io_uring instance with its two queues. It belongs to the thread
// that has enabled it.
type ring struct {
	fd   int32
	sq   submissions
	cq   completions
	hold bool // the processor, for the first part of a wait

	inflight  int    // operations that will still complete
	submitted uint64 // operations that were prepared

	queues  []byte // mapping of sq and cq, but for the entries of sq
	entries []byte // mapping of the entries of sq

	ts  timespec
	arg getEventsArg // names ts
}

// ways are sets of set-up flags, the cheapest way of running completions first.
var ways = [...]uint32{
	setupSubmitAll | setupSingleIssuer | setupDeferTaskrun, // 6.1
	setupSubmitAll | iouring.IORING_SETUP_COOP_TASKRUN,     // 5.19
}

// knownWay is the index of the first way that this kernel knows, once a ring was
// made.
var knownWay atomic.Int32

// newRing makes a ring that is still disabled: enable lets it run, restricted
// to the operations in use. hold is aio.Config.HoldProcessor.
func newRing(hold bool) (*ring, error) {
	var err error
	for i := knownWay.Load(); int(i) < len(ways); i++ {
		p := iouring.IOURingParams{
			Flags: ways[i] | iouring.IORING_SETUP_CLAMP | iouring.IORING_SETUP_CQSIZE |
				iouring.IORING_SETUP_R_DISABLED,
			CQEntries: cqEntries,
		}
		var fd int
		if fd, err = iouring.IOURingSetup(sqEntries, &p); err == nil {
			knownWay.Store(i)
			return mapRing(int32(fd), &p, hold)
		}
		if !errors.Is(err, syscall.EINVAL) {
			break
		}
	}
	return nil, fmt.Errorf("io_uring_setup: %w", explain(err))
}

// mapRing maps the queues of fd and takes fd over.
func mapRing(fd int32, p *iouring.IOURingParams, hold bool) (_ *ring, err error) {
	r := &ring{fd: fd, hold: hold}
	defer func() {
		if err != nil {
			_ = r.close()
		}
	}()
	const need = iouring.IORING_FEAT_SINGLE_MMAP | featNoDrop | featExtArg
	if p.Features&need != need {
		return nil, fmt.Errorf("io_uring lacks features %#x: Linux 6.0 or newer is needed", need&^p.Features)
	}
	sqSize := p.SQOffset.Array + p.SQEntries*4
	cqSize := p.CQOffset.Cqes + p.CQEntries*uint32(unsafe.Sizeof(cqe{}))
	if r.queues, err = r.mmap(iouring.IORING_OFF_SQ_RING, int(max(sqSize, cqSize))); err != nil {
		return nil, fmt.Errorf("map io_uring queues: %w", err)
	}
	if r.entries, err = r.mmap(iouring.IORING_OFF_SQES, int(p.SQEntries)*int(unsafe.Sizeof(sqe{}))); err != nil {
		return nil, fmt.Errorf("map io_uring entries: %w", err)
	}
	r.lay(p)
	r.arg.ts = uint64(uintptr(unsafe.Pointer(&r.ts))) // r is on the heap and never moves
	return r, nil
}

func (r *ring) mmap(off uint64, n int) ([]byte, error) {
	return unix.Mmap(int(r.fd), int64(off), n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// lay lays the queues over the mappings.
func (r *ring) lay(p *iouring.IOURingParams) {
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.queues[off]) }
	index := func(off uint32) *atomic.Uint32 { return (*atomic.Uint32)(at(off)) }
	r.sq = submissions{
		entries: unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.SQEntries), mask: p.SQEntries - 1,
		head: index(p.SQOffset.Head), tail: index(p.SQOffset.Tail), flags: index(p.SQOffset.Flags),
	}
	r.cq = completions{
		entries: unsafe.Slice((*cqe)(at(p.CQOffset.Cqes)), p.CQEntries), mask: p.CQEntries - 1,
		head: index(p.CQOffset.Head), tail: index(p.CQOffset.Tail),
	}
	// Entry i of the queue is always SQE i: the indirection is filled in once.
	for i := range p.SQEntries {
		*(*uint32)(at(p.SQOffset.Array + 4*i)) = i
	}
}

// enable restricts the ring to the operations in use, so that a bug cannot
// reach others, and lets it run. The calling thread becomes its only user.
func (r *ring) enable() error {
	rs := make([]restriction, 0, len(opcodes)+1)
	for _, code := range opcodes {
		rs = append(rs, restriction{opcode: restrictSQEOp, arg: code})
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

// boundWorkers bounds the kernel threads that wait for files. The default is the
// process limit: thousands.
func (r *ring) boundWorkers(n int) error {
	workers := [2]uint32{uint32(n), 1} // for files and for the rest
	if err := r.register(registerIOWQWorkers, unsafe.Pointer(&workers), 2); err != nil {
		return fmt.Errorf("bound io_uring workers: %w", err)
	}
	return nil
}

func (r *ring) register(op uint8, arg unsafe.Pointer, n uint32) error {
	return iouring.IOURingRegister(int(r.fd), op, arg, n)
}

// prepare queues an operation that will complete as name says; nil: the ring takes none.
func (r *ring) prepare(name userData, code uint8, fd int32, addr uint64, n uint32, off uint64) *sqe {
	e := r.next(name, code, fd, addr, n, off)
	if e != nil {
		r.inflight++
	}
	return e
}

// next queues an operation that completes only if it fails; nil: the ring takes none.
func (r *ring) next(name userData, code uint8, fd int32, addr uint64, n uint32, off uint64) *sqe {
	if !r.roomFor(1) {
		return nil
	}
	e := r.sq.next()
	e.PrepOperation(code, fd, addr, n, off)
	e.SetUserData(uint64(name))
	r.submitted++
	return e
}

// roomFor reports whether n entries can be prepared without a submission in
// between: a chain of operations must not be torn.
func (r *ring) roomFor(n int) bool {
	return r.sq.room() >= n || r.submit() == 0 && r.sq.room() >= n
}

// submit gives the kernel what is queued, without waiting.
func (r *ring) submit() syscall.Errno {
	for {
		e := r.enter(0, 0, nil, false)
		if e != syscall.EINTR {
			return e
		}
	}
}

// enter publishes the queued entries and enters the kernel once.
func (r *ring) enter(wait uint32, flags uintptr, arg *getEventsArg, block bool) syscall.Errno {
	r.sq.publish()
	_, e := enter(r.fd, r.sq.queued(), wait, flags, arg, block)
	r.sq.refresh() // it tells what was taken even when a later step failed
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
		if e != 0 && e != syscall.ETIME && e != syscall.EINTR || r.cq.pending() > 0 || rest == 0 {
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

// close unmaps and closes, however far mapRing came. The kernel must have nothing
// under way that touches memory of ours.
func (r *ring) close() error {
	var errs []error
	for _, m := range [][]byte{r.entries, r.queues} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(append(errs, unix.Close(int(r.fd)))...)
}
