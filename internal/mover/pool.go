package mover

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// Source says through which descriptors a file is fetched. Whoever made it
// keeps them open until the last fetch has ended.
type Source struct {
	FD     int32
	Reader int32 // see Reader; none if it is not positive
	Advice int64 // bytes that one piece of advice can ask for, if more than MinAdvice
}

// SourceOf returns the Source of a file that stays open.
func SourceOf(f *aio.File) Source { return Source{FD: f.FD, Reader: Reader(f), Advice: f.Advice} }

// read brings a range into the page cache. It blocks.
//
// Without a description for reading, advice starts the device on the whole
// range, and on no more than that; the last byte is there when the rest is.
// Reading all would copy every byte for nothing.
func (s Source) read(r Range) syscall.Errno {
	if s.Reader > 0 {
		return drain(s.Reader, r)
	}
	piece := max(s.Advice, MinAdvice)
	for off, n := r.Off, int64(0); off < r.End; off += n {
		n = min(r.End-off, piece)
		_ = unix.Fadvise(int(s.FD), off, n, unix.FADV_WILLNEED) // only advice
	}
	var b [1]byte
	_, e := sys.Pread(s.FD, b[:], r.End-1) // of no byte if the file was cut meanwhile
	return e
}

// Fetch is a range of a file on its way into the page cache. It is the Pool's
// from Submit until Done is called.
type Fetch struct {
	Source Source
	Range  Range

	// Done is called once, on a goroutine of the Pool, when the fetch has
	// ended or was given up. Err is valid from then on.
	Done func()
	Err  syscall.Errno

	// abandoned: nobody waits any more. A fetch that has not begun does nothing
	// then, so that clients that come and go cannot keep the disk busy for those
	// that stay.
	abandoned atomic.Bool
}

// Pool makes fetches, in their order, on a bounded number of goroutines. These
// start when there is work and end when there is none. A Pool may be shared:
// its methods are safe for concurrent use.
//
// The queue holds at most one fetch for each State, and some that are abandoned.
type Pool struct {
	limit   int
	running sync.WaitGroup

	mu      sync.Mutex
	queue   []*Fetch
	workers int
}

// NewPool returns a Pool of up to limit goroutines, which must be positive.
func NewPool(limit int) *Pool { return &Pool{limit: limit} }

// Submit queues f, which Send has asked for on behalf of st. It is abandoned when
// st is Reset.
func (p *Pool) Submit(st *State, f *Fetch) {
	st.fetch = f
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, f)
	if p.workers < p.limit {
		p.workers++
		p.running.Go(p.work)
	}
}

// Stop abandons every fetch that has not begun and waits until all are done and
// no goroutine is left. Nothing may be submitted meanwhile.
func (p *Pool) Stop() {
	p.mu.Lock()
	for _, f := range p.queue {
		f.abandoned.Store(true)
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Pool) work() {
	for f := p.pop(); f != nil; f = p.pop() {
		if !f.abandoned.Load() {
			f.Err = f.Source.read(f.Range)
		}
		f.Done()
	}
}

// pop returns the oldest fetch of the queue. If there is none it returns nil,
// and the goroutine must end.
func (p *Pool) pop() *Fetch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.queue = nil
		p.workers--
		return nil
	}
	f := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return f
}
