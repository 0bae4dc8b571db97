package mover

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// busyPool returns a pool of one goroutine, which is held up until free is called.
func busyPool(t testing.TB) (p *Pool, free func()) {
	t.Helper()
	p = NewPool(1)
	begun, end := make(chan struct{}), make(chan struct{})
	p.Submit(new(State), &Fetch{Source: Source{FD: -1}, Range: Range{End: 1}, Done: func() {
		close(begun)
		<-end
	}})
	<-begun
	return p, sync.OnceFunc(func() { close(end) })
}

// badFetch returns a fetch that fails when it is made.
func badFetch(done *sync.WaitGroup) *Fetch {
	done.Add(1)
	return &Fetch{Source: Source{FD: -1, Reader: -1}, Range: Range{End: 1}, Done: done.Done}
}

// TestPool queues many more fetches than there may be goroutines, by both ways of
// reading: all are made, by few goroutines at a time, which end.
func TestPool(t *testing.T) {
	testenv.LeakCheck(t)
	const size, limit, fetches = 1 << 20, 4, 200
	file := testenv.NewPattern(40).File(t, t.TempDir(), size)
	reader, err := os.Open(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, source := range []Source{
		{FD: -1, Reader: int32(reader.Fd())},
		{FD: int32(file.Fd()), Reader: -1},
	} {
		p := NewPool(limit)
		var done sync.WaitGroup
		var atOnce, most atomic.Int32
		all := make([]*Fetch, fetches)
		for i := range all {
			done.Add(1)
			all[i] = &Fetch{Source: source, Range: Range{End: 2 * size}} // more than there is
			all[i].Done = func() {
				defer done.Done()
				now := atOnce.Add(1)
				defer atOnce.Add(-1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				runtime.Gosched()
			}
			p.Submit(new(State), all[i])
		}
		done.Wait()
		for i, f := range all {
			if f.Err != 0 {
				t.Errorf("fetch %d: %v", i, f.Err)
			}
		}
		if n := most.Load(); n > limit {
			t.Errorf("%d goroutines at once, limit is %d", n, limit)
		}
		idle := func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.workers == 0 }
		if !testenv.Eventually(10*time.Second, idle) {
			t.Error("goroutines are left without work")
		}
	}
}

// TestPoolFails tells of a fetch that fails, by both ways of reading.
func TestPoolFails(t *testing.T) {
	testenv.LeakCheck(t)
	const closed = 1 << 20 // no descriptor has this number
	for _, source := range []Source{{FD: -1, Reader: closed}, {FD: closed}} {
		p := NewPool(1)
		f := &Fetch{Source: source, Range: Range{End: 10}, Done: func() {}}
		p.Submit(new(State), f)
		p.running.Wait()
		if f.Err != syscall.EBADF {
			t.Errorf("%+v: %v, want %v", source, f.Err, syscall.EBADF)
		}
	}
}

// TestPoolAbandons resets the states of fetches: the one that has not begun is not
// made, and one that has ended before is let alone.
func TestPoolAbandons(t *testing.T) {
	r := newUnixRig(t, aio.Config{})
	p, free := busyPool(t)
	var done sync.WaitGroup
	var gone, fetched, stays State
	given, kept, ended := badFetch(&done), badFetch(&done), badFetch(&done)
	p.Submit(&gone, given)
	p.Submit(&stays, kept)
	p.Submit(&fetched, ended)
	r.Reset(&gone)
	_, fetched.file = file(t, testenv.NewPattern(41), 10)
	r.Fetched(&fetched, 0)
	r.Reset(&fetched)
	free()
	done.Wait()
	if given.Err != 0 {
		t.Errorf("an abandoned fetch was made: %v", given.Err)
	}
	for _, f := range []*Fetch{kept, ended} {
		if f.Err != syscall.EBADF {
			t.Errorf("a fetch was not made: %v, want %v", f.Err, syscall.EBADF)
		}
	}
	p.Stop()
}

// TestPoolStops stops a pool that has more to do than goroutines: each fetch is
// done once, those that have not begun are not made, and no goroutine is left.
func TestPoolStops(t *testing.T) {
	testenv.LeakCheck(t)
	p, free := busyPool(t)
	var done sync.WaitGroup
	rest := make([]*Fetch, 100)
	for i := range rest {
		rest[i] = badFetch(&done)
		p.Submit(new(State), rest[i])
	}
	stopped := make(chan struct{})
	go func() {
		p.Stop()
		close(stopped)
	}()
	abandoned := rest[len(rest)-1].abandoned.Load
	if !testenv.Eventually(10*time.Second, abandoned) {
		t.Fatal("what has not begun is not abandoned")
	}
	select {
	case <-stopped:
		t.Error("stopped before what had begun was done")
	default:
	}
	free()
	<-stopped
	done.Wait()
	for i, f := range rest {
		if f.Err != 0 {
			t.Errorf("fetch %d was made: %v", i, f.Err)
		}
	}
	if p.workers != 0 || len(p.queue) != 0 {
		t.Errorf("%d goroutines and %d fetches are left", p.workers, len(p.queue))
	}
}
