package openfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

// fakeLeases grants every lease unless somebody writes. Those in broken are not held any more.
type fakeLeases struct {
	taken, broken map[int32]bool
	writing       bool
}

func newLeases() *fakeLeases { return &fakeLeases{map[int32]bool{}, map[int32]bool{}, false} }

func (l *fakeLeases) Take(fd int32) syscall.Errno {
	if l.writing {
		return syscall.EAGAIN
	}
	l.taken[fd] = true
	return 0
}
func (l *fakeLeases) Held(fd int32) bool { return l.taken[fd] && !l.broken[fd] }
func (l *fakeLeases) Give(fd int32)      { delete(l.taken, fd); delete(l.broken, fd) }

// TestBrokenIsBusy: who has broken a lease is waited for before anything is written, and when
// the size is another already and the time of modification is not.
func TestBrokenIsBusy(t *testing.T) {
	for _, size := range []int64{1, 1 << 10} { // brief or not
		l := newLeases()
		c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
		c.write("f", string(make([]byte, 1<<10)))
		policy := Policy{Wait: time.Second}
		open := func() (*File, syscall.Errno) {
			c.turn(10 * time.Millisecond)
			o := c.root.Open("f", true)
			o.Stat.Size, o.Stat.Mtim = size, unix.Timespec{Sec: 1}
			return c.fs.Add("f", o, policy)
		}
		o := c.root.Open("f", true)
		o.Stat.Mtim = unix.Timespec{Sec: 1}
		c.fs.driver = stillDriver{c.fs.driver}
		f, e := c.fs.Add("f", o, policy)
		if e != 0 || !f.Leased() {
			t.Fatalf("%v, leased %v", e, f.Leased())
		}
		l.writing, l.broken[f.lent.FD] = true, true
		c.fs.Broken(f.lent.FD, func(f *File) { c.fs.GiveUp(f) })
		for waited := time.Duration(0); waited < policy.Wait; waited += 100 * time.Millisecond {
			if _, e := open(); e != syscall.ETXTBSY {
				t.Errorf("size %d: opened while it is written, after %v: %v", size, waited, e)
			}
			c.turn(90 * time.Millisecond)
		}
		for _, later := range []time.Duration{0, 2 * time.Duration(stillAsked)} { // the same writer is not waited for again
			c.turn(later)
			if _, e := open(); e != 0 {
				t.Errorf("size %d: %v after the time for it: %v", size, later, e)
			}
		}
	}
}

// TestNobodyWaited: a lease was broken, or a file was busy, and nobody has asked for it since. Who asks
// after more than the time for a writer finds another one, who has only begun.
func TestNobodyWaited(t *testing.T) {
	for _, broken := range []bool{true, false} {
		l := newLeases()
		c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
		c.write("f", string(make([]byte, 1<<10)))
		policy := Policy{Wait: time.Second}
		open := func(later time.Duration) (*File, syscall.Errno) {
			c.turn(later)
			return c.fs.Add("f", c.root.Open("f", true), policy)
		}
		l.writing = !broken
		f, e := open(0)
		if broken {
			if e != 0 || !f.Leased() {
				t.Fatalf("%v, leased %v", e, f.Leased())
			}
			c.turn(0)
			l.writing, l.broken[f.lent.FD] = true, true
			c.fs.Broken(f.lent.FD, func(f *File) { c.fs.GiveUp(f) })
		}
		if _, e = open(2 * policy.Wait); e != syscall.ETXTBSY {
			t.Errorf("broken %v: the second writer is not waited for: %v", broken, e)
		}
	}
}

// TestWrittenForLong: a file that was waited for long enough, and is written to still, is given to each
// request, also to the ones that ask at the same time.
func TestWrittenForLong(t *testing.T) {
	l := newLeases()
	l.writing = true
	c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
	begin := time.Now().UnixNano()
	c.fs.wall = func() int64 { return begin } // whatever the machine is doing, the last write is not long ago
	policy := Policy{Wait: 100 * time.Millisecond}
	open := func(step time.Duration, content string) syscall.Errno {
		c.turn(step)
		c.write("f", content)
		_, e := c.fs.Open(c.root, "f", "f", policy)
		return e
	}
	if e := open(0, "1"); e != syscall.ETXTBSY {
		t.Fatal(e)
	}
	for i, step := range []time.Duration{policy.Wait, time.Millisecond, time.Millisecond} {
		if e := open(step, string(make([]byte, 2+i))); e != 0 {
			t.Errorf("request %d after the time for the writer: %v", i, e)
		}
	}
}

