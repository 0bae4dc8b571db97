package shape

import (
	"fmt"
	"testing"
	"unsafe"
)

// fourLevels is a tree in which every level has a limit.
func fourLevels(tb testing.TB, rate Rate) (*Shaper, *Tree) {
	tb.Helper()
	l := Limit{Rate: rate}
	s, err := New(Config{Global: l, Client: l, Connection: l, Paths: []PathLimit{{"/a/", l}}})
	if err != nil {
		tb.Fatal(err)
	}
	return s, s.Tree(0)
}

// taker returns a step that takes a grant at four levels at once, and never waits.
func taker(tb testing.TB) func() {
	s, tree := fourLevels(tb, 1e9)
	f, now := new(Flow), second
	tree.Join(f, s.Class([]byte("/a/b")), "192.0.2.1", now)
	return func() {
		now += 100_000 // 16 KiB accrue in a sixth of that
		if tree.Take(f, 16<<10, now) == 0 {
			tb.Fatal("not granted")
		}
	}
}

// contender returns a step in which one of n flows, all of which want more than there is, is
// granted something by Next and waits again.
func contender(tb testing.TB, n int) func() {
	s, tree := fourLevels(tb, 1e9)
	now := second
	c := s.Class([]byte("/a/b"))
	for i := range n {
		f := new(Flow)
		tree.Join(f, c, ClientID(fmt.Sprint(i%(n/4+1))), now)
		for granted := true; granted; { // until it has to wait
			granted = tree.Take(f, 1<<40, now) > 0
		}
	}
	return func() {
		for {
			if f := tree.Next(now); f != nil {
				tree.Take(f, 1<<40, now)
				return
			}
			now = max(tree.Due(), now)
		}
	}
}

// parker returns a step in which a flow waits for its own bucket.
func parker(tb testing.TB, n int) func() {
	s, err := New(Config{Connection: Limit{Rate: 50_000}})
	if err != nil {
		tb.Fatal(err)
	}
	tree, now := s.Tree(0), second
	for i := range n {
		f := new(Flow)
		tree.Join(f, nil, ClientID(fmt.Sprint(i)), now)
		tree.Take(f, 1<<40, now)
		tree.Take(f, 1<<40, now)
	}
	return func() {
		for {
			if f := tree.Next(now); f != nil {
				tree.Take(f, 1<<40, now)
				return
			}
			now = max(tree.Due(), now)
		}
	}
}

func refunder(tb testing.TB) func() {
	s, tree := fourLevels(tb, 1e9)
	f, now := new(Flow), second
	tree.Join(f, s.Class([]byte("/a/b")), "192.0.2.1", now)
	return func() {
		now += 100_000
		tree.Refund(f, tree.Take(f, 16<<10, now)/2, now)
	}
}

// responder returns a step that is a whole response of a known client.
func responder(tb testing.TB) func() {
	s, tree := fourLevels(tb, 1e9)
	f, now := new(Flow), second
	path, id := []byte("/a/b"), []byte("192.0.2.1")
	return func() {
		now += 100_000
		tree.JoinBytes(f, s.Class(path), id, now)
		tree.Take(f, 4<<10, now)
		tree.Rest(f, now)
	}
}

func BenchmarkTake(b *testing.B)         { benchmark(b, taker(b)) }
func BenchmarkContended4(b *testing.B)   { benchmark(b, contender(b, 4)) }
func BenchmarkContended64(b *testing.B)  { benchmark(b, contender(b, 64)) }
func BenchmarkContended10k(b *testing.B) { benchmark(b, contender(b, 10_000)) }
func BenchmarkParked10k(b *testing.B)    { benchmark(b, parker(b, 10_000)) }
func BenchmarkTakeRefund(b *testing.B)   { benchmark(b, refunder(b)) }
func BenchmarkJoinTakeRest(b *testing.B) { benchmark(b, responder(b)) }
func BenchmarkLeasedTake(b *testing.B)   { benchmark(b, leaser(b)) }

func benchmark(b *testing.B, step func()) {
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// leaser is taker with several loops.
func leaser(tb testing.TB) func() {
	l := Limit{Rate: 1e9}
	s, err := New(Config{Loops: 4, Global: l, Client: l, Connection: l, Paths: []PathLimit{{"/a/", l}}})
	if err != nil {
		tb.Fatal(err)
	}
	tree := s.Tree(0)
	f, now := new(Flow), second
	tree.Join(f, s.Class([]byte("/a/b")), "192.0.2.1", now)
	return func() {
		now += 100_000
		for tree.Take(f, 16<<10, now) == 0 {
			if tree.Next(now) != nil {
				return
			}
			now = max(tree.Due(), now+1)
		}
	}
}

// A client is in the allocator's class of 416 bytes. In the next one, a grant beside 10,000
// others takes a tenth longer: it waits for memory.
func TestClientIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(client{}); n > 416 {
		t.Errorf("%d bytes", n)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for name, step := range map[string]func(){
		"take": taker(t), "contended": contender(t, 64), "parked": parker(t, 64),
		"refund": refunder(t), "response": responder(t), "leased": leaser(t),
	} {
		if n := testing.AllocsPerRun(1000, step); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
