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

// fetches bring file ranges into the page cache on the ring's worker threads,
// so that sendfile finds them there. A fetch is a chain of linked operations:
// advice, which starts the device on exactly the range, and a read of the
// range's last byte, which waits for it.
//
// Reading the range itself would copy every byte for nothing, and a plain read
// makes the kernel read ahead (8 MiB at a time on some disks) and mark the page
// at which it wants to go on; whoever meets the mark submits the next window,
// which would be the loop, in sendfile.
type fetches struct {
	table []fetchOp
	free  []uint32
	drop  []byte // off the heap: where the last bytes go
}

// fetchOp is one fetch under way. It pins its file until it completes.
type fetchOp struct {
	file  *aio.File
	token aio.Token
	epoch uint32
}

func (f *fetches) init() (err error) {
	if f.drop, err = sys.MmapAnon(1); err != nil {
		return fmt.Errorf("map fetch memory: %w", err)
	}
	return nil
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
	if f.drop == nil {
		return nil
	}
	return sys.Munmap(f.drop)
}

// fetch queues the fetch of r. The file is pinned until it completes, whatever
// becomes of the slot.
func (d *Driver) fetch(t aio.Token, s *slot, f *aio.File, r mover.Range) bool {
	piece := max(f.Advice, mover.MinAdvice)
	advices := int((r.End - r.Off + piece - 1) / piece)
	if d.ring.room() <= advices {
		if d.ring.submit() != 0 || d.ring.room() <= advices {
			return false // a chain must not be torn
		}
	}
	for off := r.Off; off < r.End; off += piece {
		d.advise(f, off, min(r.End-off, piece))
	}
	i := d.fetches.put(fetchOp{file: f, token: t, epoch: s.move.Epoch})
	last := d.prepare(opFetch, aio.Token(i), iouring.IORING_OP_READ, f.FD,
		uint64(uintptr(unsafe.Pointer(&d.fetches.drop[0]))), 1, uint64(r.End-1))
	last.SetFlags(sqeAsync)
	f.Pins++
	d.stats.ColdReads++
	return true
}

// advise queues advice that the next operation of the chain follows. Success is
// silent; a failure is of no consequence, and does not break the chain.
func (d *Driver) advise(f *aio.File, off, n int64) {
	e := d.ring.next()
	e.PrepOperation(iouring.IORING_OP_FADVISE, f.FD, 0, uint32(n), uint64(off))
	e.SetOpFlags(unix.FADV_WILLNEED)
	e.SetFlags(sqeAsync | sqeHardlink | sqeSkipSuccess)
	e.SetUserData(opAdvice << opShift)
	d.stats.Submissions++
}

// fetched handles the completion of fetch i.
func (d *Driver) fetched(i uint32, res int32, ev *aio.Event) bool {
	op := d.fetches.remove(i)
	op.file.Pins--
	s := d.slot(op.token)
	if s == nil || s.move.Epoch != op.epoch {
		return false
	}
	fault := d.mover.Fetched(&s.move, errnoOf(res))
	if !s.is(blockedDisk) {
		return false // read-ahead; if it failed, the attempt that gets there will too
	}
	s.flags &^= blockedDisk
	*ev = aio.Event{Token: op.token, Op: aio.Ready, Err: fault}
	return true
}
