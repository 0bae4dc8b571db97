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
// so that sendfile finds them there. A fetch is two linked operations: advice,
// which starts the device on exactly the range, and a read of the range's last
// byte, which waits for it.
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
	if d.ring.room() < 2 {
		if d.ring.submit() != 0 || d.ring.room() < 2 {
			return false // a link must not be torn
		}
	}
	advice := d.prepare(opIgnore, 0, iouring.IORING_OP_FADVISE, f.FD, 0, uint32(r.End-r.Off), uint64(r.Off))
	advice.SetOpFlags(unix.FADV_WILLNEED)
	advice.SetFlags(sqeAsync | sqeLink)
	i := d.fetches.put(fetchOp{file: f, token: t, epoch: s.move.Epoch})
	last := d.prepare(opFetch, aio.Token(i), iouring.IORING_OP_READ, f.FD,
		uint64(uintptr(unsafe.Pointer(&d.fetches.drop[0]))), 1, uint64(r.End-1))
	last.SetFlags(sqeAsync)
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
