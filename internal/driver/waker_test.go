package driver

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

// TestWaker signals once however often it is called, and again when that was seen.
func TestWaker(t *testing.T) {
	testenv.LeakCheck(t)
	var w Waker
	w.Wake() // nobody is there
	w.Seen()
	if err := w.Open(unix.EFD_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if sys.Readable(w.FD) {
			t.Error("woken by nobody")
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(w.Wake)
		}
		all.Wait()
		var b [8]byte
		if n, err := unix.Read(int(w.FD), b[:]); n != 8 || err != nil || b != [8]byte{1} {
			t.Errorf("read %d bytes %v, %v, want one signal", n, b, err)
		}
		w.Seen()
	}
	fd := w.FD
	w.Close()
	w.Close()
	// Whoever has the number next is not written to.
	other, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if other != int(fd) {
		if err := unix.Dup3(other, int(fd), unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(int(fd))
	}
	w.Wake()
	if sys.Readable(int32(other)) {
		t.Error("a waker that is closed has written")
	}
}
