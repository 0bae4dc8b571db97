package fallback

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// fetch is a range of a file on its way into the page cache, for the slot of
// token while its epoch lasts. The file is pinned meanwhile.
//
// The loop owns it, except for fd, r, piece and err, which are the fetcher's
// from submit until take or stop.
type fetch struct {
	token aio.Token
	epoch uint32
	file  *aio.File

	fd     int32
	reader int32
	r      mover.Range
	piece  int64 // bytes that one piece of advice can ask for
	err    syscall.Errno

	// abandoned is set by the loop when nobody waits any more: a fetch that has
	// not begun does nothing then, so that clients that come and go cannot keep
	// the disk busy for those that stay.
	abandoned atomic.Bool
}

// fetcher brings ranges of files in off the loop, with a bounded number of
// goroutines that start when they are needed and live until stop. Its queue
// holds at most one fetch for each slot, and some that are abandoned.
type fetcher struct {
	limit int
	wake  func() // called after results were added

	mu      sync.Mutex
	work    *sync.Cond // under mu: queue is not empty, or ended
	queue   []*fetch
	head    int // of queue; what is before it was taken
	results []*fetch
	workers int
	idle    int
	ended   bool
	running sync.WaitGroup
}

func newFetcher(limit int, wake func()) *fetcher {
	f := &fetcher{limit: limit, wake: wake}
	f.work = sync.NewCond(&f.mu)
	return f
}

// submit queues a fetch.
func (f *fetcher) submit(r *fetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, r)
	if len(f.queue)-f.head > f.idle && f.workers < f.limit {
		f.workers++
		f.running.Go(f.run)
		return
	}
	f.work.Signal()
}

// take moves the fetches that have ended to dst.
func (f *fetcher) take(dst []*fetch) []*fetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	dst = append(dst, f.results...)
	clear(f.results)
	f.results = f.results[:0]
	return dst
}

// stop ends the workers and waits until none uses a descriptor any more. It
// returns all fetches that were not taken, of which some were not begun.
func (f *fetcher) stop() []*fetch {
	f.mu.Lock()
	f.ended = true
	rest := f.queue[f.head:]
	f.queue, f.head = nil, 0
	f.mu.Unlock()
	f.work.Broadcast()
	f.running.Wait()
	return f.take(rest)
}

// run is a worker.
func (f *fetcher) run() {
	for r := f.next(); r != nil; r = f.next() {
		f.serve(r)
	}
}

// serve does a fetch that next has returned.
func (f *fetcher) serve(r *fetch) {
	if !r.abandoned.Load() {
		r.err = r.read()
	}
	f.mu.Lock()
	f.results = append(f.results, r)
	f.mu.Unlock()
	f.wake()
}

// next waits for a fetch. It returns nil when the fetcher has been stopped.
func (f *fetcher) next() *fetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle++
	for f.head == len(f.queue) && !f.ended {
		f.work.Wait()
	}
	f.idle--
	if f.ended {
		return nil
	}
	r := f.queue[f.head]
	f.queue[f.head] = nil
	f.head++
	if f.head > len(f.queue)/2 {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	return r
}

// read brings the range in. The advice starts the device on the whole range,
// and on no more than that; the last byte is there when the rest is. Reading
// all would copy every byte for nothing.
func (r *fetch) read() syscall.Errno {
	if r.reader > 0 {
		return mover.Drain(r.reader, r.r)
	}
	piece := max(r.piece, mover.MinAdvice)
	for off := r.r.Off; off < r.r.End; off += piece {
		_ = unix.Fadvise(int(r.fd), off, min(r.r.End-off, piece), unix.FADV_WILLNEED) // only advice
	}
	var b [1]byte
	_, e := sys.Pread(r.fd, b[:], r.r.End-1) // of no byte if the file was cut meanwhile
	return e
}

// fetch has a range of a file brought in for a slot. The file is pinned until
// that has ended, whatever becomes of the slot.
func (d *Driver) fetch(t aio.Token, sl *slot, f *aio.File, r mover.Range) {
	j := &fetch{token: t, epoch: sl.move.Epoch, file: f, fd: f.FD, reader: mover.Reader(f), r: r, piece: f.Advice}
	f.Pins++
	sl.fetch = j
	d.fetching++
	d.stats.ColdReads++
	d.fetcher.submit(j)
}

// abandon gives up the fetch of a slot, if there is one.
func (sl *slot) abandon() {
	if sl.fetch != nil {
		sl.fetch.abandoned.Store(true)
		sl.fetch = nil
	}
}

// collect takes the fetches that have ended.
func (d *Driver) collect() {
	d.fetched = d.fetcher.take(d.fetched[:0])
	for i, j := range d.fetched {
		d.fetched[i] = nil
		d.fetching--
		j.file.Pins--
		if sl := d.lookup(j.token); sl != nil && sl.move.Epoch == j.epoch {
			d.settle(sl, j)
		}
	}
}

// settle records the end of a slot's fetch.
func (d *Driver) settle(sl *slot, j *fetch) {
	sl.fetch = nil
	fault := d.mover.Fetched(&sl.move, j.err)
	if sl.flags&waitDisk == 0 {
		return // read-ahead; if it failed, the attempt that gets there will too
	}
	sl.flags = sl.flags&^waitDisk | ready
	sl.fault = uint16(fault)
	d.enqueue(j.token.Slot())
}
