package testenv

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPattern(t *testing.T) {
	p := NewPattern(1)
	whole := p.Bytes(0, 3*patternPeriod)
	for _, off := range []int64{0, 1, 4096, patternPeriod - 1, patternPeriod, 2*patternPeriod - 10} {
		part := p.Bytes(off, 5000)
		if !bytes.Equal(part, whole[off:][:len(part)]) {
			t.Errorf("content at %d depends on where reading begins", off)
		}
		if err := p.Check(part, off); err != nil {
			t.Error(err)
		}
	}
	if err := p.Check(p.Bytes(1<<40, 100), 1<<40); err != nil {
		t.Error(err)
	}
}

// TestPatternFindsFaults checks that the usual faults of a file server show.
func TestPatternFindsFaults(t *testing.T) {
	p := NewPattern(2)
	const off, n = 1 << 20, 100_000
	for name, wrong := range map[string][]byte{
		"a page further on":   p.Bytes(off+4096, n),
		"4 GiB further on":    p.Bytes(off+4<<30, n),
		"a chunk further on":  p.Bytes(off+1<<20, n),
		"another file":        NewPattern(3).Bytes(off, n),
		"zeros":               make([]byte, n),
		"the last byte wrong": append(p.Bytes(off, n-1), p.Bytes(off+n-1, 1)[0]^1),
	} {
		if p.Check(wrong, off) == nil {
			t.Errorf("%s: not found", name)
		}
	}
	err := p.Check(p.Bytes(off+4096, n), off)
	if err == nil || !strings.Contains(err.Error(), "belong 4096 bytes further on") {
		t.Errorf("shifted content is described as: %v", err)
	}
	bad := p.Bytes(off, n)
	bad[70_000] ^= 1
	if err := p.Check(bad, off); err == nil || !strings.Contains(err.Error(), "offset 1118576") {
		t.Errorf("fault at 70000 is described as: %v", err)
	}
}

func TestPatternFile(t *testing.T) {
	p := NewPattern(4)
	f := p.File(t, t.TempDir(), 2<<20+1)
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 2<<20+1 {
		t.Errorf("%d bytes", len(b))
	}
	if err := p.Check(b, 0); err != nil {
		t.Error(err)
	}
	if got := Borrow(t, f); got.Size != 2<<20+1 || got.FD != int32(f.Fd()) {
		t.Errorf("borrowed as %+v", got)
	}
}

func TestNewFDs(t *testing.T) {
	const zero = "/dev/zero"
	before := FDs(t)
	f, err := os.Open(zero)
	if err != nil {
		t.Fatal(err)
	}
	leaked := newFDs(before, FDs(t))
	f.Close()
	if len(leaked) != 1 || !strings.HasSuffix(leaked[0], zero) {
		t.Errorf("leaked: %q, want %s", leaked, zero)
	}
	if left := newFDs(before, FDs(t)); len(left) > 0 {
		t.Errorf("leaked: %q after close", left)
	}
	if names := newFDs(map[int]string{7: "a", 8: "b"}, map[int]string{7: "other", 8: "b"}); !slices.Equal(names, []string{"7 -> other"}) {
		t.Errorf("a number used again: %q", names)
	}
}

func TestExhaustFDs(t *testing.T) {
	LeakCheck(t)
	restore := ExhaustFDs(t)
	if _, err := unix.Eventfd(0, unix.EFD_CLOEXEC); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a descriptor when none should be left: %v", err)
	}
	restore()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatalf("after restore: %v", err)
	}
	unix.Close(fd)
}

// TestDeny denies a call here and not on another goroutine.
func TestDeny(t *testing.T) {
	Deny(t, syscall.EXDEV, unix.SYS_SPLICE)
	Deny(t, syscall.EDOM, unix.SYS_TEE)
	for _, c := range []struct {
		nr   uintptr
		want syscall.Errno
	}{{unix.SYS_SPLICE, syscall.EXDEV}, {unix.SYS_TEE, syscall.EDOM}, {unix.SYS_GETPID, 0}} {
		if _, _, e := syscall.RawSyscall6(c.nr, 0, 0, 0, 0, 0, 0); e != c.want {
			t.Errorf("call %d: %v, want %v", c.nr, e, c.want)
		}
	}
	elsewhere := make(chan syscall.Errno)
	go func() {
		_, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, ^uintptr(0), 0, ^uintptr(0), 0, 1, 0)
		elsewhere <- e
	}()
	if e := <-elsewhere; e != syscall.EBADF {
		t.Errorf("on another goroutine: %v, want %v", e, syscall.EBADF)
	}
}

func TestDropCache(t *testing.T) {
	f := NewPattern(5).File(t, t.TempDir(), 1<<20)
	if n, known := CachedPages(t, f); !known || n == 0 {
		t.Skipf("%d pages of a new file in memory (known: %v)", n, known)
	}
	NeedCold(t, f)
	if n, _ := CachedPages(t, f); n != 0 {
		t.Errorf("%d pages are still there", n)
	}
}

func TestPair(t *testing.T) {
	LeakCheck(t)
	for name, pair := range map[string]func() (int, *Peer){
		"TCP":  func() (int, *Peer) { return Pair(t, SockOptions{SendBuffer: 8 << 10, RecvBuffer: 8 << 10}) },
		"Unix": func() (int, *Peer) { return UnixPair(t) },
	} {
		fd, p := pair()
		p.MustSend(t, []byte("hello"))
		AwaitInput(t, fd)
		b := make([]byte, 10)
		if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "hello" {
			t.Errorf("%s: read %q, %v", name, b[:max(n, 0)], err)
		}
		if _, e := p.Recv(b); e != syscall.EAGAIN {
			t.Errorf("%s: receive of nothing: %v", name, e)
		}
		unix.Close(fd)
		AwaitInput(t, p.FD)
		if n, e := p.Recv(b); n != 0 || e != 0 {
			t.Errorf("%s: end of stream: %d, %v", name, n, e)
		}
		p.Reset()
		p.Reset() // idempotent
	}
}
