package fallback

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// next waits for one event.
func (r *rig) next(t *testing.T) aio.Event {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		n, err := r.Wait(r.ev[:1], time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return r.ev[0]
		}
	}
	t.Fatal("no event")
	return aio.Event{}
}

// TestOpenErrors checks what Open refuses: the caller keeps the descriptor, and
// the slot stays free.
func TestOpenErrors(t *testing.T) {
	r := newRig(t, aio.Config{})
	fd, peer := testenv.Pair(t, testenv.SockOptions{})
	defer unix.Close(fd)
	file, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	free := aio.MakeToken(1, 1)
	for _, c := range []struct {
		name string
		tok  aio.Token
		fd   int
		want syscall.Errno
	}{
		{"slot in use", aio.MakeToken(0, 2), fd, syscall.EBUSY},
		{"slot beyond the limit", aio.MakeToken(aio.MaxSlots, 1), fd, syscall.EINVAL},
		{"no descriptor", free, -1, syscall.EBADF},
		{"no socket", free, int(file.Fd()), syscall.EPERM},
	} {
		for name, open := range map[string]func(aio.Token, int) error{"open": r.Open, "listen": r.Listen} {
			if err := open(c.tok, c.fd); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", name, c.name, err, c.want)
			}
		}
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("the descriptor was closed: %v", err)
	}
	if err := r.Open(free, own); err != nil {
		t.Fatal(err)
	}
	peer.MustSend(t, []byte("x"))
	if ev := r.next(t); ev.Token != free || ev.Op != aio.Received {
		t.Errorf("%v event for %#x", ev.Op, uint64(ev.Token))
	}
}

// TestAttemptErrors checks attempts that cannot be made.
func TestAttemptErrors(t *testing.T) {
	r := newRig(t, aio.Config{})
	p := testenv.NewPattern(20)
	f := testenv.Borrow(t, p.File(t, t.TempDir(), 10<<20))
	for _, c := range []struct {
		name   string
		off, n int64
	}{
		{"negative offset", -1, 10}, {"negative length", 0, -1}, {"overflow", math.MaxInt64 - 5, 10},
	} {
		if s := r.SendFile(r.tok, f, c.off, c.n, false); s.Status != aio.Failed || s.Err != syscall.EINVAL {
			t.Errorf("%s: status %d, %v", c.name, s.Status, s.Err)
		}
	}
	for s := (aio.Sent{}); !s.Blocked(); s = r.SendFile(r.tok, f, 0, 1<<20, false) {
		if s.Status == aio.Failed {
			t.Fatal(s.Err)
		}
	}
	if s := r.Send(r.tok, []byte("x"), nil, false); s.Status != aio.Failed || s.Err != syscall.EALREADY {
		t.Errorf("attempt while blocked: status %d, %v", s.Status, s.Err)
	}
	if s := r.Send(aio.MakeToken(0, 7), []byte("x"), nil, false); s.Status != aio.Failed || s.Err != syscall.EBADF {
		t.Errorf("attempt on another generation: status %d, %v", s.Status, s.Err)
	}
}

// TestDuplicatedListener closes a listener that lives on in a duplicate, with a
// connection waiting: it must not be reported for ever.
func TestDuplicatedListener(t *testing.T) {
	r := newRig(t, aio.Config{})
	fd := testenv.Listen(t)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	tok := aio.MakeToken(1, 1)
	if err := r.Listen(tok, fd); err != nil {
		t.Fatal(err)
	}
	r.Close(tok, false)
	if ev := r.next(t); ev.Op != aio.Closed {
		t.Fatalf("%v event", ev.Op)
	}
	testenv.NewPeer(t, testenv.SockOptions{}).Connect(t, dup)
	before := r.Stats().Completions
	for range 10 {
		if n, err := r.Wait(r.ev, time.Millisecond); n != 0 || err != nil {
			t.Fatalf("%d events, %v", n, err)
		}
	}
	if n := r.Stats().Completions - before; n != 0 {
		t.Errorf("epoll reported a closed listener %d times", n)
	}
}

