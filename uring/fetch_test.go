package uring

import (
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/testenv"
)

// TestFetchPipes: however many fetches are queued at once, there are some pipes for each
// worker at most, and when they are done one for each.
func TestFetchPipes(t *testing.T) {
	const workers = 3
	f := fetches{kept: workers}
	var pipes []*fetchPipe
	for range 100 {
		if p := f.pipe(); p != nil {
			pipes = append(pipes, p)
		}
	}
	if len(pipes) == 0 || len(pipes) > pipesPerWorker*workers {
		t.Errorf("%d pipes, want some and at most %d", len(pipes), pipesPerWorker*workers)
	}
	for _, p := range pipes {
		f.giveBack(p)
	}
	if f.open != len(f.pipes) || f.open > workers {
		t.Errorf("%d pipes stay open, %d of them to be used again, want at most %d", f.open, len(f.pipes), workers)
	}
	if err := f.free(); err != nil || f.open != 0 {
		t.Errorf("%d pipes are left: %v", f.open, err)
	}
}

// TestFetchInVain: a fetch that the kernel has given up is not what is told of the file, and one that met a
// bad disk is.
func TestFetchInVain(t *testing.T) {
	for _, c := range []struct{ e, told syscall.Errno }{{syscall.ECANCELED, 0}, {syscall.EAGAIN, 0}, {syscall.EIO, syscall.EIO}} {
		file := testenv.NewPattern(71).File(t, t.TempDir(), 1<<20)
		testenv.NeedCold(t, file)
		f := testenv.Borrow(t, file)
		d := newTestDriver(t, aio.Config{})
		fd, _ := testenv.Pair(t, testenv.SockOptions{})
		tok := aio.MakeToken(0, 1)
		if err := d.Open(tok, fd); err != nil {
			t.Fatal(err)
		}
		s := d.Get(tok)
		if sent, r := d.Mover.Send(s.FD, &s.Move, f, 0, 1000, false); sent.Status != aio.BlockedDisk || r.Empty() {
			t.Fatalf("status %d, %+v is to be fetched", sent.Status, r)
		}
		s.Wait = driver.ForDisk
		i := d.fetches.put(fetchOp{Fetch: d.BeginFetch(tok, s, f), pipe: d.fetches.pipe()})
		d.fetches.partFailed(completion{name: opPart.ofFetch(i), res: -int32(c.e)})
		var ev aio.Event
		if told := d.fetched(completion{name: opFetch.ofFetch(i), res: -int32(c.e)}, &ev); !told || ev.Op != aio.Ready || ev.Err != c.told || f.Pins != 0 {
			t.Errorf("%v: told %v, %+v, %d pins", c.e, told, ev, f.Pins)
		}
	}
}
