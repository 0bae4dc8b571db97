package uring_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/uring"
)

// Those that share a listening socket take turns: a loop does not stay the first
// whom the kernel wakes.
func TestSharedListenersTakeTurns(t *testing.T) {
	testenv.NeedUring(t)
	const rounds = 20
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, err := uring.New(aio.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Destroy(); err != nil {
			t.Error(err)
		}
	}()
	fd := testenv.Listen(t)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range []int{fd, dup} {
		if err := d.Listen(aio.MakeToken(uint32(i), 1), fd, true); err != nil {
			t.Fatal(err)
		}
	}
	var got [2]int
	ev := make([]aio.Event, 8)
	turn := func(timeout time.Duration) (events int) {
		n, err := d.Wait(ev, timeout)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ev[:n] {
			if e.Op != aio.Accepted || e.Err != 0 {
				t.Fatalf("%+v", e)
			}
			unix.Close(int(e.FD))
			got[e.Token.Slot()]++
		}
		return n
	}
	for range rounds {
		turn(0) // who has accepted waits again, before the next one comes
		testenv.NewPeer(t, testenv.SockOptions{}).Connect(t, fd)
		for deadline := time.Now().Add(20 * time.Second); turn(10*time.Millisecond) == 0; {
			if time.Now().After(deadline) {
				t.Fatal("no connection")
			}
		}
	}
	if got != [2]int{rounds / 2, rounds / 2} {
		t.Errorf("the two have accepted %v", got)
	}
}
