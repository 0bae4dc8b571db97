package fallback

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

const sysCachestat = 451

// rig is a driver with one connection.
type rig struct {
	*Driver
	t    testing.TB
	fd   int
	tok  aio.Token
	peer *testenv.Peer
	ev   []aio.Event
}

func newRig(t *testing.T, cfg aio.Config) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	runtime.LockOSThread()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Destroy(); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
	fd, peer := testenv.Pair(t, testenv.SockOptions{})
	r := &rig{Driver: d, t: t, fd: fd, tok: aio.MakeToken(0, 1), peer: peer, ev: make([]aio.Event, 16)}
	if err := d.Open(r.tok, fd); err != nil {
		t.Fatal(err)
	}
	return r
}

// transfer sends n bytes of f from 0 to the peer, checks them and returns how
// many went by which way.
func (r *rig) transfer(f *aio.File, p testenv.Pattern, n int64) (by [aio.NumVia]int64) {
	r.t.Helper()
	buf := make([]byte, 64<<10)
	var off, got int64
	blocked := false
	for deadline := time.Now().Add(30 * time.Second); got < n; {
		if time.Now().After(deadline) {
			r.t.Fatalf("no end: %d bytes sent, %d received", off, got)
		}
		if !blocked && off < n {
			s := r.SendFile(r.tok, f, off, n-off, false)
			if s.Status == aio.Failed || s.Status == aio.EOF {
				r.t.Fatalf("at %d: status %d, %v", off, s.Status, s.Err)
			}
			by[s.Via] += s.N
			off += s.N
			blocked = s.Blocked()
		}
		k, _ := r.peer.Recv(buf)
		if err := p.Check(buf[:k], got); err != nil {
			r.t.Fatal(err)
		}
		got += int64(k)
		events, err := r.Wait(r.ev, time.Millisecond)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, ev := range r.ev[:events] {
			if ev.Op != aio.Ready || ev.Err != 0 {
				r.t.Fatalf("%v event, %v", ev.Op, ev.Err)
			}
			blocked = false
		}
	}
	return by
}

// TestStepDown has the kernel refuse one way after the other. The bytes are
// right all the same, each refusal is counted once a file and not tried again.
func TestStepDown(t *testing.T) {
	const size = 1<<20 + 7
	file := func(t *testing.T, p testenv.Pattern) *aio.File {
		return testenv.Borrow(t, p.File(t, t.TempDir(), size))
	}
	for _, c := range []struct {
		name  string
		mode  aio.Mode
		errno syscall.Errno
		deny  []uintptr
		via   aio.Via
		steps []aio.Via // counted
	}{
		{"auto/nothing refused", aio.Auto, syscall.EINVAL, nil, aio.ViaSendfile, nil},
		{"auto/no sendfile", aio.Auto, syscall.EINVAL, []uintptr{unix.SYS_SENDFILE}, aio.ViaSplice, []aio.Via{aio.ViaSendfile}},
		{"auto/sendfile filtered", aio.Auto, syscall.EPERM, []uintptr{unix.SYS_SENDFILE}, aio.ViaSplice, []aio.Via{aio.ViaSendfile}},
		{"auto/no sendfile, no splice", aio.Auto, syscall.ENOSYS, []uintptr{unix.SYS_SENDFILE, unix.SYS_SPLICE}, aio.ViaCopy, []aio.Via{aio.ViaSendfile, aio.ViaSplice}},
		{"sendfile/no sendfile", aio.Sendfile, syscall.EINVAL, []uintptr{unix.SYS_SENDFILE}, aio.ViaCopy, []aio.Via{aio.ViaSendfile}},
		{"splice/no splice", aio.Splice, syscall.EINVAL, []uintptr{unix.SYS_SPLICE}, aio.ViaCopy, []aio.Via{aio.ViaSplice}},
		{"copy/nothing else", aio.Copy, syscall.EPERM, []uintptr{unix.SYS_SENDFILE, unix.SYS_SPLICE}, aio.ViaCopy, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, q := testenv.NewPattern(1), testenv.NewPattern(2)
			r := newRig(t, aio.Config{Mode: c.mode})
			f, g := file(t, p), file(t, q)
			if c.deny != nil {
				testenv.Deny(t, c.errno, c.deny...)
			}
			var want [aio.NumVia]int64
			want[c.via] = size
			for range 2 {
				if by := r.transfer(f, p, size); by != want {
					t.Errorf("bytes by way: %v, want %v", by, want)
				}
			}
			r.transfer(g, q, size)
			var steps [aio.NumVia]uint64
			for _, via := range c.steps {
				steps[via] = 2 // files
			}
			if r.Stats().StepsDown != steps {
				t.Errorf("steps down: %v, want %v", r.Stats().StepsDown, steps)
			}
			if unsupported := r.Stats().Errors[aio.Unsupported]; unsupported != uint64(2*len(c.steps)) {
				t.Errorf("errors of class unsupported: %d, want %d", unsupported, 2*len(c.steps))
			}
		})
	}
}

