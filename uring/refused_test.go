package uring

import (
	"syscall"
	"testing"
	"time"

	iouring "github.com/iceber/iouring-go/syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/testenv"
)

// refuse fills the submission queue and has the kernel take nothing from it, until
// the function that it returns is called.
func refuse(d *Driver) (restore func()) {
	fd := d.ring.fd
	d.ring.fd = -1
	nobody := aio.MakeToken(aio.MaxSlots-1, 1)
	for d.cancel(opPoll, nobody, new(phase)) {
	}
	return func() { d.ring.fd = fd }
}

// TestNothingTaken has the ring take nothing while connections are opened, closed
// and sent cold files, and while the driver is woken. All of it happens when the
// ring takes something again, but for the fetch, without which the file is sent.
func TestNothingTaken(t *testing.T) {
	file := testenv.NewPattern(70).File(t, t.TempDir(), 1<<20)
	testenv.NeedCold(t, file)
	f := testenv.Borrow(t, file)
	mover.Reader(f) // is there before the driver's check for leaks
	d := newTestDriver(t, aio.Config{})
	old, young := aio.MakeToken(0, 1), aio.MakeToken(1, 1)
	fd, _ := testenv.Pair(t, testenv.SockOptions{})
	if err := d.Open(old, fd); err != nil {
		t.Fatal(err)
	}
	ev := make([]aio.Event, 16)
	if n, err := d.Wait(ev, 0); n != 0 || err != nil { // arms the receive
		t.Fatalf("%d events, %v", n, err)
	}
	d.Wake()
	if e := d.ring.enter(1, enterGetEvents, nil, true); e != 0 {
		t.Fatal(e)
	}

	restore := refuse(d)
	if n := d.reap(ev); n != 0 || d.wake != idle || d.armWake() {
		t.Fatalf("%d events, the wake-up is %d", n, d.wake)
	}
	if sent := d.SendFile(old, f, 0, 1000, false); sent.N != 1000 || f.Pins != 0 {
		t.Errorf("cold file: %d bytes, status %d, %v, %d pins", sent.N, sent.Status, sent.Err, f.Pins)
	}
	fd, peer := testenv.Pair(t, testenv.SockOptions{})
	if err := d.Open(young, fd); err != nil {
		t.Fatal(err)
	}
	peer.MustSend(t, []byte("x"))
	d.Close(old, false)
	restore()

	closed, received := false, false
	for deadline := time.Now().Add(30 * time.Second); !closed || !received; {
		n, err := d.Wait(ev, 10*time.Millisecond)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("closed %v, received %v, %v", closed, received, err)
		}
		for _, e := range ev[:n] {
			closed = closed || e.Token == old && e.Op == aio.Closed
			received = received || e.Token == young && e.Op == aio.Received && len(e.Data) == 1
		}
	}
	go d.Wake()
	start := time.Now()
	if n, err := d.Wait(ev, time.Minute); n != 0 || err != nil || time.Since(start) > 30*time.Second {
		t.Errorf("%d events, %v, woken after %v", n, err, time.Since(start))
	}
}

// TestKernelShortOfMemory has the kernel refuse to be entered for lack of memory: that is
// no failure, and everything goes on when there is some.
func TestKernelShortOfMemory(t *testing.T) {
	d := newTestDriver(t, aio.Config{})
	fd, peer := testenv.Pair(t, testenv.SockOptions{})
	if err := d.Open(aio.MakeToken(0, 1), fd); err != nil {
		t.Fatal(err)
	}
	peer.MustSend(t, []byte("x"))
	ev := make([]aio.Event, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		testenv.Deny(t, syscall.ENOMEM, iouring.SYS_IO_URING_ENTER)
		if n, err := d.Wait(ev, -1); n != 0 || err != nil || d.Counters.Errors[aio.Wait] != 1 {
			t.Errorf("%d events, %v, %d errors are counted", n, err, d.Counters.Errors[aio.Wait])
		}
	}()
	<-done
	if n, err := d.Wait(ev, -1); n != 1 || err != nil || ev[0].Op != aio.Received {
		t.Errorf("%d events, %v", n, err)
	}
}
