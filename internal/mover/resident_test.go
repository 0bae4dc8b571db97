package mover

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

const (
	sysCachestat = 451
	chunk        = 64 << 10
)

// coldRig is a rig with a file that is not in memory.
func coldRig(t *testing.T, size int64) (*rig, *aio.File) {
	t.Helper()
	file := testenv.NewPattern(20).File(t, t.TempDir(), size)
	testenv.NeedCold(t, file)
	f := testenv.Borrow(t, file)
	return newUnixRig(t, aio.Config{ColdChunk: chunk}), f
}

// TestPlan follows the fetches for a cold file, step by step. What was said to
// be fetched is believed without being so.
func TestPlan(t *testing.T) {
	const size = 3*chunk + 100
	if pageSize != 4096 {
		t.Skip("the offsets are meant for pages of 4 KiB")
	}
	r, f := coldRig(t, size)
	// blocked and sends check an attempt on n bytes; of these sent can go, if
	// need be by several calls: the kernel may make them short at any time.
	blocked := func(off, n int64, want Range) {
		t.Helper()
		if s, fetch := r.send(f, off, n, aio.BlockedDisk); s.N != 0 || fetch != want {
			t.Errorf("%d bytes from %d: %d sent, to fetch %v, want %v", n, off, s.N, fetch, want)
		}
	}
	sends := func(off, n, sent int64, want Range) {
		t.Helper()
		var got Range
		for end := off + sent; off < end; {
			s, fetch := r.Send(r.sock, &r.st, f, off, n, false)
			if s.Status > aio.BlockedSocket || s.N > end-off {
				t.Fatalf("%d bytes from %d: %d sent, status %d, %v, want %d", n, off, s.N, s.Status, s.Err, end-off)
			}
			off, n = off+s.N, n-s.N
			if !fetch.Empty() {
				got = fetch
			}
			for r.receive() {
			}
		}
		if got != want {
			t.Errorf("at %d: to fetch %v, want %v", off, got, want)
		}
	}
	fetched := func() {
		t.Helper()
		if e := r.Fetched(&r.st, 0); e != 0 {
			t.Fatal(e)
		}
	}
	none := Range{}
	blocked(5000, 1000, Range{4096, 4096 + chunk}) // from the page's beginning
	blocked(5000, 1000, none)                      // the one under way is what is waited for
	fetched()
	sends(5000, 1000, 1000, none)
	pos := int64(6000)
	quarter := int64(4096 + chunk/4)
	sends(pos, quarter-pos, quarter-pos, none)
	second := Range{4096 + chunk, 4096 + 2*chunk}
	sends(quarter, 1, 1, second)
	sends(quarter+1, 10, 10, none) // one at a time
	pos = quarter + 11
	sends(pos, 2*chunk, second.Off-pos, none) // to the end of what is there
	blocked(second.Off, 10, none)
	fetched()
	sends(second.Off, 10, 10, none)
	last := Range{second.End, size} // no further than the file goes
	sends(second.Off+10, chunk/2, chunk/2, last)
	fetched() // before its time: adjoins what is there
	pos = second.Off + 10 + chunk/2
	sends(pos, size, size-pos, none)
	r.send(f, size, 10, aio.EOF)
	if !f.Advised {
		t.Error("the kernel was not told to leave reading ahead to us")
	}
}

// TestFetchFails checks what becomes of errors of fetches.
func TestFetchFails(t *testing.T) {
	const size = 4 * chunk
	r, f := coldRig(t, size)
	r.send(f, 0, 10, aio.BlockedDisk)
	if e := r.Fetched(&r.st, syscall.EIO); e != syscall.EIO {
		t.Errorf("%v is to be told, want %v", e, syscall.EIO)
	}
	if _, fetch := r.send(f, 0, 10, aio.BlockedDisk); fetch != (Range{0, chunk}) {
		t.Errorf("after a failure: to fetch %v", fetch)
	}
	if e := r.Fetched(&r.st, syscall.ENOMEM); e != 0 {
		t.Errorf("%v is to be told of what may pass", e)
	}
	if f.Fetched != (aio.FetchedRange{}) {
		t.Errorf("failed fetches are remembered: %+v", f.Fetched)
	}
	_, ahead := r.send(f, 0, chunk/2, aio.OK)
	for r.receive() {
	}
	if ahead != (Range{chunk, 2 * chunk}) {
		t.Fatalf("to read ahead: %v", ahead)
	}
	r.Fetched(&r.st, syscall.EIO)
	if _, again := r.send(f, chunk/2, chunk/2, aio.OK); !again.Empty() {
		t.Errorf("a failed read-ahead is tried again: %v", again)
	}
	if _, fetch := r.send(f, chunk, 10, aio.BlockedDisk); fetch != (Range{chunk, 2 * chunk}) {
		t.Errorf("where reading ahead failed: to fetch %v", fetch)
	}
	if n := r.stats.Errors; n[aio.Fatal] != 2 || n[aio.Wait] != 1 {
		t.Errorf("errors by class: %v", n)
	}
}

