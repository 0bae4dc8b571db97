package engine

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// eachDriver runs a test on every driver that there is here.
func eachDriver(t *testing.T, test func(*testing.T, DriverKind)) {
	t.Run("fallback", func(t *testing.T) { test(t, DriverFallback) })
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, DriverUring)
	})
}

// fileSession answers each line, a file's name, with the file's size, a newline
// and the file.
type fileSession struct {
	loop   *loop.Loop
	root   *openfile.Root
	head   []byte
	segs   [1]loop.Segment
	closed *atomic.Int64
	sent   *atomic.Int64
}

func (s *fileSession) Receive(c *loop.Conn, p []byte, seen int) int {
	i := bytes.IndexByte(p[seen:], '\n')
	if i < 0 {
		return 0
	}
	name := p[:seen+i]
	f := s.loop.Files.Get(name)
	if f == nil {
		var e syscall.Errno
		f, e = s.loop.Files.Open(s.root, string(name), string(name), openfile.Policy{})
		if e == syscall.EAGAIN {
			o := &openFile{s: s, c: c, name: string(name)}
			c.Data = o
			c.Suspend(0)
			s.loop.Go(o)
			return seen + i + 1
		}
		if e != 0 {
			c.Close()
			return seen + i + 1
		}
	}
	s.respond(c, f)
	return seen + i + 1
}

func (s *fileSession) respond(c *loop.Conn, f *openfile.File) {
	s.head = append(strconv.AppendInt(s.head[:0], f.Size, 10), '\n')
	s.segs[0] = loop.Segment{File: f, N: f.Size}
	if f.Body != nil {
		s.segs[0] = loop.Segment{Mem: f.Body, File: f}
	}
	resp := loop.Response{Head: s.head, Body: s.segs[:]}
	c.Respond(&resp)
}

func (s *fileSession) Sent(*loop.Conn, *Outcome) { s.sent.Add(1) }
func (s *fileSession) Timeout(*loop.Conn)        {}
func (s *fileSession) Closed(*loop.Conn)         { s.closed.Add(1) }

// openFile opens a file that is not in memory. The connection may be gone, and
// its memory another's, when it is done: it then does nothing.
type openFile struct {
	s      *fileSession
	c      *loop.Conn
	name   string
	opened openfile.Opened
}

func (o *openFile) Run() { o.opened = o.s.root.Open(o.name, false) }

func (o *openFile) Done(l *loop.Loop) {
	f, e := l.Files.Add(o.name, o.opened, openfile.Policy{})
	if o.c.Data != o {
		return
	}
	o.c.Data = nil
	if e != 0 {
		o.c.Close()
		return
	}
	o.s.respond(o.c, f)
}

// realEngine is an engine of one loop that serves the files of a directory.
type realEngine struct {
	*Engine
	dir    string
	addr   string
	sent   atomic.Int64
	closed atomic.Int64
}

func startEngine(t *testing.T, kind DriverKind, cfg Config) *realEngine {
	t.Helper()
	e := &realEngine{dir: t.TempDir()}
	root, err := openfile.OpenRoot(e.dir, openfile.SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listeners, cfg.Driver = []string{"127.0.0.1:0"}, kind
	cfg.NewSession = func(l *loop.Loop) loop.Session {
		return &fileSession{loop: l, root: root, sent: &e.sent, closed: &e.closed}
	}
	if cfg.Loops == 0 {
		cfg.Loops = 1
	}
	if e.Engine, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	e.addr = e.Addrs()[0].String()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := root.Close(); err != nil {
			t.Errorf("close root: %v", err)
		}
	})
	return e
}

// file makes a file of n bytes of a pattern.
func (e *realEngine) file(t *testing.T, name string, n int64) testenv.Pattern {
	t.Helper()
	p := testenv.NewPattern(uint64(n))
	writeFile(t, filepath.Join(e.dir, name), p.Bytes(0, int(n)))
	return p
}

func writeFile(t *testing.T, path string, p []byte) {
	t.Helper()
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// onLoop runs f on the first loop and waits for it.
func (e *realEngine) onLoop(t *testing.T, f func(*loop.Loop)) {
	t.Helper()
	var done sync.WaitGroup
	done.Add(1)
	if !e.loops[0].Post(func(l *loop.Loop) { defer done.Done(); f(l) }) {
		t.Fatal("the loop has ended")
	}
	done.Wait()
}

// client is a connection that asks for one file after the other.
type client struct {
	net.Conn
	buf []byte
}

func (e *realEngine) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &client{Conn: c, buf: make([]byte, 64<<10)}
}

// get asks for a file of size bytes and reads the answer.
func (c *client) get(request []byte, size int64) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	left := size + int64(len(strconv.AppendInt(c.buf[:0], size, 10))) + 1
	for left > 0 {
		n, err := c.Read(c.buf[:min(left, int64(len(c.buf)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
