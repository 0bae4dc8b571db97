package openfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// slowTree is a tree with a slow file system at root/slow, which shows other/.
func slowTree(t *testing.T) (root string, slow *testenv.SlowFS) {
	t.Helper()
	root = tree(t)
	other := t.TempDir()
	at := filepath.Join(root, "slow")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(other, "f"), []byte("remote"))
	return root, testenv.NewSlowFS(t, other, at)
}

// TestMountsAreNotWaitedFor: what lies on another file system than its local root is never
// opened where that must not wait, and nothing of a remote root is. The kernel asks the
// file system nothing.
func TestMountsAreNotWaitedFor(t *testing.T) {
	testenv.LeakCheck(t)
	root, slow := slowTree(t)
	for _, test := range []struct {
		name, dir, file string
		remote          bool
	}{
		{"mount", root, "slow/f", false},
		{"root", filepath.Join(root, "slow"), "f", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := openRoot(t, test.dir, SymlinksInside, false)
			if r.Remote() != test.remote {
				t.Errorf("the root is remote: %v", r.Remote())
			}
			got := r.Open(test.file, false) // so that the kernel knows the name
			if got.Err != 0 || got.From != Far(r) {
				t.Fatalf("opened: %v, remote: %v", got.Err, got.From != nil)
			}
			before, _ := slow.Calls("open")
			if o := r.Open(test.file, true); o.Err != unix.EAGAIN {
				t.Errorf("without waiting: %v, want %v", o.Err, unix.EAGAIN)
			}
			if after, _ := slow.Calls("open"); after != before {
				t.Error("the file system was asked")
			}
			unix.Close(int(got.FD))
		})
	}
}

// TestHangingMountIsBounded: opens that hang take a bounded number of threads, a bounded
// number waits, the others are busy at once; and files of the root itself are opened all the
// while.
func TestHangingMountIsBounded(t *testing.T) {
	testenv.LeakCheck(t)
	root, slow := slowTree(t)
	r := openRoot(t, root, SymlinksInside, false)
	slow.Delay("open", time.Hour)
	const more = 300
	done := make(chan *Opening, poolThreads+poolWaiting+more)
	for range poolThreads + poolWaiting + more {
		o := &Opening{Names: []string{"slow/f"}}
		o.Done = func() { done <- o }
		r.Begin(o)
		if o := r.Open("plain", false); o.Err != 0 { // and o has its turn in the pool before
			t.Fatalf("a local file: %v", o.Err)
		} else {
			unix.Close(int(o.FD))
		}
	}
	for range more {
		if o := <-done; o.Got[0].Err != unix.EBUSY {
			t.Fatalf("one too many: %v", o.Got[0].Err)
		}
	}
	if !testenv.Eventually(patience, func() bool { _, n := slow.Calls("open"); return n == poolThreads }) {
		_, n := slow.Calls("open")
		t.Errorf("%d opens run, want %d", n, poolThreads)
	}
	slow.Delay("open", 0)
	for range poolThreads + poolWaiting {
		o := <-done
		if o.Got[0].Err != 0 {
			t.Fatal(o.Got[0].Err)
		}
		unix.Close(int(o.Got[0].FD))
	}
	if n := threads.Load(); n > 2*poolThreads {
		t.Errorf("%d threads", n)
	}
}

// TestRemoteFiles: the content of a small one comes with it, and to let go of one waits for
// nothing.
func TestRemoteFiles(t *testing.T) {
	root, slow := slowTree(t)
	c := newCacheTest(t, onFallback, Config{MaxBody: 100})
	r := openRoot(t, root, SymlinksInside, false)
	open := func() *File {
		t.Helper()
		done := make(chan struct{})
		o := Opening{Names: []string{"slow/f"}, MaxBody: c.fs.MaxContent(), Done: func() { close(done) }}
		r.Begin(&o)
		<-done
		f, e := c.fs.Add("f", o.Got[0], Policy{})
		if e != 0 {
			t.Fatal(e)
		}
		return f
	}
	f := open()
	if !f.Remote() || string(f.Body) != "remote" {
		t.Errorf("remote: %v, content %q", f.Remote(), f.Body)
	}
	slow.Delay("flush", time.Hour)
	if open() != f { // the second descriptor goes
		t.Error("the file has not changed")
	}
	c.fs.Prune(func(string, *File) bool { return false })
	if !testenv.Eventually(patience, func() bool { _, n := slow.Calls("flush"); return n == 2 }) {
		t.Error("the descriptors are not closed")
	}
	slow.Delay("flush", 0)
}

// TestLeaseOfAnother: an open waits for another process's lease without a thread or work
// for the processor, and is busy in the end.
func TestLeaseOfAnother(t *testing.T) {
	root := tree(t)
	r := openRoot(t, root, SymlinksInside, false)
	holder, err := os.OpenFile(filepath.Join(root, "plain"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	lease := func(kind int) {
		t.Helper()
		if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, kind); err != nil {
			t.Skipf("skipped, needs leases: %v", err)
		}
	}
	lease(unix.F_WRLCK)
	if o := r.Open("plain", true); o.Err != unix.EAGAIN {
		t.Errorf("without waiting: %v, want %v", o.Err, unix.EAGAIN)
	}
	done := make(chan struct{})
	o := &Opening{Names: []string{"plain"}, Done: func() { close(done) }}
	before := processor(t)
	const watched = 500 * time.Millisecond
	r.Begin(o)
	select {
	case <-done:
		t.Fatalf("opened while the lease is held: %v", o.Got[0].Err)
	case <-time.After(watched):
	}
	if used := processor(t) - before; used > watched/2 {
		t.Errorf("%v of processor time were used in %v of waiting", used, watched)
	}
	lease(unix.F_UNLCK)
	<-done
	if o.Got[0].Err != 0 {
		t.Fatalf("after the lease was given up: %v", o.Got[0].Err)
	}
	unix.Close(int(o.Got[0].FD))

	lease(unix.F_WRLCK)
	done = make(chan struct{})
	o = &Opening{Names: []string{"plain"}, Done: func() { close(done) }}
	o.pause, o.since = lastPause, time.Now().Add(-2*leasePatience) // it has waited for long
	r.Begin(o)
	<-done
	if o.Got[0].Err != unix.EBUSY {
		t.Errorf("in the end: %v, want %v", o.Got[0].Err, unix.EBUSY)
	}
}

// processor returns the processor time that the process has used.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
