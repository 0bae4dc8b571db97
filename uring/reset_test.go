package uring

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiotest"
	"github.com/fserve/fserve/internal/testenv"
)

// TestConformanceVerifyingAll runs the suite as on a kernel that loses resets.
func TestConformanceVerifyingAll(t *testing.T) {
	testenv.NeedUring(t)
	aiotest.Run(t, func(t testing.TB, cfg aio.Config) aio.Driver {
		d, err := New(cfg)
		if err != nil {
			t.Fatalf("new uring driver: %v", err)
		}
		d.verifying = verifyAll
		return d
	})
}

// TestLosesResets: the question has an answer, and leaves nothing behind.
func TestLosesResets(t *testing.T) {
	d := newTestDriver(t, aio.Config{RecvBuffers: 4})
	told, err := d.tellsReset()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("this kernel tells a reset behind bytes: %v", told)
}

// TestLostResetIsFound has the ring know nothing of the reset: its receive
// stands on another connection, on which nothing happens. The bytes are a
// completion of the test's own.
func TestLostResetIsFound(t *testing.T) {
	for _, v := range []verification{verifyFirst, verifyAll} {
		d := newTestDriver(t, aio.Config{RecvBuffers: 4})
		d.verifying = v
		forgotten, peer := testenv.Pair(t, testenv.SockOptions{})
		quiet, _ := testenv.Pair(t, testenv.SockOptions{})
		tok := aio.MakeToken(0, 1)
		if err := d.Open(tok, quiet); err != nil {
			t.Fatal(err)
		}
		ev := make([]aio.Event, 4)
		if n, err := d.Wait(ev, 0); n != 0 || err != nil { // arms the receive
			t.Fatalf("%d events, %v", n, err)
		}
		d.At(tok).FD = int32(forgotten)
		if v == verifyAll { // one without a reset comes first
			complete(t, d, tok, &ev[0])
		}
		peer.Reset()
		complete(t, d, tok, &ev[0])
		told := testenv.Eventually(10*time.Second, func() bool {
			n, err := d.Wait(ev, time.Millisecond)
			return n == 1 && err == nil && ev[0].Op == aio.Received && ev[0].Err == syscall.ECONNRESET
		})
		if !told {
			t.Errorf("verification %d: the reset was not told", v)
		}
		unix.Close(quiet)
	}
}

// complete has the driver believe that its receive has delivered a byte.
func complete(t *testing.T, d *Driver, tok aio.Token, ev *aio.Event) {
	t.Helper()
	if !d.complete(completion{opRecv.of(tok), 1, cqeMore}, ev) || ev.Op != aio.Received {
		t.Fatalf("no bytes, but %v", ev.Op)
	}
}

// newTestDriver returns a driver that the end of the test destroys.
func newTestDriver(t *testing.T, cfg aio.Config) *Driver {
	t.Helper()
	testenv.NeedUring(t)
	testenv.LeakCheck(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Destroy(); err != nil {
			t.Error(err)
		}
	})
	return d
}