// TestCannotTell sends from a file system that does not tell what is in
// memory: a chunk is fetched once and believed for a second.
func TestCannotTell(t *testing.T) {
	const size = 2 * chunk
	p := testenv.NewPattern(21)
	_, f := file(t, p, size)
	r := newUnixRig(t, aio.Config{ColdChunk: chunk})
	testenv.Deny(t, syscall.EOPNOTSUPP, sysCachestat, unix.SYS_PREADV2)
	buf := make([]byte, 100)
	read := func(off int64, want syscall.Errno) {
		t.Helper()
		n, e := r.ReadAt(f, buf, off)
		if e != want || e == 0 && n != len(buf) {
			t.Errorf("read at %d: %d bytes, %v, want %v", off, n, e, want)
		}
		if err := p.Check(buf[:n], off); err != nil {
			t.Error(err)
		}
	}
	r.Now = 50e9
	read(0, syscall.EAGAIN)
	r.send(f, 0, 10, aio.BlockedDisk)
	r.Fetched(&r.st, 0)
	read(0, 0)
	read(chunk-50, syscall.EAGAIN)
	r.Now += recall - 1
	for range 3 { // other connections
		r.Reset(&r.st)
		r.send(f, 0, 10, aio.OK)
	}
	r.Now++
	read(0, syscall.EAGAIN)
	r.Reset(&r.st)
	r.send(f, 0, 10, aio.BlockedDisk)
}

// TestUncounted sends from a file whose pages cachestat does not count: once
// they were fetched that is noticed, and the file is probed instead.
func TestUncounted(t *testing.T) {
	const size = 4 * chunk
	r, f := coldRig(t, size)
	// The probe asks the kernel to bring the page in: it must not find it there.
	testenv.Deny(t, syscall.EAGAIN, unix.SYS_PREADV2)
	r.Now = 50e9
	r.send(f, 0, 10, aio.BlockedDisk)
	r.Fetched(&r.st, 0) // which did not bring in what is counted
	r.Reset(&r.st)
	r.send(f, 0, 10, aio.BlockedDisk)
	if !f.Foreign {
		t.Error("cachestat is still asked")
	}
}

// TestBelieveLonger: a window that is in use and found in memory again and again is
// asked about less and less often, one that rested as often as at first.
func TestBelieveLonger(t *testing.T) {
	const ms = int64(1e6)
	now, until := 12345*ms, int64(0)
	for i, c := range []struct{ later, want int64 }{ // ms after the window was believed last
		{0, 100}, {0, 200}, {150, 400}, {399, 800}, {1, 800}, {799, 800}, {801, 100}, {99, 200},
	} {
		now = max(now, until+c.later*ms)
		if until = believeLonger(now, until); until/ms-now/ms > c.want || until/ms-now/ms < c.want-1 {
			t.Errorf("time %d: believed for %d ms, want %d", i, until/ms-now/ms, c.want)
		}
	}
}

// TestRemember checks the range that a file is believed to have in memory.
func TestRemember(t *testing.T) {
	var m Mover
	var f aio.File
	m.Now = 10e9
	m.remember(&f, Range{100, 200})
	m.Now += recall / 2
	m.remember(&f, Range{200, 300}) // adjoins, and does not last longer
	if want := (aio.FetchedRange{Off: 100, End: 300, Until: 10e9 + recall}); f.Fetched != want {
		t.Fatalf("%+v, want %+v", f.Fetched, want)
	}
	for _, c := range []struct {
		off, n int64
		want   bool
	}{{100, 200, true}, {150, 1, true}, {99, 10, false}, {299, 2, false}, {300, 1, false}} {
		if got := f.Fetched.Covers(c.off, c.n, m.Now); got != c.want {
			t.Errorf("covers %d bytes from %d: %v", c.n, c.off, got)
		}
	}
	m.remember(&f, Range{1000, 1100}) // apart: takes its place
	if f.Fetched.Covers(100, 10, m.Now) || !f.Fetched.Covers(1000, 100, m.Now) {
		t.Errorf("the last range does not replace the one before: %+v", f.Fetched)
	}
	m.Now += recall
	if f.Fetched.Covers(1000, 100, m.Now) {
		t.Error("covers what is past its time")
	}
	m.remember(&f, Range{1100, 1200})
	if f.Fetched.Covers(1000, 200, m.Now) {
		t.Error("what is past its time is prolonged")
	}
}

// TestBelieve checks for how long files found in memory are not asked about.
func TestBelieve(t *testing.T) {
	const now = int64(7e9)
	r := newUnixRig(t, aio.Config{})
	r.Now = now
	for _, c := range []struct{ size, off, until int64 }{
		{checkWindow, 0, now + believe},
		{checkWindow, 5000, now + believe},
		{checkWindow + 1, 0, 0},
	} {
		_, f := file(t, testenv.NewPattern(22), c.size)
		r.send(f, c.off, 100, aio.OK)
		if f.ResidentUntil != c.until {
			t.Errorf("%d bytes from %d: believed until %d, want %d", c.size, c.off, f.ResidentUntil, c.until)
		}
	}
}

// TestNotAsked sends from a file that is believed to be in memory, as private
// copies are, where asking would say that it is not.
func TestNotAsked(t *testing.T) {
	_, f := file(t, testenv.NewPattern(23), 100_000)
	r := newUnixRig(t, aio.Config{})
	testenv.Deny(t, syscall.EAGAIN, sysCachestat, unix.SYS_PREADV2)
	r.Now = 10
	r.send(f, 0, 10, aio.BlockedDisk)
	r.Reset(&r.st)
	f.ResidentUntil = 11
	r.send(f, 0, 10, aio.OK)
	r.Now = 11
	r.send(f, 10, 10, aio.BlockedDisk)
}

// TestUnderWay checks that a file from which we fetch is probed beyond what
// cachestat says, which counts the pages that are still being read.
func TestUnderWay(t *testing.T) {
	file, f := file(t, testenv.NewPattern(24), 100_000)
	if _, known := testenv.CachedPages(t, file); !known {
		t.Skip("no cachestat")
	}
	r := newUnixRig(t, aio.Config{})
	testenv.Deny(t, syscall.EAGAIN, unix.SYS_PREADV2)
	f.Pins = 1
	r.send(f, 0, 10, aio.BlockedDisk)
	r.Reset(&r.st)
	f.Pins = 0
	r.send(f, 0, 10, aio.OK)
}
