package lease

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const writerEnv = "LEASE_TEST_WRITER"

// TestMain: the writer is another process, as it is in life.
func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err == nil {
			_, err = f.WriteString("new")
		}
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// file makes a file and opens it for reading.
func file(t *testing.T, name string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func take(t *testing.T, w *Watch, fd int32) {
	t.Helper()
	switch e := w.Take(fd); e {
	case 0:
	case syscall.EINVAL, syscall.ENOSYS:
		t.Skipf("no leases here: %v", e)
	default:
		t.Fatal(e)
	}
}

// TestBreak: a writer is held until the lease is given up, and the watch says of which
// descriptor it was.
func TestBreak(t *testing.T) {
	var w Watch
	defer w.Close()
	files := []*os.File{file(t, "a"), file(t, "b"), file(t, "c")}
	broken := make(chan int32, 10)
	defer w.Subscribe(func(fd int32) { broken <- fd })()
	for _, f := range files {
		take(t, &w, int32(f.Fd()))
	}
	fd := int32(files[1].Fd())
	writer := exec.Command("/proc/self/exe")
	writer.Env = append(os.Environ(), writerEnv+"="+files[1].Name())
	writer.Stderr = os.Stderr
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if got := <-broken; got != fd {
		t.Errorf("descriptor %d is said to be broken, want %d", got, fd)
	}
	if w.Held(fd) || !w.Held(int32(files[0].Fd())) {
		t.Error("the wrong lease is broken")
	}
	buf := make([]byte, 10)
	for range 20 { // the writer is held all the while
		if n, err := files[1].ReadAt(buf, 0); string(buf[:n]) != "old" {
			t.Fatalf("read %q: %v", buf[:n], err)
		}
		time.Sleep(time.Millisecond)
	}
	w.Give(fd)
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	if n, _ := files[1].ReadAt(buf, 0); string(buf[:n]) != "new" {
		t.Errorf("read %q after the writer has ended", buf[:n])
	}
	if len(broken) != 0 {
		t.Errorf("%d more breaks", len(broken))
	}
	take(t, &w, fd) // again
}

// TestRefused: what is open for writing gets no lease, nor does what is mapped so.
func TestRefused(t *testing.T) {
	var w Watch
	defer w.Close()
	f := file(t, "f")
	take(t, &w, int32(f.Fd()))
	w.Give(int32(f.Fd()))
	writer, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e := w.Take(int32(f.Fd())); e != syscall.EAGAIN {
		t.Errorf("open for writing: %v", e)
	}
	p, err := unix.Mmap(int(writer.Fd()), 0, 3, unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if e := w.Take(int32(f.Fd())); e != syscall.EAGAIN {
		t.Errorf("mapped for writing: %v", e)
	}
	if err := unix.Munmap(p); err != nil {
		t.Fatal(err)
	}
	if e := w.Take(int32(f.Fd())); e != 0 {
		t.Errorf("closed: %v", e)
	}
}

// TestSubscribers: each of them is told, until it ends that.
func TestSubscribers(t *testing.T) {
	var w Watch
	defer w.Close()
	f := file(t, "f")
	var told [2]chan int32
	var cancel [2]func()
	for i := range told {
		told[i] = make(chan int32, 4)
		cancel[i] = w.Subscribe(func(fd int32) { told[i] <- fd })
	}
	fd := int32(f.Fd())
	for round := range 2 {
		take(t, &w, fd)
		// Without waiting the open fails, and breaks the lease all the same.
		if _, err := unix.Open(f.Name(), unix.O_WRONLY|unix.O_NONBLOCK, 0); err != unix.EAGAIN {
			t.Fatal(err)
		}
		got := []int32{<-told[0]}
		if round == 0 {
			got = append(got, <-told[1])
			cancel[1]()
		}
		if slices.ContainsFunc(got, func(g int32) bool { return g != fd }) {
			t.Errorf("told of %v, want %d", got, fd)
		}
		w.Give(fd)
	}
	if len(told[1]) != 0 {
		t.Error("told after it has ended that")
	}
	cancel[0]()
}

// TestClose ends the thread, also when none was ever started.
func TestClose(t *testing.T) {
	var w Watch
	w.Close()
	if e := w.Take(0); e != syscall.ENOSYS {
		t.Errorf("a lease of a closed watch: %v", e)
	}
}
