package guest

import (
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/testenv"
)

// awaitReads waits until nothing of f is under way.
func awaitReads(t *testing.T, f *Guests) {
	t.Helper()
	if !testenv.Eventually(30*time.Second, func() bool { return f.Stats().UnderWay == 0 }) {
		t.Fatalf("%d reads are under way", f.Stats().UnderWay)
	}
}

// TestColdReads makes many reads of a file by both ways: all are counted, and the
// last one to end closes the file.
func TestColdReads(t *testing.T) {
	testenv.LeakCheck(t)
	const reads = 200
	for _, reader := range []bool{true, false} {
		file := testenv.Borrow(t, testenv.NewPattern(40).File(t, t.TempDir(), 1<<20))
		if !reader {
			file.Reader = -1
		}
		source, err := openCold(file)
		if err != nil {
			t.Fatal(err)
		}
		file.Reader = -1 // it is the source's
		f := &Guests{cold: mover.NewPool(coldWorkers)}
		all := make([]*coldRead, reads)
		for i := range all {
			all[i] = f.read(new(mover.State), source, mover.Range{Off: 0, End: 2 << 20}) // more than there is
		}
		source.release()
		for i, r := range all {
			<-r.done
			if r.Err != 0 {
				t.Errorf("read %d: %v", i, r.Err)
			}
		}
		awaitReads(t, f)
		if n := source.refs.Load(); n != 0 {
			t.Errorf("%d references are left", n)
		}
		if n := f.Stats().ColdReads; n != reads {
			t.Errorf("%d reads are counted, want %d", n, reads)
		}
	}
}

// TestColdReadFails tells of a read that fails.
func TestColdReadFails(t *testing.T) {
	source := &coldFile{Source: mover.Source{FD: -1, Reader: -1}}
	source.refs.Store(1) // it is not to be closed
	f := &Guests{cold: mover.NewPool(coldWorkers)}
	r := f.read(new(mover.State), source, mover.Range{Off: 0, End: 10})
	<-r.done
	awaitReads(t, f)
	if r.Err != syscall.EBADF {
		t.Errorf("%v", r.Err)
	}
}