// TestComesBack opens a socket again under the number that it had when it was
// closed, while a duplicate kept it alive.
func TestComesBack(t *testing.T) {
	r := newRig(t, aio.Config{})
	fd, peer := testenv.Pair(t, testenv.SockOptions{})
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	for gen := range uint32(3) {
		tok := aio.MakeToken(1, gen)
		if err := r.Open(tok, fd); err != nil {
			t.Fatal(err)
		}
		peer.MustSend(t, []byte("x"))
		if ev := r.next(t); ev.Token != tok || ev.Op != aio.Received {
			t.Fatalf("%v event for %#x", ev.Op, uint64(ev.Token))
		}
		r.Close(tok, false)
		if ev := r.next(t); ev.Token != tok || ev.Op != aio.Closed {
			t.Fatalf("%v event for %#x", ev.Op, uint64(ev.Token))
		}
		if err := unix.Dup3(dup, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(fd)
}

// TestResetTold has a send take the error of the connection: the end of the
// stream of received bytes must not look like an orderly one.
func TestResetTold(t *testing.T) {
	r := newRig(t, aio.Config{})
	r.peer.Reset()
	if s := r.Send(r.tok, []byte("x"), nil, false); s.Status != aio.Failed || s.Err != syscall.ECONNRESET {
		t.Fatalf("status %d, %v", s.Status, s.Err)
	}
	if ev := r.next(t); ev.Op != aio.Received || ev.Err != syscall.ECONNRESET {
		t.Errorf("%v event, %v", ev.Op, ev.Err)
	}
}

// TestFairness has some connections with much to say and many that send one
// byte: a few turns are enough for all to have their share, although there are
// fewer buffers than connections and hundreds of turns would be needed for the
// backlog.
func TestFairness(t *testing.T) {
	const loud, quiet, buffers = 16, 50, 8
	r := newRig(t, aio.Config{RecvBuffers: buffers, RecvBufferSize: 1024})
	r.ev = make([]aio.Event, 4*(loud+quiet))
	peers := make([]*testenv.Peer, loud+quiet)
	for i := range peers {
		var fd int
		fd, peers[i] = testenv.Pair(t, testenv.SockOptions{})
		if err := r.Open(aio.MakeToken(uint32(i+1), 1), fd); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.Wait(r.ev, 0); n != 0 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	const backlog = 128 << 10
	for _, p := range peers[:loud] {
		for n, b := 0, make([]byte, backlog); n < backlog; {
			k, e := p.Send(b[n:])
			if e == syscall.EAGAIN {
				break // as much as the sockets take: tens of KiB at least
			}
			n += k
		}
	}
	// The loud ones are known to the driver before the quiet ones speak.
	if n, err := r.Wait(r.ev, time.Second); n != buffers || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	for _, p := range peers[loud:] {
		p.MustSend(t, []byte{1})
	}
	served := 0
	for turn := 1; served < quiet; turn++ {
		if turn > 10*(loud+quiet)/buffers {
			t.Fatalf("%d of %d served after %d turns", served, quiet, turn)
		}
		n, err := r.Wait(r.ev, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n > buffers {
			t.Fatalf("%d events with bytes in %d buffers", n, buffers)
		}
		for _, ev := range r.ev[:n] {
			if ev.Token.Slot() > loud {
				served++
			}
		}
	}
}

func TestQueue(t *testing.T) {
	var q queue
	q.grow(4)
	for i := range uint32(3) {
		q.push(i)
	}
	q.pop()
	q.pop()
	for i := range uint32(3) {
		q.push(3 + i) // around the end
	}
	q.grow(8)
	for i := range uint32(4) {
		q.push(6 + i)
	}
	for want := uint32(2); want < 10; want++ {
		if got := q.front(); got != want {
			t.Fatalf("front is %d, want %d", got, want)
		}
		q.pop()
	}
	if q.n != 0 {
		t.Errorf("%d left", q.n)
	}
}

// TestPipes checks that empty pipes are kept up to the bound, and that dirty
// ones never are.
func TestPipes(t *testing.T) {
	testenv.LeakCheck(t)
	var ps pipes
	var stats aio.Stats
	defer ps.free()
	var all []int32
	for range maxIdlePipes + 5 {
		i, err := ps.get(&stats)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	ps.table[all[0]].n = 1
	for _, i := range all {
		ps.put(i, &stats)
	}
	if stats.PipesOpen != maxIdlePipes || len(ps.idle) != maxIdlePipes {
		t.Errorf("%d pipes open, %d idle, want %d", stats.PipesOpen, len(ps.idle), maxIdlePipes)
	}
	for range maxIdlePipes + 1 {
		i, err := ps.get(&stats)
		if err != nil {
			t.Fatal(err)
		}
		if p := &ps.table[i]; p.n != 0 || p.r < 0 {
			t.Fatalf("got a pipe with %d bytes, descriptor %d", p.n, p.r)
		}
	}
	if len(ps.table) != maxIdlePipes+5 {
		t.Errorf("the table has %d entries: free ones are not used again", len(ps.table))
	}
}

func TestWarm(t *testing.T) {
	w := warm{period: time.Hour}
	f, g := &aio.File{FD: 3}, &aio.File{FD: 4}
	w.record(f, 100, 200)
	w.record(f, 200, 300) // adjoins
	for _, c := range []struct {
		f      *aio.File
		off, n int64
		want   bool
	}{
		{f, 100, 200, true}, {f, 150, 1, true}, {f, 99, 10, false}, {f, 299, 2, false}, {f, 300, 1, false},
		{g, 100, 10, false}, {&aio.File{FD: 3}, 100, 10, false},
	} {
		if got := w.covers(c.f, c.off, c.n); got != c.want {
			t.Errorf("covers %d bytes from %d of %d: %v", c.n, c.off, c.f.FD, got)
		}
	}
	w.record(f, 1000, 1100) // apart: takes its place
	if w.covers(f, 100, 10) || !w.covers(f, 1000, 100) {
		t.Error("the last range does not replace the one before")
	}
	f.FD = 5
	if w.covers(f, 1000, 10) {
		t.Error("covers another descriptor")
	}
	w.period = 0
	w.record(g, 0, 10)
	if w.covers(g, 0, 10) {
		t.Error("covers what is past its time")
	}
	for range 3 * maxWarm {
		w.record(&aio.File{}, 0, 10)
	}
	if len(w.ranges) > maxWarm {
		t.Errorf("%d files remembered, limit is %d", len(w.ranges), maxWarm)
	}
}

// TestFetcherStops stops a fetcher that has more to do than workers: it drops
// the rest and leaves no goroutine.
func TestFetcherStops(t *testing.T) {
	testenv.LeakCheck(t)
	file := testenv.NewPattern(21).File(t, t.TempDir(), 1<<20)
	wakes := make(chan struct{}, 100)
	before := runtime.NumGoroutine()
	f := newFetcher(2, func() { wakes <- struct{}{} })
	for i := range uint32(100) {
		f.submit(fetch{slot: i, fd: int32(file.Fd()), n: 1 << 20})
	}
	<-wakes
	f.stop()
	if f.workers > 2 {
		t.Errorf("%d workers, limit is 2", f.workers)
	}
	results := f.take(nil)
	if len(results) == 0 || len(results) != len(wakes)+1 {
		t.Errorf("%d results, %d wake-ups", len(results), len(wakes)+1)
	}
	for _, r := range results {
		if r.err != 0 {
			t.Errorf("fetch: %v", r.err)
		}
	}
	// Descriptors are not touched after stop: nobody was still at work.
	testenv.Eventually(5*time.Second, func() bool { return runtime.NumGoroutine() <= before })
	if late := f.take(nil); len(late) > 0 {
		t.Errorf("%d fetches ended after stop", len(late))
	}
}
