package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/fallback"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/uring"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const patience = 30 * time.Second

type makeDriver func() (aio.Driver, error)

// eachDriver runs a test on every driver that there is here.
func eachDriver(t *testing.T, test func(*testing.T, makeDriver)) {
	t.Run("fallback", func(t *testing.T) {
		test(t, func() (aio.Driver, error) { return fallback.New(aio.Config{}) })
	})
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, func() (aio.Driver, error) { return uring.New(aio.Config{}) })
	})
}

// answering is a session that answers each line as a function says.
type answering struct {
	answer func(c *Conn, line string)
	sent   func(*outcome.Outcome) // nil: nobody wants to know
}

func (s *answering) Receive(c *Conn, p []byte, seen int) int {
	i := bytes.IndexByte(p[seen:], '\n')
	if i < 0 {
		return 0
	}
	s.answer(c, string(p[:seen+i]))
	return seen + i + 1
}

func (s *answering) Sent(_ *Conn, o *outcome.Outcome) {
	if s.sent != nil {
		s.sent(o)
	}
}
func (s *answering) Timeout(*Conn) {}
func (s *answering) Closed(*Conn)  {}

// realLoop is a loop on a thread of its own, with real sockets.
type realLoop struct {
	*Runner
	addr string
}

func startLoop(t *testing.T, driver makeDriver, congestion string, session Session) *realLoop {
	t.Helper()
	set, err := listen.Open(listen.Config{Addrs: []string{"127.0.0.1:0"}, Tuning: listen.Tuning{Congestion: congestion}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan *Runner), make(chan error, 1)
	go func() {
		if err := Lock(-1); err != nil {
			t.Error(err)
		}
		defer runtime.UnlockOSThread()
		d, err := driver()
		if err != nil {
			ended <- err
			return
		}
		r := NewRunner(Config{Addrs: set.Addrs(), NewSession: func(*Loop) Session { return session }}.withDefaults(), d)
		r.Own(set.Row(0))
		if err = r.Accept(); err == nil {
			started <- r
			err = r.Run()
		}
		ended <- err
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	l := &realLoop{addr: set.Addrs()[0].String()}
	select {
	case l.Runner = <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-l.loop.gone
	})
	return l
}

func (l *realLoop) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestIdleConnectionsHoldNoBuffers: what a connection that rests costs is its
// slot, and what it has sent of a request a small buffer.
func TestIdleConnectionsHoldNoBuffers(t *testing.T) {
	const conns, size = 300, 100_000
	eachDriver(t, func(t *testing.T, driver makeDriver) {
		answer := make([]byte, size)
		l := startLoop(t, driver, "", &answering{answer: func(c *Conn, _ string) { c.Respond(&Response{Head: answer}) }})
		clients := make([]net.Conn, conns)
		for i := range clients {
			clients[i] = l.dial(t)
			if _, err := clients[i].Write([]byte("f\n")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, clients[i], size); err != nil {
				t.Fatal(err)
			}
		}
		if bytes, streams, _ := l.held(); bytes != 0 || streams != 0 {
			t.Errorf("%d idle connections hold %d bytes and %d streams", conns, bytes, streams)
		}
		for _, c := range clients {
			if _, err := c.Write([]byte("half a request")); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Eventually(patience, func() bool { _, _, waiting := l.held(); return waiting == conns })
		if bytes, streams, waiting := l.held(); waiting != conns || bytes > conns*smallestInput || streams != 0 {
			t.Errorf("%d connections with half a request, %d seen, hold %d bytes and %d streams", conns, waiting, bytes, streams)
		}
	})
}

// held returns what the connections hold.
func (l *realLoop) held() (bytes, streams, waiting int) {
	l.Ask(func(loop *Loop) {
		loop.each(func(c *Conn) {
			bytes += cap(c.in.buf)
			if c.stream != nil {
				streams++
			}
			if len(c.in.buf) > 0 {
				waiting++
			}
		})
	})
	return bytes, streams, waiting
}

// Connections have the congestion control of their listener.
func TestCongestionOfConnections(t *testing.T) {
	of := func(fd int) string {
		name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil {
			t.Error(err)
		}
		return name
	}
	eachDriver(t, func(t *testing.T, driver makeDriver) {
		r := startLoop(t, driver, "reno", &answering{answer: func(c *Conn, _ string) { c.Respond(&Response{Head: []byte("x")}) }})
		c := r.dial(t)
		fmt.Fprintln(c, "f")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		seen := 0
		r.Ask(func(l *Loop) {
			for _, ln := range l.acceptor.listeners {
				if name := of(ln.fd); name != "reno" || ln.line.paced {
					t.Errorf("listener: %s, paced %v", name, ln.line.paced)
				}
				seen++
			}
			l.each(func(c *Conn) {
				if name := of(int(c.fd)); name != "reno" || c.line.paced || !c.line.local {
					t.Errorf("connection: %s, %+v", name, c.line)
				}
				seen++
			})
		})
		if seen != 2 {
			t.Errorf("%d sockets", seen)
		}
	})
}

// trickle is a Body of lines that are not there yet: a goroutine makes one after the
// other, and some of them are of a file.
type trickle struct {
	c      *Conn
	run    *Runner
	file   *openfile.File
	lines  []Segment
	over   bool
	fail   bool
	closed *atomic.Int64
}

func (b *trickle) Next(int64) (Segment, Status) {
	switch {
	case len(b.lines) > 0:
		s := b.lines[0]
		b.lines = b.lines[1:]
		return s, More
	case b.over && b.fail:
		return Segment{}, Failed
	case b.over:
		return Segment{}, Last
	}
	return Segment{}, Later
}

func (b *trickle) Left() int64 { return 1 << 20 }
func (b *trickle) Close()      { b.closed.Add(1) }

// give makes n lines, with pauses, each by a message to the loop.
func (b *trickle) give(n int) {
	for i := range n {
		time.Sleep(time.Millisecond) // so that the loop has to wait for the next one
		b.run.Post(func(*Loop) {
			s := Segment{Mem: fmt.Appendf(nil, "line %d\n", i)}
			if i%3 == 2 {
				s = Segment{File: b.file, N: b.file.Size}
			}
			b.lines = append(b.lines, s)
			b.over = i == n-1
			b.c.Pull()
		})
	}
}

// TestSource sends a body that is made while it is sent: all of it arrives, in order, and none
// of it waits for a cork to give up (200 ms); one that fails is cut; and each is closed once.
func TestSource(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(path+"/f", []byte("of a file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := openfile.OpenRoot(path, openfile.SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	eachDriver(t, func(t *testing.T, driver makeDriver) {
		testenv.LeakCheck(t)
		var closed atomic.Int64
		session := &answering{}
		r := startLoop(t, driver, "", session)
		answer := func(c *Conn, line string) {
			f := openHere(t, c, root, "f")
			if f == nil {
				c.Close()
				return
			}
			b := &trickle{c: c, run: r.Runner, file: f, fail: strings.HasPrefix(line, "fail"), closed: &closed}
			n, _ := strconv.Atoi(line[strings.IndexByte(line, ' ')+1:])
			go b.give(n)
			c.Respond(&Response{Head: []byte("head\n"), Source: b})
		}
		r.Ask(func(*Loop) { session.answer = answer })
		const lines = 30
		var want strings.Builder
		want.WriteString("head\n")
		for i := range lines {
			if i%3 == 2 {
				want.WriteString("of a file\n")
				continue
			}
			fmt.Fprintf(&want, "line %d\n", i)
		}
		c := r.dial(t)
		for range 3 { // the connection goes on
			began := time.Now()
			fmt.Fprintln(c, "give", lines)
			got := make([]byte, want.Len())
			if _, err := io.ReadFull(c, got); err != nil || string(got) != want.String() {
				t.Fatalf("%v: %q", err, got)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		}
		fmt.Fprintln(c, "fail", lines)
		if got, err := io.ReadAll(c); err == nil || !strings.HasPrefix(string(got), "head\n") {
			t.Errorf("a source that fails: %v after %d bytes, want a reset", err, len(got))
		}
		const sources = 4
		if !testenv.Eventually(patience, func() bool { return closed.Load() == sources }) {
			t.Errorf("%d of %d sources are closed", closed.Load(), sources)
		}
	})
}

// adoptTCP gives the loop one end of a TCP connection, and returns the other.
func (l *realLoop) adoptTCP(t *testing.T, as Adopted) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close() // the loop has a duplicate
	fd, err := sys.Dup(accepted.(*net.TCPConn))
	if err != nil || !l.Adopt(fd, as) {
		t.Fatal("not adopted", err)
	}
	return conn
}

// openHere opens a file of a root, on the loop. nil: it has failed, and so has the test.
func openHere(t *testing.T, c *Conn, root *openfile.Root, name string) *openfile.File {
	f, e := c.Loop().Files.Open(root, name, name, openfile.Policy{})
	if e == syscall.EAGAIN {
		f, e = c.Loop().Files.Add(name, root.Open(name, false), openfile.Policy{})
	}
	if e != 0 {
		t.Error(e)
	}
	return f
}
