package fallback

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
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

// TestOpenErrors checks what Open and Listen refuse: the caller keeps the descriptor, and
// the slot stays free. What is no socket Open takes, and reads an error.
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
	listen := func(t aio.Token, fd int) error { return r.Listen(t, fd, false) }
	for i, c := range []struct {
		name string
		tok  aio.Token
		fd   int
		want syscall.Errno
	}{
		{"slot in use", aio.MakeToken(0, 2), fd, syscall.EBUSY},
		{"slot beyond the limit", aio.MakeToken(aio.MaxSlots, 1), fd, syscall.EINVAL},
		{"no descriptor", free, -1, syscall.EBADF},
		{"no socket", free, int(file.Fd()), syscall.ENOTSOCK},
	} {
		for name, open := range map[string]func(aio.Token, int) error{"open": r.Open, "listen": listen} {
			if name == "open" && c.tok == free { // a slot for each: the last one is to be free
				tok, own := aio.MakeToken(uint32(2+i), 1), c.fd
				if own >= 0 {
					own, _ = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
				}
				if err := open(tok, own); err != nil {
					t.Errorf("%s: %v", c.name, err)
				} else if ev := r.next(t); ev.Token != tok || ev.Op != aio.Received || ev.Err == 0 {
					t.Errorf("%s: %v event, %v", c.name, ev.Op, ev.Err)
				}
				continue
			}
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

// TestNotWatched has epoll refuse a connection that was read from: what waits for room in its
// socket hears of it, and the end is read.
func TestNotWatched(t *testing.T) {
	r := newRig(t, aio.Config{})
	fd, peer := testenv.Pair(t, testenv.SockOptions{SendBuffer: 16 << 10, RecvBuffer: 16 << 10})
	tok := aio.MakeToken(1, 1)
	if err := r.Open(tok, fd); err != nil {
		t.Fatal(err)
	}
	peer.MustSend(t, []byte("x"))
	if ev := r.next(t); ev.Token != tok || ev.Op != aio.Received {
		t.Fatalf("%v event for %#x", ev.Op, uint64(ev.Token))
	}
	for sent := (aio.Sent{}); sent.Status == aio.OK; {
		sent = r.Send(tok, make([]byte, 64<<10), nil, false)
	}
	epfd, before := r.epfd, r.Stats().Errors
	r.epfd = -1
	r.watchFresh()
	r.epfd = epfd
	if r.Stats().Errors == before {
		t.Error("nothing counts that")
	}
	if ev := r.next(t); ev.Token != tok || ev.Op != aio.Ready {
		t.Errorf("%v event, %v", ev.Op, ev.Err)
	}
	if sent := r.Send(tok, []byte("x"), nil, false); sent.Err != syscall.EPIPE {
		t.Errorf("sent with status %v, %v", sent.Status, sent.Err)
	}
	if ev := r.next(t); ev.Token != tok || ev.Op != aio.Received || len(ev.Data) > 0 {
		t.Errorf("%v event, %v", ev.Op, ev.Err)
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
	if err := r.Listen(tok, fd, false); err != nil {
		t.Fatal(err)
	}
	r.Close(tok, false)
	if ev := r.next(t); ev.Op != aio.Closed {
		t.Fatalf("%v event", ev.Op)
	}
	testenv.NewPeer(t, testenv.SockOptions{}).Connect(t, dup)
	if n, err := r.Wait(r.ev, 0); n != 0 || err != nil { // the rig's own connection is writable
		t.Fatalf("%d events, %v", n, err)
	}
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
	testenv.AwaitReset(t, r.fd)
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
	peers, fds := make([]*testenv.Peer, loud+quiet), make([]int, loud+quiet)
	for i := range peers {
		fds[i], peers[i] = testenv.Pair(t, testenv.SockOptions{})
		if err := r.Open(aio.MakeToken(uint32(i+1), 1), fds[i]); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.Wait(r.ev, 0); n != 0 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	const backlog = 128 << 10
	for i, p := range peers[:loud] {
		for n, b := 0, make([]byte, backlog); n < backlog; {
			k, e := p.Send(b[n:])
			if e == syscall.EAGAIN {
				break // as much as the sockets take: tens of KiB at least
			}
			n += k
		}
		testenv.AwaitInput(t, fds[i])
	}
	// The loud ones are known to the driver before the quiet ones speak.
	if n, err := r.Wait(r.ev, time.Second); n != buffers || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	for i, p := range peers[loud:] {
		p.MustSend(t, []byte{1})
		testenv.AwaitInput(t, fds[loud+i])
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

// holdUp keeps the only goroutine of the driver's fetches busy until the function
// that it returns is called.
func (r *rig) holdUp(t *testing.T) (free func()) {
	t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	r.pool.Submit(new(mover.State), &mover.Fetch{Source: mover.Source{FD: -1}, Range: mover.Range{End: 1}, Done: func() {
		close(begun)
		<-end
	}})
	<-begun
	free = sync.OnceFunc(func() { close(end) })
	t.Cleanup(free) // before the driver ends
	return free
}

// TestCloseDuringFetch closes a slot whose fetch does not get its turn: Closed
// comes all the same, the file stays pinned until the driver ends, and what the
// slot does next is none of the fetch's business.
func TestCloseDuringFetch(t *testing.T) {
	file := testenv.NewPattern(22).File(t, t.TempDir(), 1<<20)
	testenv.NeedCold(t, file)
	f := testenv.Borrow(t, file)
	mover.Reader(f) // is there before the rig looks for leaks
	t.Cleanup(func() {
		if f.Pins != 0 {
			t.Errorf("%d pins after the driver's end", f.Pins)
		}
	})
	r := newRig(t, aio.Config{ColdWorkers: 1})
	r.holdUp(t)
	for gen := uint32(1); gen < 4; gen++ {
		if s := r.SendFile(r.tok, f, 0, 1000, false); s.Status != aio.BlockedDisk {
			t.Fatalf("status %d, %v, want blocked on the disk", s.Status, s.Err)
		}
		epoch := r.Get(r.tok).Move.Epoch
		r.Close(r.tok, false)
		if ev := r.next(t); ev.Op != aio.Closed {
			t.Fatalf("%v event", ev.Op)
		}
		if f.Pins != int32(gen) {
			t.Errorf("after %d of them: %d pins", gen, f.Pins)
		}
		fd, _ := testenv.Pair(t, testenv.SockOptions{})
		r.tok = aio.MakeToken(0, gen+1)
		if err := r.Open(r.tok, fd); err != nil {
			t.Fatal(err)
		}
		if r.Get(r.tok).Move.Epoch == epoch {
			t.Error("the slot's next use has the epoch of the fetch")
		}
	}
}

// TestJumpDuringFetch goes on elsewhere in a file while it is read ahead: nobody is
// ready by the fetch that was given up.
func TestJumpDuringFetch(t *testing.T) {
	const size, chunk = 4 << 20, 64 << 10
	file := testenv.NewPattern(23).File(t, t.TempDir(), size)
	testenv.NeedCold(t, file)
	f := testenv.Borrow(t, file)
	mover.Reader(f) // is there before the rig looks for leaks
	r := newRig(t, aio.Config{ColdChunk: chunk, ColdWorkers: 1})
	send := func(off, n int64, want aio.Status) {
		t.Helper()
		if s := r.SendFile(r.tok, f, off, n, false); s.Status != want || want == aio.OK && s.N != n {
			t.Fatalf("from %d: %d sent, status %d, %v", off, s.N, s.Status, s.Err)
		}
	}
	ready := func() {
		t.Helper()
		if ev := r.next(t); ev.Op != aio.Ready || ev.Err != 0 {
			t.Fatalf("%v event, %v", ev.Op, ev.Err)
		}
	}
	send(0, chunk/2, aio.BlockedDisk)
	ready()
	free := r.holdUp(t)
	send(0, chunk/2, aio.OK)
	if f.Pins != 1 {
		t.Fatalf("%d pins: no read-ahead", f.Pins)
	}
	send(size/2, 1000, aio.BlockedDisk)
	if f.Pins != 2 {
		t.Fatalf("%d pins, want one for each fetch", f.Pins)
	}
	free()
	ready()
	send(size/2, 1000, aio.OK)
	if n, err := r.Wait(r.ev, 0); n != 0 || err != nil || f.Pins != 0 {
		t.Fatalf("%d events, %v, %d pins", n, err, f.Pins)
	}
}
