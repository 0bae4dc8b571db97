package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/guest"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// guest returns an engine without loops, closed at the end of the test.
func hostOf(t *testing.T, cfg Config) *Engine {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if s := e.GuestStats(); s.UnderWay != 0 {
			t.Errorf("under way after Close: %d", s.UnderWay)
		}
	})
	return e
}

// tcpPair returns both ends of a connection over loopback.
func tcpPair(t *testing.T) (ours, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

// narrow bounds what the kernel holds of a connection, so that a peer that reads
// nothing soon blocks the sender.
func narrow(t *testing.T, ours, peer *net.TCPConn) {
	t.Helper()
	if err := errors.Join(ours.SetWriteBuffer(32<<10), peer.SetReadBuffer(32<<10)); err != nil {
		t.Fatal(err)
	}
}

// isGone reports whether an error says that the peer is gone.
func isGone(err error) bool {
	var e syscall.Errno
	return errors.As(err, &e) && outcome.OfErrno(e) == PeerGone
}

func patternFile(t *testing.T, p testenv.Pattern, n int64) *os.File {
	t.Helper()
	return p.File(t, t.TempDir(), n)
}

// receive reads n bytes and checks that they are the pattern's from off.
func receive(p testenv.Pattern, c net.Conn, off, n int64) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for n > 0 {
		k, err := io.ReadFull(c, buf[:min(n, int64(len(buf)))])
		if err != nil {
			return fmt.Errorf("%d bytes missing: %w", n-int64(k), err)
		}
		if err := p.Check(buf[:k], off); err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

func TestSend(t *testing.T) {
	const size = 3<<20 + 17
	p := testenv.NewPattern(1)
	for mode, via := range map[ZeroCopy]Via{ZeroCopyAuto: ViaSendfile, ZeroCopySplice: ViaSplice, ZeroCopyCopy: ViaCopy} {
		for _, limited := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %d, limited %v", mode, limited), func(t *testing.T) {
				testenv.LeakCheck(t)
				cfg := Config{ZeroCopy: mode}
				if limited {
					cfg.Limits = &shape.Config{Client: shape.Limit{Rate: 200e6}}
				}
				e := hostOf(t, cfg)
				f := patternFile(t, p, size)
				for _, c := range []struct{ off, n, want int64 }{
					{0, -1, size}, {0, size, size}, {4097, 100_000, 100_000}, {size - 3, -1, 3}, {size, -1, 0}, {7, 0, 0}, {size + 5, -1, 0},
				} {
					ours, peer := tcpPair(t)
					got := make(chan error, 1)
					go func() { got <- receive(p, peer, c.off, c.want) }()
					out, err := e.Send(context.Background(), ours, f, c.off, c.n)
					if err != nil || out.End != Complete {
						t.Fatalf("%+v: %v, %v", c, out.End, err)
					}
					if err := <-got; err != nil {
						t.Errorf("%+v: %v", c, err)
					}
					if out.Total() != c.want || out.Bytes[via] != c.want {
						t.Errorf("%+v: bytes by way %v", c, out.Bytes)
					}
				}
				if off, err := f.Seek(0, io.SeekCurrent); err != nil || off != 0 {
					t.Errorf("the file's offset has moved to %d, %v", off, err)
				}
			})
		}
	}
}

func TestSendRefuses(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{})
	ours, _ := tcpPair(t)
	f := patternFile(t, testenv.NewPattern(2), 10)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	closed := patternFile(t, testenv.NewPattern(2), 10)
	closed.Close()
	gone, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	cancel(why)
	for name, c := range map[string]struct {
		ctx  context.Context
		file *os.File
		off  int64
		want error
	}{
		"directory":   {context.Background(), dir, 0, guest.ErrNotRegular},
		"offset":      {context.Background(), f, -1, syscall.EINVAL},
		"closed file": {context.Background(), closed, 0, os.ErrClosed},
		"ended":       {gone, f, 0, why},
	} {
		out, err := e.Send(c.ctx, ours, c.file, c.off, 5)
		if !errors.Is(err, c.want) || out.Total() != 0 || out.End == Complete {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	ours.Close()
	if _, err := e.Send(context.Background(), ours, f, 0, 5); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed connection: %v", err)
	}
}

func TestSendShortFile(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(3)
	e := hostOf(t, Config{})
	ours, peer := tcpPair(t)
	out, err := e.Send(context.Background(), ours, patternFile(t, p, 1000), 10, 5000)
	if !errors.Is(err, io.ErrUnexpectedEOF) || out.End != FileChanged || out.Total() != 990 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := receive(p, peer, 10, 990); err != nil {
		t.Error(err)
	}
}

