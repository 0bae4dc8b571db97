package openfile

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// checkArena checks that the blocks fill the memory, each byte once, and that no two free ones
// lie side by side.
func checkArena(t *testing.T, a *arena) {
	t.Helper()
	if a.hand == nil {
		return
	}
	b := a.hand
	for b.off != 0 {
		b = b.next
	}
	for end := 0; ; b = b.next {
		if b.off != end || b.size <= 0 || b.next.prev != b {
			t.Fatalf("a block of %d bytes at %d, the one before ends at %d", b.size, b.off, end)
		}
		if end += b.size; b.next.off == 0 {
			if end != a.size/arenaGrain*arenaGrain {
				t.Fatalf("blocks end at %d of %d bytes", end, a.size)
			}
			return
		}
		if b.file == nil && b.next.file == nil {
			t.Fatalf("two free blocks at %d", b.off)
		}
	}
}

// arenaTest is an arena whose files have a worth of their own.
type arenaTest struct {
	*arena
	worths map[*File]int
	gone   []*File
}

func newArenaTest(t *testing.T, size int) *arenaTest {
	a := &arenaTest{worths: make(map[*File]int)}
	a.arena = &arena{
		size: size, worth: func(f *File) int { return a.worths[f] },
		evicted: func(f *File) { a.gone = append(a.gone, f); delete(a.worths, f) },
	}
	t.Cleanup(a.close)
	return a
}

// put puts a body in, nil if there is no room.
func (a *arenaTest) put(n, worth int) *block {
	b := a.alloc(n, worth)
	if b != nil {
		b.file = new(File)
		a.worths[b.file] = worth + 1
	}
	return b
}

// TestArenaWorth: bodies make room for one that is worth more than all of them together, and
// what must stay stays.
func TestArenaWorth(t *testing.T) {
	a := newArenaTest(t, 4*arenaGrain)
	var blocks []*block
	for worth := range 4 {
		blocks = append(blocks, a.put(arenaGrain, worth))
	}
	for _, c := range []struct{ n, worth, gone int }{
		{arenaGrain, 0, 0},     // all are worth more
		{5 * arenaGrain, 9, 0}, // never
		{2 * arenaGrain, 2, 0}, // 1 and 2 are worth 3
		{2 * arenaGrain, 3, 2},
		{arenaGrain, 3, 1}, // the third
	} {
		a.gone = nil
		if b := a.put(c.n, c.worth); (b != nil) != (c.gone > 0) || len(a.gone) != c.gone {
			t.Errorf("%d bytes worth %d: %v, %d files gone", c.n, c.worth, b != nil, len(a.gone))
		}
		checkArena(t, a.arena)
	}
	a.worths[blocks[3].file] = -1
	if b := a.put(arenaGrain, 100); b == nil || b == blocks[3] {
		t.Error("a body that must stay has made room, or kept others from it")
	}
	if a.put(4*arenaGrain, 100) != nil {
		t.Error("all of it was given away")
	}
}

// TestArenaRandom: whatever comes and goes, blocks lie side by side, and no two bodies share memory.
func TestArenaRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a := newArenaTest(t, 100*arenaGrain+17)
	held := make(map[*File]*block)
	for i := range 5000 {
		for _, f := range a.gone {
			delete(held, f)
		}
		a.gone = nil
		if rng.IntN(3) == 0 {
			for f, b := range held {
				a.release(b)
				delete(a.worths, f)
				delete(held, f)
				break
			}
		} else if b := a.put(1+rng.IntN(20*arenaGrain), rng.IntN(20)); b != nil {
			held[b.file] = b
			copy(a.bytes(b), fmt.Sprint(i))
		}
		checkArena(t, a.arena)
	}
	if len(held) == 0 {
		t.Error("nothing was put in")
	}
}

// TestBodiesByWorth: a body that nobody asks for makes room for one that is asked for often, and
// those that are asked for once each do not.
func TestBodiesByWorth(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{MaxBytes: 40 << 10, MaxBody: 32 << 10})
	for _, name := range []string{"often", "other", "large"} {
		c.write(name, string(make([]byte, 20<<10)))
	}
	for range 10 {
		c.open("often")
	}
	for i := range 50 {
		name := fmt.Sprint(i)
		c.write(name, string(make([]byte, 4<<10)))
		f := c.open(name)
		if f.Content() == nil || (f.Brief() != nil) != (f.Body == nil) {
			t.Fatalf("file %d: brief %v, kept %v", i, f.Brief() != nil, f.Body != nil)
		}
		c.check()
	}
	often := c.open("often")
	if often.Body == nil {
		t.Fatal("files that were asked for once have taken the place of one that was asked for often")
	}
	often.Retain()
	for range 300 {
		c.open("other")
		c.open("large")
		c.check()
	}
	other, large := c.open("other"), c.open("large")
	if often.Body == nil || (other.Body != nil) == (large.Body != nil) && other.Body != nil {
		t.Error("the body of a file that is being sent has made room")
	}
	often.Release()
	for range 1500 { // until all were halved
		c.open("other")
		c.open("large")
	}
	if often.Body != nil {
		t.Error("a body that nobody asks for any more stays")
	}
	c.check()
}

// TestBrief: what was read for a request is of that request, and of the version that was opened.
func TestBrief(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind makeDriver) {
		c := newCacheTest(t, kind, Config{MaxBytes: 1, MaxBody: 8 << 10, Headroom: 4})
		c.write("f", "content")
		f := c.open("f")
		if f.Body != nil || string(f.Brief()) != "content" || len(f.Headed(4)) != 11 {
			t.Fatalf("body %q, brief %q, headed %q", f.Body, f.Brief(), f.Headed(4))
		}
		loads := f.Loads
		c.turn(1)
		if f.Brief() != nil || f.Headed(0) != nil {
			t.Error("what was read for a request is there in the next")
		}
		if c.open("f") != f || string(f.Brief()) != "content" || f.Loads == loads {
			t.Error("the file is not read for the next request")
		}
		for i := range 2 * maxBriefs {
			name := fmt.Sprint(i)
			c.write(name, name)
			g, e := c.lookup(name)
			if e != 0 || (g.Brief() != nil) != (i < maxBriefs-1) || i < maxBriefs-1 && string(g.Brief()) != name {
				t.Errorf("file %d of a request: brief %q, %v", i, g.Brief(), e)
			}
		}
		if string(f.Brief()) != "content" {
			t.Error("files of one request share their memory")
		}
		c.check()
	})
}
