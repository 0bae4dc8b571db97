package shape

import (
	"fmt"
	"testing"
)

// pass takes all that there is for a flow until an instant, and returns how much.
func pass(t *Tree, f *Flow, from, until int64) (n int64) {
	for now := from; now < until; now += ms {
		for g := t.Next(now); g != nil; g = t.Next(now) {
			n += g.Granted()
		}
		for !f.Waiting() {
			g := t.Take(f, 1<<20, now)
			if n += g; g == 0 {
				break
			}
		}
	}
	return n
}

// A rate that was found holds beside the configured limit: the lower of both counts,
// whichever changes, and nothing of what was passed is forgiven.
func TestAdaptClient(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops), func(t *testing.T) {
			s, err := New(Config{Loops: loops})
			if err != nil {
				t.Fatal(err)
			}
			tree, f := s.Tree(0), new(Flow)
			now := second
			tree.Join(f, nil, "a", now)
			tree.AdaptClient("a", 1_000_000, 1, now)
			if n := tree.Take(f, 1<<20, now); n == 0 || n > 40_000 {
				t.Errorf("the first grant is %d", n)
			}
			step := func(what string, want int64) {
				t.Helper()
				from := now
				now += second
				if n := pass(tree, f, from, now); n > want*107/100+40_000 || n < want*93/100 {
					t.Errorf("%s: %d bytes in a second, want %d", what, n, want)
				}
			}
			step("found", 1_000_000)
			tree.AdaptClient("a", 3_000_000, 3, now)
			tree.AdaptClient("a", 9_000_000, 2, now) // is late
			step("found anew", 3_000_000)
			if _, _, err := s.SetClient("a", Limit{Rate: 500_000}, 0); err != nil {
				t.Fatal(err)
			}
			step("with a lower limit", 500_000)
			held := tree.ClientHeld("a", now)
			step("with a lower limit", 500_000)
			if d := tree.ClientHeld("a", now) - held; d > 10*ms {
				t.Errorf("the wait for the limit counts as one for the rate that was found: %d ns", d)
			}
			s.RemoveClient("a")
			step("without it", 3_000_000)
			held = tree.ClientHeld("a", now)
			step("without it", 3_000_000)
			if d := tree.ClientHeld("a", now) - held; d < 500*ms {
				t.Errorf("held for %d ns of a second", d)
			}
			tree.AdaptClient("a", Unlimited, 4, now)
			if n := tree.Take(f, 1<<20, now); !f.Waiting() && n == 0 {
				t.Error("held by nothing")
			}
			tree.AdaptClient("nobody", 1, 1, now) // is no fault
		})
	}
}

// Trees that hear of a rate at different times agree in the end, and share it.
func TestAdaptClientOnTwoLoops(t *testing.T) {
	s, err := New(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	trees, flows := []*Tree{s.Tree(0), s.Tree(1)}, []*Flow{new(Flow), new(Flow)}
	now := second
	for i, tree := range trees {
		tree.Join(flows[i], nil, "a", now)
		tree.AdaptClient("a", 2_000_000, 1, now)
	}
	sum := int64(0)
	for end := now + 2*second; now < end; now += ms {
		if now == second+second {
			trees[1].AdaptClient("a", 1_000_000, 2, now)
		}
		if now == second+second+100*ms {
			trees[0].AdaptClient("a", 1_000_000, 2, now)
		}
		for i, tree := range trees {
			sum += pass(tree, flows[i], now, now+1)
		}
	}
	if sum < 2_700_000 || sum > 3_300_000 {
		t.Errorf("%d bytes, want some 3,000,000", sum)
	}
}

func TestAdaptClass(t *testing.T) {
	s, err := New(Config{Paths: []PathLimit{{"/a/", Limit{}}}})
	if err != nil {
		t.Fatal(err)
	}
	tree, f := s.Tree(0), new(Flow)
	now := second
	class := s.Class([]byte("/a/x"))
	tree.Join(f, class, "a", now)
	tree.AdaptClass(class, 1_000_000, 1, now)
	if n := pass(tree, f, now, now+second); n < 930_000 || n > 1_110_000 {
		t.Errorf("%d bytes in a second", n)
	}
	if held := tree.ClassHeld(class, now+second); held < 500*ms {
		t.Errorf("held for %d ns", held)
	}
	// A change of the configuration leaves it in force.
	if _, _, err := s.SetPath("/a/", Limit{Rate: 5_000_000}); err != nil {
		t.Fatal(err)
	}
	if n := pass(tree, f, now+second, now+2*second); n < 900_000 || n > 1_110_000 {
		t.Errorf("%d bytes in a second after a change", n)
	}
}

// Caps hold beside all limits of their level, and are undone without a trace.
func TestCaps(t *testing.T) {
	cfg := Config{Global: Limit{Rate: 8_000_000}, Client: Limit{Rate: 4_000_000}}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.SetClient("a", Limit{Rate: 6_000_000}, 0); err != nil {
		t.Fatal(err)
	}
	tree, f := s.Tree(0), new(Flow)
	now := second
	tree.Join(f, nil, "a", now)
	step := func(caps Caps, want int64) {
		t.Helper()
		if _, err := s.SetCaps(caps); err != nil {
			t.Fatal(err)
		}
		from := now
		now += second
		if n := pass(tree, f, from, now); n > want*107/100+250_000 || n < want*93/100 {
			t.Errorf("%+v: %d bytes in a second, want %d", caps, n, want)
		}
	}
	step(Caps{}, 6_000_000)
	step(Caps{Global: 1_000_000}, 1_000_000)
	step(Caps{Client: 2_000_000}, 2_000_000)
	step(Caps{Connection: 500_000}, 500_000)
	step(Caps{Global: 9_000_000, Client: 9_000_000}, 6_000_000)
	step(Caps{}, 6_000_000)
	if l := s.Limits(); l.Global != cfg.Global || l.Client != cfg.Client || l.Clients[0].Rate != 6_000_000 {
		t.Errorf("limits: %+v", l)
	}
	if _, err := s.SetCaps(Caps{Global: -2}); err == nil {
		t.Error("a negative cap was taken")
	}
	if s.Caps() != (Caps{}) {
		t.Errorf("%+v", s.Caps())
	}
	if got := (Caps{Global: 5, Client: 7}).Lower(Caps{Global: 6, Connection: Paused}); got != (Caps{5, 7, Paused}) {
		t.Errorf("lower: %+v", got)
	}
	none, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.SetCaps(Caps{Client: 5}); err != nil || !none.Active() {
		t.Errorf("a cap alone limits nothing: %v", err)
	}
}
