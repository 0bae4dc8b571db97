package openfile

import (
	"strings"
	"testing"
)

// What is pruned is closed, unless a transfer holds it; the rest stays as it was.
func TestFilesPrune(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	for _, name := range []string{"a1", "a2", "b1", "b2"} {
		c.write(name, name)
	}
	held, kept := c.hot("a1"), c.hot("b1")
	c.hot("a2")
	c.hot("b2")
	held.Retain()
	kept.Data = "old"
	seen := 0
	c.fs.Prune(func(key string, f *File) bool {
		seen++
		f.Data = nil
		return strings.HasPrefix(key, "b")
	})
	if seen != 4 || kept.Data != nil {
		t.Errorf("%d files seen, data %v", seen, kept.Data)
	}
	if s := c.fs.stats; s.Open != 3 || s.Bytes != 6 || len(c.fs.clock) != 2 || len(c.fs.entries) != 2 {
		t.Errorf("%+v, %d in the clock, %d entries", *s, len(c.fs.clock), len(c.fs.entries))
	}
	if string(held.Body) != "a1" || held.lent.FD < 0 {
		t.Error("a file that is being sent was closed")
	}
	held.Release()
	if c.fs.stats.Open != 2 || c.fs.stats.Bytes != 4 || held.lent.FD >= 0 {
		t.Errorf("%d open, descriptor %d", c.fs.stats.Open, held.lent.FD)
	}
	if f := c.open("b1"); f != kept {
		t.Error("a file that was kept is another one")
	}
	misses := c.fs.stats.Misses
	if f := c.open("a1"); c.fs.stats.Misses != misses+1 || string(f.Content()) != "a1" {
		t.Error("a file that was pruned is not opened anew")
	}
}

func TestFilesHeadroom(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{Headroom: 4})
	c.write("f", "content")
	f := c.hot("f")
	if f.Headed(4) == nil || f.Headed(5) != nil {
		t.Fatal("not the room that was asked for")
	}
	c.fs.SetHeadroom(2)
	if c.open("f") != f {
		t.Error("less room is no reason to read a file again")
	}
	c.fs.SetHeadroom(10)
	if f = c.hot("f"); f.Headed(10) == nil || string(f.Headed(10)[10:]) != "content" {
		t.Error("no room")
	}
}

// TestFilesReplacedForRequest: a file that was looked up twice for one request, and was another one
// the second time, stays open until the end of the request.
func TestFilesReplacedForRequest(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	c.write("f", "first")
	f := c.open("f")
	c.write("f", "second one")
	if g, e := c.fs.Add("f", c.root.Open("f", true), Policy{}); e != 0 || g == f {
		t.Fatalf("the same file, %v", e)
	}
	if !isOpen(f.lent.FD) {
		t.Error("the first one was closed")
	}
	fd := f.lent.FD
	c.turn(1)
	if f.lent.FD >= 0 || isOpen(fd) {
		t.Error("the first one stays open")
	}
}
