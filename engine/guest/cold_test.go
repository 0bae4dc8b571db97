package guest

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/testenv"
)

// TestColdReads queues many more reads than there may be workers: all are done, by
// a few goroutines, which end, and the last one closes the file.
func TestColdReads(t *testing.T) {
	testenv.LeakCheck(t)
	for _, drains := range []bool{true, false} {
		f := testenv.NewPattern(40).File(t, t.TempDir(), 1<<20)
		source, err := openCold(testenv.Borrow(t, f))
		if err != nil {
			t.Fatal(err)
		}
		source.drains = source.drains && drains
		var all sync.WaitGroup
		c := coldReads{ended: all.Done}
		var reads []*coldRead
		for range 200 {
			all.Add(1)
			r := c.submit(source, mover.Range{Off: 0, End: 2 << 20}) // more than there is
			reads = append(reads, r)
			c.mu.Lock()
			if c.workers > coldWorkers {
				t.Errorf("%d workers", c.workers)
			}
			c.mu.Unlock()
		}
		reads[199].abandoned.Store(true)
		all.Wait()
		for i, r := range reads {
			<-r.done
			if r.err != 0 {
				t.Errorf("read %d: %v", i, r.err)
			}
		}
		if !testenv.Eventually(30*time.Second, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.workers == 0 }) {
			t.Error("workers are left")
		}
		if n := source.refs.Load(); n != 1 {
			t.Errorf("%d references are left, besides ours", n-1)
		}
		source.release()
	}
}

// TestColdReadFails tells of a read that fails.
func TestColdReadFails(t *testing.T) {
	var ended sync.WaitGroup
	ended.Add(1)
	c := coldReads{ended: ended.Done}
	source := &coldFile{fd: -1}
	source.refs.Store(2) // it is not to be closed
	r := c.submit(source, mover.Range{Off: 0, End: 10})
	<-r.done
	ended.Wait()
	if r.err != syscall.EBADF {
		t.Errorf("%v", r.err)
	}
}
