package shape

import "testing"

// A client has the limit that its responses bring, on all loops together; an operator's counts before
// it, and a change of the default does not touch it.
func TestBroughtLimit(t *testing.T) {
	s, err := New(Config{Loops: 2, Client: Limit{Rate: 1e6}})
	if err != nil {
		t.Fatal(err)
	}
	trees := []*Tree{s.Tree(0), s.Tree(1)}
	flows := []*Flow{{}, {}}
	now := second
	send := func(l *Limit) (rate int64) {
		until := now + 4*second
		var n int64
		for i, f := range flows {
			trees[i].Join(f, nil, "u", now)
			f.SetClientLimit(trees[i], l)
		}
		for ; now < until; now += tick / 4 {
			for i, f := range flows {
				if !f.Waiting() {
					n += trees[i].Take(f, 1<<20, now)
				}
				for g := trees[i].Next(now); g != nil; g = trees[i].Next(now) {
					n += g.Granted()
				}
			}
		}
		return n / 4
	}
	near := func(what string, got, want int64) {
		t.Helper()
		if got < want*9/10 || got > want*11/10 {
			t.Errorf("%s: %d bytes per second, want %d", what, got, want)
		}
	}
	near("the default", send(nil), 1e6)
	if s.brought.Load() {
		t.Error("none was brought")
	}
	near("brought", send(&Limit{Rate: 4e6}), 4e6)
	if _, err := s.SetClientDefault(Limit{Rate: 2e6}); err != nil {
		t.Fatal(err)
	}
	near("another default", send(&Limit{Rate: 4e6}), 4e6)
	near("brought without a rate", send(&Limit{Weight: 3}), 2e6)
	near("lower", send(&Limit{Rate: 5e5}), 5e5)
	if _, _, err := s.SetClient("u", Limit{Rate: 8e6}, 0); err != nil {
		t.Fatal(err)
	}
	near("an override", send(&Limit{Rate: 5e5}), 8e6)
	s.RemoveClient("u")
	near("without it", send(&Limit{Rate: 5e5}), 5e5)
	near("not valid", send(&Limit{Rate: 1, Priority: 3}), 5e5)
	near("none", send(nil), 2e6)
	if _, err := s.SetClientDefault(Limit{}); err != nil {
		t.Fatal(err)
	}
	if !s.Active() {
		t.Error("a response that brings no limit any more is not looked at")
	}
}
