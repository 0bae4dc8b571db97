package uring

import (
	"cmp"
	"fmt"
	"syscall"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// fetches bring file ranges into the page cache on the ring's worker threads,
// so that sendfile finds them there. A fetch is a chain of linked operations:
// splices of the range into a pipe, each followed by one from there to
// /dev/null. Nothing is copied, and the kernel reads ahead of the fetches, in
// large requests and large folios.
//
// Where there is no second description of the file or no large pipe, it is
// advice, which starts the device on exactly the range, and a read of the
// range's last byte, which waits for it. Reading the range itself would copy
// every byte for nothing.
type fetches struct {
	ring  *ring
	table []fetchOp    // by number
	holes []uint32     // of table
	pipes []*fetchPipe // empty ones
	open  int          // pipes that exist
	idle  mover.Idle   // of pipes
	kept  int          // empty ones that are kept: one for each worker
	drop  []byte       // off the heap: where the last bytes go
}

// fetchOp is one fetch under way.
type fetchOp struct {
	driver.Fetch
	err  syscall.Errno // of a part of the chain
	pipe *fetchPipe    // nil: by advice
}

// fetchPipe is what a range passes through. A fetch has it to itself.
type fetchPipe struct {
	r, w  int32
	bytes int64 // that it holds
}

const (
	// fetchPipeBytes is what an unprivileged process may ask for.
	fetchPipeBytes = 1 << 20
	// leastPipe is the pipe from which on the chain is worth it.
	leastPipe = 256 << 10
	// pipesPerWorker bounds the pipes. A fetch has one from when it is queued, and no more of them
	// than there are workers are under way.
	pipesPerWorker = 4
)

func (f *fetches) init(r *ring, workers int) (err error) {
	f.ring, f.kept = r, workers
	if f.drop, err = sys.MmapAnon(1); err != nil {
		return fmt.Errorf("map fetch memory: %w", err)
	}
	return nil
}

// pipe returns a pipe, nil if there is none that is large enough.
func (f *fetches) pipe() *fetchPipe {
	if n := len(f.pipes); n > 0 {
		p := f.pipes[n-1]
		f.pipes = f.pipes[:n-1]
		f.idle.Left(n - 1)
		return p
	}
	if f.open >= pipesPerWorker*f.kept {
		return nil // its descriptors are worth more than what a fetch by advice costs
	}
	r, w, size, err := sys.Pipe(fetchPipeBytes)
	if err != nil {
		return nil
	}
	f.open++
	p := &fetchPipe{r: r, w: w, bytes: int64(size)}
	if size < leastPipe {
		f.close(p)
		return nil
	}
	return p
}

// giveBack pools a pipe that is empty.
func (f *fetches) giveBack(p *fetchPipe) {
	switch {
	case p == nil:
	case len(f.pipes) >= f.kept:
		f.close(p)
	default:
		f.pipes = append(f.pipes, p)
	}
}

// trim closes pipes that no fetch has needed for a while, and returns when to look again; see
// mover.Idle.
func (f *fetches) trim(now int64) (next int64) {
	n, next := f.idle.Surplus(len(f.pipes), now)
	for range n {
		last := len(f.pipes) - 1
		f.close(f.pipes[last])
		f.pipes = f.pipes[:last]
	}
	return next
}

func (f *fetches) close(p *fetchPipe) {
	sys.Close(p.r)
	sys.Close(p.w)
	f.open--
}

func (f *fetches) put(op fetchOp) uint32 {
	if n := len(f.holes); n > 0 {
		i := f.holes[n-1]
		f.holes = f.holes[:n-1]
		f.table[i] = op
		return i
	}
	f.table = append(f.table, op)
	return uint32(len(f.table) - 1)
}

func (f *fetches) remove(i uint32) fetchOp {
	op := f.table[i]
	f.table[i] = fetchOp{}
	f.holes = append(f.holes, i)
	return op
}

// free frees what the fetches used, of which none is under way.
func (f *fetches) free() error {
	for _, p := range f.pipes {
		f.close(p)
	}
	f.pipes = nil
	if f.drop == nil {
		return nil
	}
	return sys.Munmap(f.drop)
}

// fetch queues the fetch of r.
func (d *Driver) fetch(t aio.Token, s *slot, f *aio.File, r mover.Range) bool {
	reader := mover.Reader(f)
	var pipe *fetchPipe
	if reader >= 0 {
		pipe = d.fetches.pipe()
	}
	piece, each := max(f.Advice, mover.MinAdvice), 1
	if pipe != nil {
		piece, each = pipe.bytes, 2
	}
	if !d.ring.roomFor(each*int((r.End-r.Off+piece-1)/piece) + 1) {
		d.fetches.giveBack(pipe)
		return false
	}
	i := d.fetches.put(fetchOp{Fetch: d.BeginFetch(t, s, f), pipe: pipe})
	if pipe != nil {
		d.fetches.drainRange(i, reader, pipe, r)
	} else {
		d.fetches.adviseRange(i, f, r, piece)
	}
	return true
}

// drainRange queues the splices of a fetch. Only the last one is told of when
// it succeeds.
func (f *fetches) drainRange(i uint32, reader int32, p *fetchPipe, r mover.Range) {
	const none = ^uint64(0) // the offset of a pipe
	for off, n := r.Off, uint32(0); off < r.End; off += int64(n) {
		n = uint32(min(r.End-off, p.bytes))
		f.part(i, iouring.IORING_OP_SPLICE, p.w, uint64(off), n, none).SetSpliceFdIn(reader)
		if r.End-off > p.bytes {
			p.toNull(f.part(i, iouring.IORING_OP_SPLICE, mover.Null(), none, n, none))
			continue
		}
		last := f.ring.prepare(opFetch.ofFetch(i), iouring.IORING_OP_SPLICE, mover.Null(), none, n, none)
		p.toNull(last)
		last.SetFlags(sqeAsync)
	}
}

// toNull completes a splice from a pipe. It does not wait: of a file that was
// cut the pipe has nothing.
func (p *fetchPipe) toNull(e *sqe) {
	e.SetSpliceFdIn(p.r)
	e.SetOpFlags(unix.SPLICE_F_NONBLOCK)
}

// adviseRange queues the advice and the read of a fetch.
func (f *fetches) adviseRange(i uint32, file *aio.File, r mover.Range, piece int64) {
	for off, n := r.Off, uint32(0); off < r.End; off += int64(n) {
		n = uint32(min(r.End-off, piece))
		f.part(i, iouring.IORING_OP_FADVISE, file.FD, 0, n, uint64(off)).SetOpFlags(unix.FADV_WILLNEED)
	}
	last := f.ring.prepare(opFetch.ofFetch(i), iouring.IORING_OP_READ, file.FD,
		uint64(uintptr(unsafe.Pointer(&f.drop[0]))), 1, uint64(r.End-1))
	last.SetFlags(sqeAsync)
}

// part queues an operation that the next one of the chain follows. Success is
// silent; a failure does not break the chain.
func (f *fetches) part(i uint32, code uint8, fd int32, addr uint64, n uint32, off uint64) *sqe {
	e := f.ring.next(opPart.ofFetch(i), code, fd, addr, n, off)
	e.SetFlags(sqeAsync | sqeHardlink | sqeSkipSuccess)
	return e
}

// inVain reports whether an error only means that nothing was fetched: the pipe has no bytes, since the
// file was cut, or the kernel had no thread for the work (ECANCELED: Linux 6.1 gives up where
// signals disturb the making of one). The attempt that waits finds out by itself, if need be waiting.
func inVain(e syscall.Errno) bool { return e == syscall.EAGAIN || e == syscall.ECANCELED }

// partFailed notes a failure in a chain, of which advice is none.
func (f *fetches) partFailed(c completion) {
	op := &f.table[c.name.fetch()]
	if e := c.errno(); op.pipe != nil && e != 0 && !inVain(e) {
		op.err = e
	}
}

// fetched handles the completion of a fetch.
func (d *Driver) fetched(c completion, ev *aio.Event) bool {
	op := d.fetches.remove(c.name.fetch())
	e := cmp.Or(op.err, c.errno())
	switch {
	case op.pipe == nil:
	case e == 0:
		d.fetches.giveBack(op.pipe)
	default:
		d.fetches.close(op.pipe) // it may hold bytes
	}
	if inVain(e) {
		e = 0
	}
	s, fault := d.EndFetch(op.Fetch, e)
	if s == nil {
		return false
	}
	s.Wait = driver.ForNothing
	*ev = aio.Event{Token: op.Token, Op: aio.Ready, Err: fault}
	return true
}
