package openfile

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// poolThreads is how many calls of a pool run at a time: each keeps a thread.
	poolThreads = 32
	// poolWaiting is how many more wait for their turn before try refuses.
	poolWaiting = 512
	// listThreads and listWaiting are these bounds for listings, which may take longer.
	listThreads = 4
	listWaiting = 128
	// maxThreads bounds the threads of all pools, but for one each: systemd allows a
	// service 4,915 tasks by default, and the Go runtime ends the process at 10,000.
	maxThreads = 1024
)

// threads counts those of all pools.
var threads atomic.Int32

// pool runs calls that may wait for a file system, in their order, on a bounded number of
// goroutines. These start when there is work and end when there is none. It is safe for
// concurrent use.
type pool struct {
	threads, waiting int

	mu      sync.Mutex
	queue   []func()
	paused  int // calls that later will queue
	workers int
}

// try runs f soon, unless too many calls wait already.
func (p *pool) try(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue)+p.paused >= p.waiting {
		return false
	}
	p.add(f)
	return true
}

// do runs f soon, however many calls wait.
func (p *pool) do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(f)
}

// later is do after a pause. Meanwhile f counts as waiting.
func (p *pool) later(pause time.Duration, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused++
	time.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.paused--
		p.add(f)
	})
}

// add queues f, or starts a goroutine for it if there may be one more. The caller holds mu.
func (p *pool) add(f func()) {
	if p.workers == 0 || p.workers < p.threads && threads.Load() < maxThreads {
		p.workers++
		threads.Add(1)
		go p.work(f)
		return
	}
	p.queue = append(p.queue, f)
}

func (p *pool) work(f func()) {
	for ; f != nil; f = p.next() {
		f()
	}
}

// next returns the oldest call of the queue. If there is none it returns nil, and the
// goroutine must end.
func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.queue = nil
		p.workers--
		threads.Add(-1)
		return nil
	}
	f := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return f
}
