package fallback

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// scratchSize is how much a worker reads at a time. Reading into a small
// buffer that stays in the core's cache is the cheapest way to wait until
// pages are there and to learn of read errors.
const scratchSize = 64 << 10

// fetch asks for a range of a file to be read into the page cache.
type fetch struct {
	slot uint32
	fd   int32 // stays open until the outcome was taken
	off  int64
	n    int64
}

// fetched is the outcome of a fetch.
type fetched struct {
	slot uint32
	err  syscall.Errno
}

// fetcher reads ranges of files off the loop, with a bounded number of
// goroutines that start when they are needed and live until stop. Its queue is
// bounded by its user: a slot has at most one fetch under way.
type fetcher struct {
	limit int
	wake  func() // called after results were added

	mu      sync.Mutex
	work    *sync.Cond // under mu: queue is not empty, or ended
	queue   []fetch
	head    int // of queue; what is before it was taken
	results []fetched
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
func (f *fetcher) submit(r fetch) {
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

// take appends the results there are to dst.
func (f *fetcher) take(dst []fetched) []fetched {
	f.mu.Lock()
	defer f.mu.Unlock()
	dst = append(dst, f.results...)
	f.results = f.results[:0]
	return dst
}

// stop ends the workers and waits until none uses a descriptor any more.
// Fetches that were not begun are dropped.
func (f *fetcher) stop() {
	f.mu.Lock()
	f.ended = true
	f.queue, f.head = nil, 0
	f.mu.Unlock()
	f.work.Broadcast()
	f.running.Wait()
}

// run is a worker.
func (f *fetcher) run() {
	buf := make([]byte, scratchSize)
	for {
		r, ok := f.next()
		if !ok {
			return
		}
		e := r.read(buf)
		f.mu.Lock()
		f.results = append(f.results, fetched{slot: r.slot, err: e})
		f.mu.Unlock()
		f.wake()
	}
}

// next waits for a fetch. It reports false when the fetcher has been stopped.
func (f *fetcher) next() (fetch, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle++
	for f.head == len(f.queue) && !f.ended {
		f.work.Wait()
	}
	f.idle--
	if f.ended {
		return fetch{}, false
	}
	r := f.queue[f.head]
	f.head++
	if f.head > len(f.queue)/2 {
		f.queue = f.queue[:copy(f.queue, f.queue[f.head:])]
		f.head = 0
	}
	return r, true
}

// read brings the range in. The advice starts the device on the whole range,
// and on no more than that; reading waits for it.
func (r *fetch) read(buf []byte) syscall.Errno {
	_ = unix.Fadvise(int(r.fd), r.off, r.n, unix.FADV_WILLNEED) // only advice
	for got := int64(0); got < r.n; {
		n, e := sys.Pread(r.fd, buf[:min(r.n-got, int64(len(buf)))], r.off+got)
		if e != 0 || n == 0 {
			return e // 0: the file ends here
		}
		got += int64(n)
	}
	return 0
}
