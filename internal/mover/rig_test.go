package mover

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// rig is a mover with one slot, whose socket is one end of a pair.
type rig struct {
	*Mover
	testing.TB
	stats aio.Stats
	sock  int32
	peer  *testenv.Peer
	st    State
	got   []byte // what the peer has received
}

// newRig returns a rig on a TCP connection with small buffers.
func newRig(t testing.TB, cfg aio.Config) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	fd, peer := testenv.Pair(t, testenv.SockOptions{SendBuffer: 16 << 10, RecvBuffer: 16 << 10})
	return start(t, cfg, fd, peer)
}

// newUnixRig returns a rig on a pair of Unix sockets, between which nothing
// moves but by the calls of the two ends.
func newUnixRig(t testing.TB, cfg aio.Config) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	fd, peer := testenv.UnixPair(t)
	return start(t, cfg, fd, peer)
}

func start(t testing.TB, cfg aio.Config, fd int, peer *testenv.Peer) *rig {
	r := &rig{TB: t, sock: int32(fd), peer: peer}
	r.Mover = New(cfg, &r.stats)
	t.Cleanup(func() {
		r.Reset(&r.st)
		r.Mover.Close()
		if r.stats.PipesOpen != 0 {
			t.Errorf("%d pipes are counted as open at the end", r.stats.PipesOpen)
		}
		unix.Close(fd)
	})
	return r
}

// send makes an attempt and fails the test unless it has the status wanted.
func (r *rig) send(f *aio.File, off, n int64, want aio.Status) (aio.Sent, Range) {
	r.Helper()
	s, fetch := r.Send(r.sock, &r.st, f, off, n, false)
	if s.Status != want {
		r.Fatalf("%d bytes from %d: %d sent, status %d, %v, want status %d", n, off, s.N, s.Status, s.Err, want)
	}
	return s, fetch
}

// fill sends f from off until the socket is full. It returns the offset reached.
func (r *rig) fill(f *aio.File, off int64) int64 {
	r.Helper()
	for {
		s, fetch := r.Send(r.sock, &r.st, f, off, f.Size-off, false)
		off += s.N
		switch {
		case s.Status == aio.BlockedSocket:
			return off
		case s.Status != aio.OK || s.N == 0 || !fetch.Empty():
			r.Fatalf("at %d: status %d, %v, to fetch: %v", off, s.Status, s.Err, fetch)
		}
	}
}

// receive takes what has arrived at the peer and reports whether anything had.
func (r *rig) receive() bool {
	r.Helper()
	buf := make([]byte, 64<<10)
	n, e := r.peer.Recv(buf)
	if e != 0 && e != syscall.EAGAIN {
		r.Fatal(e)
	}
	r.got = append(r.got, buf[:n]...)
	return n > 0
}

// file returns a patterned file, as the engine lends it, that is in memory and stays there.
func file(t testing.TB, p testenv.Pattern, size int64) (*os.File, *aio.File) {
	t.Helper()
	f := p.File(t, t.TempDir(), size)
	testenv.Hold(t, f.Name())
	return f, testenv.Borrow(t, f)
}
