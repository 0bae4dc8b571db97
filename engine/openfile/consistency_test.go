package openfile

import (
	"syscall"
	"testing"
)

// fakeLeases grants every lease. Those in broken are not held any more.
type fakeLeases struct{ taken, broken map[int32]bool }

func (l *fakeLeases) Take(fd int32) syscall.Errno { l.taken[fd] = true; return 0 }
func (l *fakeLeases) Held(fd int32) bool          { return l.taken[fd] && !l.broken[fd] }
func (l *fakeLeases) Give(fd int32)               { delete(l.taken, fd); delete(l.broken, fd) }

// TestBreakOfPinned: somebody writes to a file that nobody holds any more and that a driver
// still reads. Nobody keeps the writer, and the file is closed once.
func TestBreakOfPinned(t *testing.T) {
	l := &fakeLeases{map[int32]bool{}, map[int32]bool{}}
	c := newCacheTest(t, onFallback, Config{MaxBody: 1, Leases: l})
	c.write("f", "content")
	f := c.open("f")
	fd := f.lent.FD
	if !f.Leased() {
		t.Fatal("the file is not leased")
	}
	f.lent.Pins++
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
		l := &fakeLeases{map[int32]bool{}, map[int32]bool{}}
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
