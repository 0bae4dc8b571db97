package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slowFSEnv makes a test binary the server of a SlowFS, for the directory that it names.
const slowFSEnv = "FSERVE_TEST_SLOWFS"

// SlowFS is a file system in user space (FUSE) that shows a directory, read-only. It takes
// as long for a call as it is told to. Nothing is kept by the kernel but content: each
// lookup, open, close and look at attributes is a call. The server is another process,
// which needs Main.
type SlowFS struct {
	t       testing.TB
	mu      sync.Mutex
	orders  io.Writer
	answers *bufio.Reader
}

// NewSlowFS shows the directory backing at the directory at, until the end of the test.
// The test is skipped without /dev/fuse or without the right to mount.
func NewSlowFS(t testing.TB, backing, at string) *SlowFS {
	t.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("skipped, needs FUSE: %v", err)
	}
	defer dev.Close()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", dev.Fd(), os.Getuid(), os.Getgid())
	if err := unix.Mount("fserve-test", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Skipf("skipped, needs the right to mount: %v", err)
	}
	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), slowFSEnv+"="+backing)
	server.ExtraFiles, server.Stderr = []*os.File{dev}, os.Stderr
	orders, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// With the server every call ends that still waits for it.
		_ = server.Process.Kill()
		_ = server.Wait()
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return &SlowFS{t: t, orders: orders, answers: bufio.NewReader(answers)}
}

// Delay makes every call of a kind take so long, those under way included: lookup,
// getattr, open, read, flush (a part of close), statfs, opendir or readdir.
func (s *SlowFS) Delay(kind string, d time.Duration) { s.order(kind, d.String()) }

// Calls returns how many calls of a kind there were, and how many of them wait now.
func (s *SlowFS) Calls(kind string) (all, waiting int) {
	_, err := fmt.Sscan(s.order(kind, "-"), &all, &waiting)
	if err != nil {
		s.t.Error(err)
	}
	return all, waiting
}

func (s *SlowFS) order(kind, what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := fmt.Fprintln(s.orders, kind, what)
	answer, e := s.answers.ReadString('\n')
	if err = errors.Join(err, e); err != nil {
		s.t.Errorf("the server of the slow file system has ended: %v", err)
	}
	return answer
}

// pace keeps the calls of a slowServer waiting.
type pace struct {
	mu           sync.Mutex
	delay        map[string]time.Duration
	all, waiting map[string]int
	changed      chan struct{}
}

func (p *pace) wait(kind string) {
	began := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[kind]++
	for left := p.delay[kind]; left > 0; left = p.delay[kind] - time.Since(began) {
		changed := p.changed
		p.waiting[kind]++
		p.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(left):
		}
		p.mu.Lock()
		p.waiting[kind]--
	}
}

// obey carries out an order and answers it.
func (p *pace) obey(order string) {
	kind, what, _ := strings.Cut(order, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, err := time.ParseDuration(what); err == nil {
		p.delay[kind] = d
		close(p.changed)
		p.changed = make(chan struct{})
	}
	fmt.Println(p.all[kind], p.waiting[kind])
}

// serveSlowFS is the other process.
func serveSlowFS(backing string) {
	s := &slowServer{
		dev:   os.NewFile(3, "/dev/fuse"),
		paths: map[uint64]string{1: backing}, ids: map[string]uint64{backing: 1}, open: map[uint64]*os.File{},
		pace: pace{delay: map[string]time.Duration{}, all: map[string]int{}, waiting: map[string]int{}, changed: make(chan struct{})},
	}
	go s.serve()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		s.pace.obey(in.Text())
	}
}
