package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

// named is a session that answers any input with its engine's name.
type named struct{ name string }

func (s *named) Receive(c *loop.Conn, p []byte, _ int) int {
	c.Respond(&loop.Response{Head: []byte(s.name)})
	return len(p)
}
func (s *named) Sent(*loop.Conn, *engine.Outcome) {}
func (s *named) Closed(*loop.Conn)                {}
func (s *named) Timeout(*loop.Conn)               {}

// make1 makes an engine that answers with its name.
func make1(t *testing.T, name string, cfg engine.Config) *engine.Engine {
	t.Helper()
	cfg.NewSession = func(*loop.Loop) loop.Session { return &named{name} }
	e, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func drivers(t *testing.T, test func(t *testing.T, d engine.DriverKind)) {
	t.Run("uring", func(t *testing.T) { testenv.NeedUring(t); test(t, engine.DriverUring) })
	t.Run("fallback", func(t *testing.T) { test(t, engine.DriverFallback) })
}

// question asks a connection once; the answer is the name of who has it.
func question(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return "", err
	}
	buf := make([]byte, 10)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// Engines hand their sockets on, between drivers and numbers of loops, while
// clients connect all the time: each of them is answered, by the old one or the new
// one; and none by one that has not begun.
func TestHandOverBetweenEngines(t *testing.T) {
	testenv.LeakCheck(t)
	path := filepath.Join(t.TempDir(), "s")
	listeners := []string{"127.0.0.1:0", engine.UnixPrefix + path}
	kinds := []engine.DriverKind{engine.DriverFallback, engine.DriverFallback}
	if e, err := engine.New(engine.Config{NewSession: func(*loop.Loop) loop.Session { return &named{} }, Loops: 1}); err == nil {
		if name, _ := e.Driver(); name == "uring" {
			kinds = append(kinds, engine.DriverUring, engine.DriverUring)
		}
		e.Close()
	}
	now := make1(t, "first", engine.Config{Listeners: listeners, Loops: 2, Driver: kinds[0]})
	tcp := now.Addrs()[0]
	stop := make(chan struct{})
	var clients sync.WaitGroup
	faults := make(chan error, 4)
	for i := range cap(faults) {
		network, addr := "tcp", tcp.String()
		if i%2 == 1 {
			network, addr = "unix", path
		}
		clients.Go(func() { faults <- keepAsking(stop, network, addr) })
	}
	for i := range 12 {
		kind := kinds[i%len(kinds)]
		in, err := now.Sockets()
		if err != nil {
			t.Fatal(err)
		}
		next := make1(t, fmt.Sprint(i), engine.Config{Listeners: listeners, Loops: 1 + i%4, Driver: kind, Inherit: in, Paused: true})
		if got := next.Addrs(); got[0].String() != tcp.String() || got[1].String() != path {
			t.Fatalf("%v", got)
		}
		time.Sleep(5 * time.Millisecond) // clients come; nobody is answered by the new one
		for _, s := range next.Stats() {
			if s.Accepted != 0 {
				t.Error("accepted while paused")
			}
		}
		if err := next.Accept(); err != nil {
			t.Fatal(err)
		}
		now.HandOver()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := now.Retire(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		now = next
	}
	close(stop)
	clients.Wait()
	for range cap(faults) {
		if err := <-faults; err != nil {
			t.Error(err)
		}
	}
	if err := now.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := unix.Access(path, unix.F_OK); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the last one leaves its socket: %v", err)
	}
}

// keepAsking makes connections and asks on each, until stop.
func keepAsking(stop <-chan struct{}, network, addr string) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		conn, err := net.Dial(network, addr)
		if err != nil {
			return err
		}
		_, err = question(conn)
		conn.Close()
		if err != nil {
			return err
		}
	}
}

// A socket of systemd: without SO_REUSEPORT the loops share it, and the file of a
// Unix socket stays.
func TestInheritForeign(t *testing.T) {
	drivers(t, func(t *testing.T, d engine.DriverKind) {
		testenv.LeakCheck(t)
		path := filepath.Join(t.TempDir(), "s")
		for _, network := range []string{"tcp", "unix"} {
			addr := "127.0.0.1:0"
			if network == "unix" {
				addr = path
			}
			ln, err := net.Listen(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			if u, ok := ln.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false)
			}
			fd, err := sys.Dup(ln.(syscall.Conn))
			if err != nil {
				t.Fatal(err)
			}
			where := ln.Addr().String()
			ln.Close()
			e := make1(t, "x", engine.Config{Listeners: []string{"as configured"}, Loops: 3, Driver: d,
				Inherit: engine.Sockets{"as configured": {FDs: []int{fd}, Keep: true}}})
			conn, err := net.Dial(network, where)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := question(conn); got != "x" {
				t.Errorf("%q %v", got, err)
			}
			conn.Close()
			if d == engine.DriverUring {
				mustUseAllLoops(t, e, network, where)
			}
			if err := e.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := unix.Access(path, unix.F_OK); err != nil {
			t.Errorf("the socket is gone: %v", err)
		}
	})
}

// mustUseAllLoops connects again and again until each loop has accepted something.
func mustUseAllLoops(t *testing.T, e *engine.Engine, network, addr string) {
	t.Helper()
	for range 1000 {
		conn, err := net.Dial(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = question(conn)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(e.Stats(), func(s loop.Stats) bool { return s.Accepted == 0 }) {
			return
		}
	}
	t.Error("a loop has accepted nothing of 1000 connections")
}

// What cannot be listened on is refused, and everything that was given is closed.
func TestInheritBad(t *testing.T) {
	testenv.LeakCheck(t)
	good := testenv.Listen(t)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for want, in := range map[string]engine.Sockets{
		"socket operation on non-socket": {"a": {FDs: pipe[:]}, "b": {FDs: []int{good}}},
		"not a stream socket":            {"a": {FDs: pair[:]}},
		"no socket was inherited":        {"a": {}},
		"bad file descriptor":            {"a": {FDs: []int{1 << 20}}},
		"not in Config.Listeners":        {"c": {FDs: nil}},
	} {
		cfg := engine.Config{Listeners: []string{"a", "b"}, Inherit: in, Loops: 1, NewSession: func(*loop.Loop) loop.Session { return &named{} }}
		if _, err := engine.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Turning names a loop that hangs, and is content when it goes on.
func TestTurning(t *testing.T) {
	testenv.LeakCheck(t)
	e := make1(t, "x", engine.Config{Listeners: []string{"127.0.0.1:0"}, Loops: 2})
	if _, err := e.Turning(context.Background()); err != nil {
		t.Error(err)
	}
	hang, hangs := make(chan struct{}), make(chan struct{})
	go e.Ask(func(l *loop.Loop) {
		if l.Index() == 1 {
			close(hangs)
			<-hang
		}
	})
	<-hangs
	var err error
	if !testenv.Eventually(20*time.Second, func() bool { // a busy machine may hold up the other loop, too
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err = e.Turning(ctx); err == nil || !strings.Contains(err.Error(), "loop 1 ") {
			t.Errorf("%v", err)
		}
		return err == nil || !strings.Contains(err.Error(), "loop 0 ")
	}) {
		t.Errorf("%v", err)
	}
	close(hang)
	if _, err := e.Turning(context.Background()); err != nil {
		t.Error(err)
	}
}
