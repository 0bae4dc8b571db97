package mover

import (
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// eachMode runs a test for each way of sending and each way of waiting.
func eachMode(t *testing.T, run func(t *testing.T, mode aio.Mode, edge bool)) {
	for _, mode := range []aio.Mode{aio.Sendfile, aio.Splice, aio.Copy} {
		for _, edge := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %d, edge %v", mode, edge), func(t *testing.T) { run(t, mode, edge) })
		}
	}
}

// TestPartialSends sends a file through a socket that takes little at a time.
func TestPartialSends(t *testing.T) {
	eachMode(t, func(t *testing.T, mode aio.Mode, edge bool) {
		const size = 1<<20 + 11
		p := testenv.NewPattern(1)
		_, f := file(t, p, size)
		r := newRig(t, aio.Config{Mode: mode})
		r.Edge = edge
		blocked := 0
		deadline := time.Now().Add(30 * time.Second)
		for off := int64(0); off < size || len(r.got) < size; {
			if time.Now().After(deadline) {
				t.Fatalf("no end: %d bytes sent, %d received", off, len(r.got))
			}
			if off < size {
				s, _ := r.Send(r.sock, &r.st, f, off, size-off, false)
				if s.Status > aio.BlockedSocket {
					t.Fatalf("at %d: status %d, %v", off, s.Status, s.Err)
				}
				off += s.N
				if s.Status == aio.OK && off < size {
					continue
				}
				blocked++
			}
			r.receive()
		}
		if err := p.Check(r.got, 0); err != nil {
			t.Error(err)
		}
		if blocked < 2 { // the last attempt counts too
			t.Error("the socket was never full")
		}
		if via := ways[mode]; mode != aio.Copy && r.stats.Bytes[via[0]] != size {
			t.Errorf("bytes by way: %v", r.stats.Bytes)
		}
	})
}

// TestFullSocket checks that with Edge an attempt is blocked only when the
// socket takes not another byte.
func TestFullSocket(t *testing.T) {
	for _, mode := range []aio.Mode{aio.Sendfile, aio.Splice, aio.Copy} {
		t.Run(fmt.Sprintf("mode %d", mode), func(t *testing.T) {
			p := testenv.NewPattern(2)
			_, f := file(t, p, 4<<20)
			r := newUnixRig(t, aio.Config{Mode: mode})
			r.Edge = true
			off := int64(0)
			for range 5 {
				off = r.fill(f, off)
				if err := unix.Send(int(r.sock), []byte{0}, unix.MSG_DONTWAIT); err != unix.EAGAIN {
					t.Fatalf("blocked at %d, and yet the socket takes a byte: %v", off, err)
				}
				for r.receive() {
				}
			}
			if err := p.Check(r.got, 0); err != nil || int64(len(r.got)) != off {
				t.Errorf("%d bytes sent, %d received, %v", off, len(r.got), err)
			}
		})
	}
}

// TestShortFile asks for more than the file has. What there is goes out; that
// it was all the next attempt tells. Without edges the short count may be taken
// for a full socket, which is ready at once.
func TestShortFile(t *testing.T) {
	eachMode(t, func(t *testing.T, mode aio.Mode, edge bool) {
		const size = 10_000
		_, f := file(t, testenv.NewPattern(3), size)
		r := newUnixRig(t, aio.Config{Mode: mode})
		r.Edge = edge
		s, _ := r.Send(r.sock, &r.st, f, 0, 2*size, false)
		if s.N != size || s.Status != aio.OK && (edge || s.Status != aio.BlockedSocket) {
			t.Errorf("%d sent, status %d, %v", s.N, s.Status, s.Err)
		}
		r.send(f, size, size, aio.EOF)
	})
}