// blockedSend starts a Send that the peer does not take.
func blockedSend(ctx context.Context, t *testing.T, e *Engine) (ours, peer *net.TCPConn, ended chan error) {
	t.Helper()
	ours, peer = tcpPair(t)
	narrow(t, ours, peer)
	f := patternFile(t, testenv.NewPattern(4), 8<<20)
	ended = make(chan error, 1)
	before := e.GuestStats().UnderWay
	go func() {
		_, err := e.Send(ctx, ours, f, 0, -1)
		ended <- err
	}()
	if !testenv.Eventually(patience, func() bool {
		return e.GuestStats().UnderWay > before && unsentOf(t, ours) > 0 && receivable(t, peer) > 0
	}) {
		t.Fatal("nothing was sent")
	}
	return ours, peer, ended
}

// unsentOf and receivable return what waits in a socket, in bytes.
func unsentOf(t *testing.T, c *net.TCPConn) int   { return ioctl(t, c, unix.SIOCOUTQ) }
func receivable(t *testing.T, c *net.TCPConn) int { return ioctl(t, c, unix.SIOCINQ) }
func ioctl(t *testing.T, c *net.TCPConn, q uint) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := errors.Join(raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), q) }), err); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantEnd(t *testing.T, ended chan error, want error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Errorf("ended by %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
}

func TestSendInterrupted(t *testing.T) {
	for name, interrupt := range map[string]struct {
		do   func(e *Engine, ours, peer *net.TCPConn, cancel func())
		want error
	}{
		"cancelled":     {func(_ *Engine, _, _ *net.TCPConn, cancel func()) { cancel() }, context.Canceled},
		"deadline":      {func(_ *Engine, ours, _ *net.TCPConn, _ func()) { ours.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		"closed":        {func(_ *Engine, ours, _ *net.TCPConn, _ func()) { ours.Close() }, net.ErrClosed},
		"engine closed": {func(e *Engine, _, _ *net.TCPConn, _ func()) { e.Close() }, ErrEnded},
		"peer resets": {func(_ *Engine, _, peer *net.TCPConn, _ func()) {
			peer.SetLinger(0)
			peer.Close()
		}, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.LeakCheck(t)
			e := hostOf(t, Config{})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ours, peer, ended := blockedSend(ctx, t, e)
			interrupt.do(e, ours, peer, cancel)
			select {
			case err := <-ended:
				if !errors.Is(err, interrupt.want) && (interrupt.want != syscall.ECONNRESET || !isGone(err)) {
					t.Errorf("ended by %v, want %v", err, interrupt.want)
				}
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
		})
	}
}

func TestShutdownWaitsForSends(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{})
	ours, peer, ended := blockedSend(context.Background(), t, e)
	down := make(chan error, 1)
	go func() { down <- e.Shutdown(context.Background()) }()
	if !testenv.Eventually(patience, func() bool {
		_, err := e.Send(context.Background(), ours, nil, 0, 0)
		return errors.Is(err, ErrEnded)
	}) {
		t.Fatal("a Send began after Shutdown")
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown did not wait: %v", err)
	case err := <-ended:
		t.Fatalf("Shutdown has ended the Send: %v", err)
	default:
	}
	if err := receive(testenv.NewPattern(4), peer, 0, 8<<20); err != nil {
		t.Error(err)
	}
	wantEnd(t, ended, nil)
	wantEnd(t, down, nil)

	e = hostOf(t, Config{})
	_, _, ended = blockedSend(context.Background(), t, e)
	soon, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	wantEnd(t, ended, ErrEnded)
}

// TestSendClosedAndReused closes the connection, or the file, under a Send and
// uses its number for something else at once. Nothing may come of that there.
func TestSendClosedAndReused(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{})
	p := testenv.NewPattern(4)
	for range 20 {
		ours, peer, ended := blockedSend(context.Background(), t, e)
		ours.Close()
		pairs := make([][2]int, 8) // one of them has the number
		for i := range pairs {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			pairs[i] = fds
		}
		go io.Copy(io.Discard, peer)
		wantEnd(t, ended, net.ErrClosed)
		for _, fds := range pairs {
			for _, fd := range fds {
				if n, err := unix.Read(fd, make([]byte, 1)); err != unix.EAGAIN {
					t.Fatalf("descriptor %d has got %d bytes, %v", fd, n, err)
				}
				defer unix.Close(fd)
			}
		}
		peer.Close()
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, bytes.Repeat([]byte{0xee}, 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ours, peer := tcpPair(t)
		narrow(t, ours, peer)
		f := patternFile(t, p, 8<<20)
		ended := make(chan error, 1)
		go func() {
			_, err := e.Send(context.Background(), ours, f, 0, -1)
			ended <- err
		}()
		if err := receive(p, peer, 0, 4<<10); err != nil {
			t.Fatal(err)
		}
		f.Close()
		g, err := os.Open(other)
		if err != nil {
			t.Fatal(err)
		}
		if err := receive(p, peer, 4<<10, 8<<20-4<<10); err != nil {
			t.Fatal(err)
		}
		wantEnd(t, ended, nil)
		g.Close()
	}
}

func TestSendCold(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(5)
	const size = 9<<20 + 5
	e := hostOf(t, Config{})
	f := patternFile(t, p, size)
	testenv.NeedCold(t, f)
	ours, peer := tcpPair(t)
	got := make(chan error, 1)
	go func() { got <- receive(p, peer, 1000, size-1000) }()
	out, err := e.Send(context.Background(), ours, f, 1000, -1)
	if err != nil || out.Bytes[ViaSendfile] != size-1000 {
		t.Errorf("%+v, %v", out, err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if s := e.GuestStats(); s.ColdReads < 4 || s.Bytes[ViaSendfile] != size-1000 || s.Sends != 1 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

// TestSendColdInterrupted gives up in the middle of cold files: reads that nobody
// waits for end by themselves.
func TestSendColdInterrupted(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{})
	for range 5 {
		f := patternFile(t, testenv.NewPattern(6), 8<<20)
		testenv.NeedCold(t, f)
		ours, peer := tcpPair(t)
		narrow(t, ours, peer)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			_, err := e.Send(ctx, ours, f, 0, -1)
			ended <- err
		}()
		if err := receive(testenv.NewPattern(6), peer, 0, 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		wantEnd(t, ended, context.Canceled)
	}
}

// report returns what the limits did for a client.
func clientReport(t *testing.T, e *Engine, client string) shape.NodeReport {
	t.Helper()
	r, ok := e.LimitsReport(100)
	if !ok {
		t.Fatal("no limits")
	}
	for _, c := range r.Clients {
		if c.Name == client {
			return c
		}
	}
	return shape.NodeReport{}
}

// TestSendLimited holds a Send back by each level, until that is changed.
func TestSendLimited(t *testing.T) {
	p := testenv.NewPattern(8)
	const size = 1 << 20
	stopped := shape.Limit{Rate: shape.Paused}
	for name, c := range map[string]struct {
		cfg  shape.Config
		free func(s *shape.Shaper) error
	}{
		"global": {shape.Config{Global: stopped}, func(s *shape.Shaper) error { _, err := s.SetGlobal(shape.Limit{}); return err }},
		"path": {shape.Config{Paths: []shape.PathLimit{{Prefix: "/slow/", Limit: stopped}}}, func(s *shape.Shaper) error {
			_, _, err := s.SetPath("/slow/", shape.Limit{})
			return err
		}},
		"client": {shape.Config{Client: stopped}, func(s *shape.Shaper) error {
			_, _, err := s.SetClient("alice", shape.Limit{}, 0)
			return err
		}},
		"connection": {shape.Config{Connection: stopped}, func(s *shape.Shaper) error { _, err := s.SetConnectionDefault(shape.Limit{}); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.LeakCheck(t)
			e := hostOf(t, Config{Limits: &c.cfg})
			f := patternFile(t, p, size)
			ours, peer := tcpPair(t)
			ctx := WithFlow(context.Background(), Flow{Client: "alice", Path: "/slow/f"})
			type result struct {
				out Outcome
				err error
			}
			ended := make(chan result, 1)
			go func() {
				out, err := e.Send(ctx, ours, f, 0, -1)
				ended <- result{out, err}
			}()
			if !testenv.Eventually(patience, func() bool { r, _ := e.LimitsReport(1); return r.Flows == 1 }) {
				t.Fatal("it is not in the tree")
			}
			select {
			case r := <-ended:
				t.Fatalf("not held: %+v", r)
			case <-time.After(20 * time.Millisecond):
			}
			if n := receivable(t, peer); n != 0 {
				t.Fatalf("%d bytes have passed", n)
			}
			if err := c.free(e.Limits()); err != nil {
				t.Fatal(err)
			}
			if err := receive(p, peer, 0, size); err != nil {
				t.Fatal(err)
			}
			r := <-ended
			if r.err != nil || r.out.Bytes[ViaSendfile] != size {
				t.Errorf("%+v", r)
			}
			if got := clientReport(t, e, "alice"); got.Granted != size || got.Flows != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestSendGivesUpTokens interrupts Sends that wait for tokens, and checks that
// nothing of them is left in the tree.
func TestSendGivesUpTokens(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{Limits: &shape.Config{Client: shape.Limit{Rate: shape.Paused}}})
	f := patternFile(t, testenv.NewPattern(9), 1000)
	ctx, cancel := context.WithCancel(context.Background())
	const n = 10
	ended := make(chan error, 2*n)
	start := func(ctx context.Context) {
		ours, _ := tcpPair(t)
		go func() {
			_, err := e.Send(ctx, ours, f, 0, -1)
			ended <- err
		}()
	}
	flows := func(n int) {
		t.Helper()
		if !testenv.Eventually(patience, func() bool { r, _ := e.LimitsReport(1); return r.Flows == n }) {
			t.Fatalf("there are not %d flows", n)
		}
	}
	for range n {
		start(ctx)
		start(context.Background())
	}
	flows(2 * n)
	cancel()
	for range n {
		wantEnd(t, ended, context.Canceled)
	}
	flows(n)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for range n {
		wantEnd(t, ended, ErrEnded)
	}
	flows(0)
}

// TestSendBesideLoops shares one limit between the loops of an engine and Sends.
func TestSendBesideLoops(t *testing.T) {
	testenv.LeakCheck(t)
	session := func(*loop.Loop) loop.Session { return nil }
	limits := &shape.Config{Client: shape.Limit{Rate: 100e6}}
	e := hostOf(t, Config{NewSession: session, Loops: 1, Driver: DriverFallback, Limits: limits})
	ours, peer := tcpPair(t)
	f := patternFile(t, testenv.NewPattern(10), 1000)
	if _, err := e.Send(context.Background(), ours, f, 0, -1); !errors.Is(err, ErrNoGuests) {
		t.Errorf("without Guests: %v", err)
	}
	if _, err := e.Listener(nil).Accept(); !errors.Is(err, ErrNoGuests) {
		t.Errorf("without Guests: %v", err)
	}
	e = hostOf(t, Config{NewSession: session, Loops: 1, Driver: DriverFallback, Limits: limits, Guests: true})
	ctx := WithFlow(context.Background(), Flow{Client: "bob"})
	if _, err := e.Send(ctx, ours, f, 0, -1); err != nil {
		t.Error(err)
	}
	if err := receive(testenv.NewPattern(10), peer, 0, 1000); err != nil {
		t.Error(err)
	}
	if r := clientReport(t, e, "bob"); r.Granted != 1000 {
		t.Errorf("%+v", r)
	}
}

// TestSendLeavesNoCork checks that what is sent to a socket after a Send is not held
// back, and that a cork of the owner stays.
func TestSendLeavesNoCork(t *testing.T) {
	for _, own := range []int{0, 1} {
		e := hostOf(t, Config{})
		c, peer := guestPair(t, e)
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		cork := func(f func(fd int) error) {
			t.Helper()
			if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
		}
		cork(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_CORK, own) })
		p := testenv.NewPattern(5)
		const size = 1<<20 + 17 // more than is sent without a cork
		f := patternFile(t, p, size)
		sent := make(chan error, 1)
		go func() { _, err := e.Send(t.Context(), c, f, 0, size); sent <- err }()
		if err := errors.Join(receive(p, peer, 0, size-(size%1024)*int64(own)), <-sent); err != nil {
			t.Fatal(err)
		}
		cork(func(fd int) error {
			got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_CORK)
			if err == nil && got != own {
				err = fmt.Errorf("the cork is %d, was %d", got, own)
			}
			return err
		})
	}
}

// TestSendShortOfMemory has the kernel short of memory: Send waits for it, as long as its
// caller does.
func TestSendShortOfMemory(t *testing.T) {
	testenv.LeakCheck(t)
	e := hostOf(t, Config{})
	conn, _ := guestPair(t, e)
	file := testenv.NewPattern(61).File(t, t.TempDir(), 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		testenv.Deny(t, syscall.ENOMEM, unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_SENDTO, unix.SYS_SENDMSG)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if out, err := e.Send(ctx, conn, file, 0, 1000); !errors.Is(err, context.DeadlineExceeded) || out.Total() != 0 {
			t.Errorf("%d bytes, %v", out.Total(), err)
		}
	}()
	<-done
	if out, err := e.Send(context.Background(), conn, file, 0, 1000); err != nil || out.Total() != 1000 {
		t.Errorf("%d bytes, %v", out.Total(), err)
	}
}