// TestIdleIsBusy: who opens a file to cut it may be held before that, and sets the time of
// modification afterwards. So one that is open for writing is waited for a moment, however old it
// looks, and longer if it is empty. When it is written to after all it is waited for again.
func TestIdleIsBusy(t *testing.T) {
	for _, size := range []int64{0, 1 << 10} {
		l := newLeases()
		l.writing = true
		c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
		c.write("f", string(make([]byte, size)))
		const wait = 10 * time.Second
		mustWait := func(step time.Duration, old bool) bool {
			for ; step > time.Duration(stillAsked); step -= time.Duration(stillAsked) {
				c.turn(time.Duration(stillAsked))
				_, _ = c.fs.Add("f", c.root.Open("f", true), Policy{Wait: wait})
			}
			c.turn(step)
			o := c.root.Open("f", true)
			if old {
				o.Stat.Mtim = unix.Timespec{Sec: 1}
			}
			_, e := c.fs.Add("f", o, Policy{Wait: wait})
			return e == syscall.ETXTBSY
		}
		got := []bool{mustWait(0, true), mustWait(time.Duration(idleAfter)-1, true), mustWait(1, true), mustWait(10*time.Millisecond, false), mustWait(wait, false)}
		want := []bool{true, true, size == 0, true, false}
		if !slices.Equal(got, want) {
			t.Errorf("size %d: must wait %v, want %v", size, got, want)
		}
	}
}

// TestContestedIsChanged: who had a file open for writing all the time writes to it and puts the time of
// modification back. What is sent of it has changed all the same.
func TestContestedIsChanged(t *testing.T) {
	for _, writing := range []bool{true, false} {
		l := newLeases()
		l.writing = writing
		c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
		c.write("f", string(make([]byte, 1<<10)))
		how := ConsistencyCheck // asks for no lease, so nobody is known to write
		if writing {
			how = ConsistencyAuto
		}
		f, e := c.fs.Add("f", c.root.Open("f", true), Policy{Consistency: how})
		if e != 0 || f.Leased() || !f.Unchanged(c.fs.driver) {
			t.Fatalf("%v, leased %v, changed %v", e, f.Leased(), !f.Unchanged(c.fs.driver))
		}
		path := filepath.Join(c.dir, "f")
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.WriteString("another")
		if err = errors.Join(err, w.Close(), os.Chtimes(path, time.Time{}, time.Unix(0, f.Mtime))); err != nil {
			t.Fatal(err)
		}
		if f.Unchanged(c.fs.driver) == writing {
			t.Errorf("writing %v: unchanged %v", writing, !writing)
		}
	}
}

// TestContestedGetsNoLease: a response has begun while somebody writes, who then puts the time of
// modification back and is done. The lease that can be had now is another File's: it must not vouch for
// what the response has sent.
func TestContestedGetsNoLease(t *testing.T) {
	l := newLeases()
	l.writing = true
	c := newCacheTest(t, onFallback, Config{MaxBody: 512, Leases: l})
	c.write("f", string(make([]byte, 1<<10)))
	if err := os.Chtimes(filepath.Join(c.dir, "f"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	c.turn(1)
	f, e := c.fs.Add("f", c.root.Open("f", true), Policy{})
	if e != 0 || f.Leased() {
		t.Fatalf("%v, leased %v", e, f.Leased())
	}
	f.Retain()
	l.writing = false
	for range 2 { // the second time the first is not in the cache any more
		c.turn(1)
		again, e := c.fs.Add("f", c.root.Open("f", true), Policy{})
		if e != 0 || !again.Leased() || f.Leased() {
			t.Errorf("%v, the new one leased %v, that of the response %v", e, again.Leased(), f.Leased())
		}
	}
	f.Release()
}

// stillDriver says of each file that it is as it was opened in TestBrokenIsBusy.
type stillDriver struct{ Driver }

func (stillDriver) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	return aio.FileStat{Size: f.Size, MtimeNs: 1e9}, 0
}

// TestBreakOfPinned: somebody writes to a file that nobody holds any more and that a driver
// still reads. Nobody keeps the writer, and the file is closed once.
func TestBreakOfPinned(t *testing.T) {
	l := newLeases()
	c := newCacheTest(t, onFallback, Config{MaxBody: 1, Leases: l})
	c.write("f", "content")
	f := c.open("f")
	fd := f.lent.FD
	if !f.Leased() {
		t.Fatal("the file is not leased")
	}
	f.lent.Pins++
	c.turn(1)
	c.fs.drop(f)
	l.broken[fd] = true
	c.fs.Broken(fd, func(f *File) { c.fs.GiveUp(f) })
	if len(l.taken) != 0 {
		t.Error("the writer is held")
	}
	f.lent.Pins--
	c.fs.Sweep()
	if n := c.fs.stats.Open; n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// TestBodyOfLent: the pages of a small file are on their way to a client when its content comes
// into memory. The lease stays: somebody who writes would change what the client gets.
func TestBodyOfLent(t *testing.T) {
	for _, lent := range []bool{true, false} {
		l := newLeases()
		c := newCacheTest(t, onFallback, Config{Leases: l})
		c.write("f", "content")
		f := c.open("f")
		if lent {
			f.Retain()
		}
		for f.Body == nil {
			if got := c.open("f"); got != f {
				t.Fatal("the file is opened anew")
			}
		}
		if f.Leased() != lent {
			t.Errorf("lent %v, and leased %v", lent, f.Leased())
		}
		if lent {
			f.Release()
		}
	}
}
