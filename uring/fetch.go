package uring

import (
	"fmt"
	"unsafe"

	iouring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// scratchBytes is where fetched bytes are dropped: all that is wanted is
	// that they pass through the page cache. It stays in a core's own cache.
	scratchBytes = 16 << 10
	// fetchVecs bounds a fetch to 4 MiB.
	fetchVecs = 256
)

// fetches are the reads that bring file ranges into the page cache on the
// ring's worker threads, so that sendfile finds them there. READV with
// IOSQE_ASYNC is used rather than SPLICE into a pipe: it needs no pipe for each
// transfer, and the bytes go out by the same way as resident ones.
type fetches struct {
	table   []fetchOp
	free    []uint32
	scratch []byte
	vecs    []byte // []unix.Iovec off the heap, all pointing at scratch
}

// fetchOp is one read under way. It pins its file until it completes.
type fetchOp struct {
	file  *aio.File
	token aio.Token
	epoch uint32
}

func (f *fetches) init() (err error) {
	if f.scratch, err = sys.MmapAnon(scratchBytes); err != nil {
		return fmt.Errorf("map fetch scratch: %w", err)
	}
	if f.vecs, err = sys.MmapAnon(fetchVecs * int(unsafe.Sizeof(unix.Iovec{}))); err != nil {
		return fmt.Errorf("map fetch vectors: %w", err)
	}
	for i := range fetchVecs {
		*f.vec(i) = unix.Iovec{Base: &f.scratch[0], Len: scratchBytes}
	}
	return nil
}

func (f *fetches) vec(i int) *unix.Iovec {
	return (*unix.Iovec)(unsafe.Pointer(&f.vecs[uintptr(i)*unsafe.Sizeof(unix.Iovec{})]))
}

func (f *fetches) put(op fetchOp) uint32 {
	if n := len(f.free); n > 0 {
		i := f.free[n-1]
		f.free = f.free[:n-1]
		f.table[i] = op
		return i
	}
	f.table = append(f.table, op)
	return uint32(len(f.table) - 1)
}

func (f *fetches) remove(i uint32) fetchOp {
	op := f.table[i]
	f.table[i] = fetchOp{}
	f.free = append(f.free, i)
	return op
}

func (f *fetches) unmap() error {
	for _, m := range [][]byte{f.scratch, f.vecs} {
		if m != nil {
			if err := sys.Munmap(m); err != nil {
				return fmt.Errorf("unmap fetch memory: %w", err)
			}
		}
	}
	return nil
}

// fetch queues the read of r. The file is pinned until it completes, whatever
// becomes of the slot.
func (d *Driver) fetch(t aio.Token, s *slot, f *aio.File, r mover.Range) bool {
	n := min((r.End-r.Off+scratchBytes-1)/scratchBytes, fetchVecs)
	i := d.fetches.put(fetchOp{file: f, token: t, epoch: s.move.Epoch})
	e := d.prepare(opFetch, aio.Token(i), iouring.IORING_OP_READV, f.FD,
		uint64(uintptr(unsafe.Pointer(d.fetches.vec(0)))), uint32(n), uint64(r.Off))
	if e == nil {
		d.fetches.remove(i)
		return false
	}
	// Without it the loop itself would start the reads, and wait for metadata.
	e.SetFlags(sqeAsync)
	f.Pins++
	d.stats.ColdReads++
	return true
}

// fetched handles the completion of fetch i.
func (d *Driver) fetched(i uint32, res int32, ev *aio.Event) bool {
	op := d.fetches.remove(i)
	op.file.Pins--
	s := d.slot(op.token)
	if s == nil || s.move.Epoch != op.epoch {
		return false
	}
	d.mover.Fetched(&s.move)
	e := errnoOf(res)
	if e != 0 {
		d.stats.Errors[aio.Classify(e)]++
	}
	if !s.is(blockedDisk) {
		return false // read-ahead; if it failed, the attempt that gets there will too
	}
	s.flags &^= blockedDisk
	if aio.Classify(e) != aio.Fatal {
		e = 0 // the attempt itself will tell
	}
	*ev = aio.Event{Token: op.token, Op: aio.Ready, Err: e}
	return true
}