// TestJump goes on elsewhere, or in another file, while bytes are in the pipe:
// none of them may come out.
func TestJump(t *testing.T) {
	const size = 2 << 20
	p, q := testenv.NewPattern(4), testenv.NewPattern(5)
	for _, c := range []struct {
		name  string
		other bool  // file
		jump  int64 // from where the last attempt ended
	}{
		{"back", false, -1000}, {"ahead", false, 1000}, {"other file, same offset", true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, f := file(t, p, size)
			g, want := f, p
			if c.other {
				_, g = file(t, q, size)
				want = q
			}
			r := newUnixRig(t, aio.Config{Mode: aio.Splice})
			end := r.fill(f, 0)
			if r.st.pipe == nil || r.stats.PipesOpen != 1 {
				t.Fatal("fault of the test: no bytes in the pipe")
			}
			for r.receive() {
			}
			epoch := r.st.Epoch
			s, _ := r.Send(r.sock, &r.st, g, end+c.jump, 1000, false)
			if s.N == 0 || s.Status > aio.BlockedSocket {
				t.Fatalf("status %d, %v", s.Status, s.Err)
			}
			if r.st.Epoch == epoch {
				t.Error("the epoch is the same")
			}
			if r.stats.PipesOpen > 1 {
				t.Errorf("%d pipes are open for one slot", r.stats.PipesOpen)
			}
			for r.receive() {
			}
			if int64(len(r.got)) != end+s.N {
				t.Fatalf("%d bytes received, %d were sent", len(r.got), end+s.N)
			}
			if err := p.Check(r.got[:end], 0); err != nil {
				t.Error(err)
			}
			if err := want.Check(r.got[end:], end+c.jump); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEpoch checks which attempts make a State forget.
func TestEpoch(t *testing.T) {
	_, f := file(t, testenv.NewPattern(6), 10_000)
	_, g := file(t, testenv.NewPattern(7), 10_000)
	r := newUnixRig(t, aio.Config{})
	epoch := r.st.Epoch
	check := func(what string, forgets bool) {
		t.Helper()
		if (r.st.Epoch != epoch) != forgets {
			t.Errorf("%s: epoch %d after %d", what, r.st.Epoch, epoch)
		}
		epoch = r.st.Epoch
	}
	r.send(f, 100, 100, aio.OK)
	check("the first attempt", true)
	r.send(f, 200, 100, aio.OK)
	check("the next bytes", false)
	r.send(f, 1000, 0, aio.OK)
	check("nothing", false)
	r.send(f, -1, 1, aio.Failed)
	check("an error", false)
	r.send(f, 200, 100, aio.OK)
	check("the same bytes again", true)
	r.send(g, 300, 100, aio.OK)
	check("another file", true)
	r.Reset(&r.st)
	check("Reset", true)
}

func TestSendErrors(t *testing.T) {
	_, f := file(t, testenv.NewPattern(8), 100)
	r := newUnixRig(t, aio.Config{})
	for _, c := range []struct{ off, n int64 }{
		{-1, 10}, {0, -1}, {math.MaxInt64 - 5, 10}, {math.MaxInt64, math.MaxInt64},
	} {
		if s, _ := r.send(f, c.off, c.n, aio.Failed); s.Err != syscall.EINVAL {
			t.Errorf("%d bytes from %d: %v, want %v", c.n, c.off, s.Err, syscall.EINVAL)
		}
	}
	if f.Refused != 0 {
		t.Error("an error of the caller is taken for a refusal")
	}
	for _, mode := range []aio.Mode{aio.Auto, aio.Sendfile, aio.Splice, aio.Copy} {
		r.mode = mode
		r.send(&aio.File{FD: -1, Size: 100, ResidentUntil: math.MaxInt64}, 0, 10, aio.Failed)
	}
}

// TestFileSaysAgain has reads of the file answer EAGAIN: nobody would ever be
// woken for that.
func TestFileSaysAgain(t *testing.T) {
	for _, c := range []struct {
		mode aio.Mode
		call uintptr
	}{{aio.Splice, unix.SYS_SPLICE}, {aio.Copy, unix.SYS_PREAD64}} {
		t.Run(fmt.Sprintf("mode %d", c.mode), func(t *testing.T) {
			_, f := file(t, testenv.NewPattern(9), 100_000)
			r := newUnixRig(t, aio.Config{Mode: c.mode})
			testenv.Deny(t, syscall.EAGAIN, c.call)
			if s, _ := r.send(f, 0, 1000, aio.Failed); s.Err != syscall.EIO {
				t.Errorf("%v, want %v", s.Err, syscall.EIO)
			}
		})
	}
}

// TestTakeBounds takes for many slots at once: each holds two descriptors and as many
// pages as were taken, so there is a bound.
func TestTakeBounds(t *testing.T) {
	_, f := file(t, testenv.NewPattern(10), 100_000)
	r := newUnixRig(t, aio.Config{Pipes: 10})
	slots := make([]State, r.maxTaken+10)
	taken := uint64(0)
	for i := range slots {
		if r.Stage(&slots[i], f, 0, 1000) {
			taken++
		}
	}
	if taken != r.maxTaken {
		t.Errorf("%d slots have taken, want %d", taken, r.maxTaken)
	}
	r.Reset(&slots[0])
	if last := &slots[len(slots)-1]; !r.Stage(last, f, 50_000, 50_000) || last.next != 50_000 {
		t.Error("nothing is taken where a pipe has come free")
	}
	for i := range slots {
		r.Reset(&slots[i])
	}
}

// TestTakeSmallPipe takes where the kernel gives small pipes only, as it does to users
// that have many already: what fits is taken, and where it does not the pipe makes room
// for others.
func TestTakeSmallPipe(t *testing.T) {
	p := testenv.NewPattern(11)
	_, f := file(t, p, 100_000)
	r := newUnixRig(t, aio.Config{})
	pipe := func(size int64) *pipe {
		q, err := r.pipes.get()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(q.w), unix.F_SETPIPE_SZ, int(size)); err != nil {
			t.Fatal(err)
		}
		q.size = int32(size)
		return q
	}
	large, small, small2 := pipe(128*pageSize), pipe(pageSize), pipe(pageSize)
	r.pipes.put(small2)
	if !r.Stage(&r.st, f, 1, pageSize-1) {
		t.Error("what fits is not taken")
	}
	if s, _ := r.send(f, 1, pageSize-1, aio.OK); s.N != pageSize-1 || s.Via != aio.ViaSplice {
		t.Errorf("%d bytes by %v", s.N, s.Via)
	}
	r.receive()
	if err := p.Check(r.got, 1); err != nil {
		t.Error(err)
	}
	r.pipes.put(large)
	r.pipes.put(small)
	if r.Stage(&r.st, f, 1, pageSize) || r.pipes.idle != 2 {
		t.Errorf("more is taken than fits; %d pipes idle", r.pipes.idle)
	}
	for range 2 {
		if r.Stage(&r.st, f, 1, 10*pageSize) {
			r.Reset(&r.st)
			return
		}
	}
	t.Error("the small pipes are in the way of the large one")
}

// TestPipePool checks that empty pipes are kept up to the bound, and that dirty
// ones never are.
func TestPipePool(t *testing.T) {
	testenv.LeakCheck(t)
	var stats aio.Stats
	pool := pipePool{stats: &stats}
	var all []*pipe
	for range maxIdlePipes + 5 {
		q, err := pool.get()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, q)
	}
	all[0].held = 1
	for _, q := range all {
		pool.put(q)
	}
	if stats.PipesOpen != maxIdlePipes || pool.idle != maxIdlePipes {
		t.Errorf("%d pipes open, %d idle, want %d", stats.PipesOpen, pool.idle, maxIdlePipes)
	}
	for range maxIdlePipes {
		q, err := pool.get()
		if err != nil {
			t.Fatal(err)
		}
		if q == all[0] || q.held != 0 {
			t.Fatalf("got a pipe with %d bytes", q.held)
		}
		defer pool.destroy(q)
	}
	if pool.idle != 0 || pool.free != nil {
		t.Errorf("%d pipes idle", pool.idle)
	}
	q, err := pool.get()
	if err != nil {
		t.Fatal(err)
	}
	pool.put(q)
	pool.close()
	if stats.PipesOpen != maxIdlePipes {
		t.Errorf("%d pipes open, want %d", stats.PipesOpen, maxIdlePipes)
	}
}

// What is known of a file is not believed of another one in its memory.
func TestSerial(t *testing.T) {
	r := newRig(t, aio.Config{})
	f := &aio.File{Serial: 1, Size: 1 << 20}
	r.restart(&r.st, f, 0)
	r.st.resident = Range{0, 1 << 20}
	if !r.st.of(f) {
		t.Error("not its own file")
	}
	*f = aio.File{Serial: 2, Size: 1 << 20}
	if r.st.of(f) {
		t.Error("another file is taken for it")
	}
	r.restart(&r.st, f, 0)
	if r.st.resident.holds(0) || !r.st.of(f) {
		t.Errorf("%+v", r.st)
	}
}