// TestWithoutPipes sends through memory where splice finds no pipe, and goes
// back to splicing when there is one.
func TestWithoutPipes(t *testing.T) {
	const size = 300_000
	p := testenv.NewPattern(3)
	r := newRig(t, aio.Config{Mode: aio.Splice})
	f := testenv.Borrow(t, p.File(t, t.TempDir(), size))
	testenv.LimitFDs(t, 64)
	restore := testenv.ExhaustFDs(t)
	by := r.transfer(f, p, size)
	restore()
	if by[aio.ViaCopy] != size || r.Stats().StepsDown[aio.ViaSplice] == 0 {
		t.Errorf("without descriptors: bytes by way %v, steps down %v", by, r.Stats().StepsDown)
	}
	if by := r.transfer(f, p, size); by[aio.ViaSplice] != size {
		t.Errorf("with descriptors again: bytes by way %v", by)
	}
}

// TestResidencyUnknown sends cold and hot files where the kernel does not tell
// all about what is in memory: each chunk is fetched once and then sent unasked.
func TestResidencyUnknown(t *testing.T) {
	const size, chunk = 1<<20 + 11, 256 << 10
	const chunks = size/chunk + 1 // the last is short; reading ahead may add one beyond the end
	for _, c := range []struct {
		name  string
		errno syscall.Errno
		deny  []uintptr
		later int64 // ns until the file is sent again
		again bool  // it is fetched again
	}{
		{"no cachestat", syscall.ENOSYS, []uintptr{sysCachestat}, 0, false},
		{"not our file", syscall.EPERM, []uintptr{sysCachestat}, 0, false},
		{"neither", syscall.EOPNOTSUPP, []uintptr{sysCachestat, unix.SYS_PREADV2}, 0, false},
		{"neither, long ago", syscall.EOPNOTSUPP, []uintptr{sysCachestat, unix.SYS_PREADV2}, 2e9, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testenv.NewPattern(4)
			r := newRig(t, aio.Config{ColdChunk: chunk})
			var files [10]*os.File
			for i := range files {
				files[i] = p.File(t, t.TempDir(), size)
				testenv.NeedCold(t, files[i])
			}
			testenv.Deny(t, c.errno, c.deny...)
			f := firstFetched(r, p, files[:])
			if !f.Foreign {
				t.Error("the file is not marked as foreign")
			}
			r.Mover.Now += c.later
			cold := r.Stats().ColdReads
			least := uint64(chunks)
			if len(c.deny) == 1 {
				least = 1 // see firstFetched
			}
			if cold < least || cold > chunks+1 {
				t.Errorf("%d fetches of a cold file, want %d", cold, chunks)
			}
			r.transfer(f, p, size)
			hot := r.Stats().ColdReads - cold
			if !c.again && hot != 0 || c.again && (hot < least || hot > chunks+1) {
				t.Errorf("%d fetches of the file when it is in memory", hot)
			}
		})
	}
}

// firstFetched sends cold files until something of one had to be fetched, and returns
// that one: asked by preadv2, a kernel with a fast disk may bring in a chunk itself, or
// all of them.
func firstFetched(r *rig, p testenv.Pattern, files []*os.File) (f *aio.File) {
	r.t.Helper()
	for _, file := range files {
		f = testenv.Borrow(r.t, file)
		if r.transfer(f, p, f.Size); r.Stats().ColdReads > 0 {
			break
		}
	}
	return f
}

// TestReadAtUnknown reads where the kernel cannot tell.
func TestReadAtUnknown(t *testing.T) {
	p := testenv.NewPattern(6)
	r := newRig(t, aio.Config{})
	f := testenv.Borrow(t, p.File(t, t.TempDir(), 1000))
	testenv.Deny(t, syscall.EOPNOTSUPP, unix.SYS_PREADV2)
	if n, e := r.ReadAt(f, make([]byte, 100), 0); n != 0 || e != syscall.EAGAIN {
		t.Errorf("%d bytes, %v, want %v", n, e, syscall.EAGAIN)
	}
}

// TestOverlay sends from overlayfs, whose files own no pages: cachestat counts
// none of them, and RWF_NOWAIT is refused. Containers run on it.
func TestOverlay(t *testing.T) {
	const size = 1<<20 + 13
	p := testenv.NewPattern(5)
	r := newRig(t, aio.Config{})
	f := testenv.Borrow(t, overlayFile(t, p, size))
	r.transfer(f, p, size)
	cold := r.Stats().ColdReads
	if by := r.transfer(f, p, size); by[aio.ViaSendfile] != size {
		t.Errorf("bytes by way: %v", by)
	}
	if hot := r.Stats().ColdReads - cold; hot != 0 {
		t.Errorf("%d fetches of the file when it is in memory", hot)
	}
}

// overlayFile returns a patterned file on overlayfs.
func overlayFile(t *testing.T, p testenv.Pattern, size int64) *os.File {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Base(p.File(t, filepath.Join(dir, "lower"), size).Name())
	merged := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("mount overlayfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, 0); err != nil {
			t.Error(err)
		}
	})
	file, err := os.Open(filepath.Join(merged, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestWithoutPwait2 waits with the precision that is left.
func TestWithoutPwait2(t *testing.T) {
	r := newRig(t, aio.Config{})
	testenv.Deny(t, syscall.ENOSYS, unix.SYS_EPOLL_PWAIT2)
	for _, timeout := range []time.Duration{100 * time.Microsecond, 3 * time.Millisecond} {
		full := false
		for try := 0; try < 20 && !full; try++ { // a signal may end a wait early
			start := time.Now()
			if n, err := r.Wait(r.ev, timeout); n != 0 || err != nil {
				t.Fatalf("%d events, %v", n, err)
			}
			full = time.Since(start) >= timeout
		}
		if !full {
			t.Errorf("wait of %v always returned early", timeout)
		}
	}
	r.peer.MustSend(t, []byte("request"))
	if ev := r.next(t); !bytes.Equal(ev.Data, []byte("request")) {
		t.Errorf("%v event, %v, %q", ev.Op, ev.Err, ev.Data)
	}
}

// TestReceiveShortOfMemory has the kernel short of memory for a receive, which is made again.
func TestReceiveShortOfMemory(t *testing.T) {
	r := newRig(t, aio.Config{})
	r.peer.MustSend(t, []byte("x"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		testenv.Deny(t, syscall.ENOMEM, unix.SYS_RECVFROM)
		if n, err := r.Wait(r.ev, time.Second); n != 0 || err != nil || r.Counters.Errors[aio.Wait] == 0 {
			t.Errorf("%d events, %v, %d errors are counted", n, err, r.Counters.Errors[aio.Wait])
		}
	}()
	<-done
	for n := 0; n == 0; {
		var err error
		if n, err = r.Wait(r.ev, time.Minute); n > 1 || err != nil || n == 1 && len(r.ev[0].Data) != 1 {
			t.Fatalf("%d events, %v, %+v", n, err, r.ev[0])
		}
	}
}
