package shape

import (
	"fmt"
	"testing"
)

func newTree(t testing.TB, cfg Config) (*Shaper, *Tree) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Tree(0)
}

func TestClockJumps(t *testing.T) {
	_, tree := newTree(t, Config{Connection: Limit{Rate: 1 * mib, Burst: 64 * kib}})
	f, now := new(Flow), 1000*sec
	tree.Join(f, nil, "a", now)
	var got int64
	for n := tree.Take(f, 1<<30, now); n > 0; n = tree.Take(f, 1<<30, now) {
		got += n
	}
	if got > 64*kib {
		t.Errorf("%d bytes at once", got)
	}
	if f := tree.Next(now - 500*sec); f != nil {
		t.Error("time that goes back makes tokens")
	}
	if due := tree.Due(); due <= now || due > now+sec {
		t.Errorf("due at %d", due-now)
	}
	got = 0
	now += 365 * 24 * 3600 * sec
	for f := tree.Next(now); f != nil; f = tree.Next(now) {
		got += f.Granted()
		for n := tree.Take(f, 1<<30, now); n > 0; n = tree.Take(f, 1<<30, now) {
			got += n
		}
	}
	if got == 0 || got > 64*kib {
		t.Errorf("%d bytes after a year, want no more than the burst", got)
	}
}

func TestPause(t *testing.T) {
	for _, level := range []Level{LevelGlobal, LevelPath, LevelClient, LevelConnection} {
		for _, loops := range []int{1, 2} {
			w := newWorld(t, Config{Loops: loops, Paths: []PathLimit{{"/a/", Limit{Rate: 10 * mib}}}})
			f := w.join(0, "/a/b", "a", -1)
			w.run(sec)
			set := func(l Limit) {
				var err error
				switch level {
				case LevelGlobal:
					_, err = w.s.SetGlobal(l)
				case LevelPath:
					_, _, err = w.s.SetPath("/a/", l)
				case LevelClient:
					_, _, err = w.s.SetClient("a", l, 0)
				case LevelConnection:
					_, err = w.s.SetConnectionDefault(l)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			set(Limit{Rate: Paused})
			w.run(50 * ms) // what was leased is given back
			w.forget()
			w.run(3600 * sec)
			if f.total != 0 {
				t.Errorf("%v: %d bytes while paused", level, f.total)
			}
			if due := w.trees[0].Due(); due >= 0 {
				t.Errorf("%v: due in %d while paused", level, due-w.now)
			}
			set(Limit{Rate: 1 * mib})
			w.forget()
			w.run(2 * sec)
			within(t, fmt.Sprint(level, " after the pause"), float64(f.total), 2*mib, 0.05)
			if level != LevelConnection && f.Held()[level] < 3600*sec {
				t.Errorf("%v: held %v", level, f.Held())
			}
			set(Limit{})
			if f := w.trees[0].Next(w.now); f == nil {
				t.Errorf("%v: waits without a limit", level)
			}
		}
	}
}

func TestBurstBelowAChunk(t *testing.T) {
	for _, level := range []string{"global", "client", "connection"} {
		for _, loops := range []int{1, 4} {
			l := Limit{Rate: 1 * mib, Burst: 4 * kib}
			cfg := Config{Loops: loops}
			switch level {
			case "global":
				cfg.Global = l
			case "client":
				cfg.Client = l
			case "connection":
				cfg.Connection = l
			}
			w := newWorld(t, cfg)
			w.slot = ms
			f := w.join(0, "/", "a", -1)
			w.run(10 * sec)
			within(t, level, float64(f.total), 10*mib, 0.02)
			for i, n := range f.slots {
				if n > 4*kib+mib/1000+1 {
					t.Fatalf("%s: %d bytes in millisecond %d", level, n, i)
				}
			}
		}
	}
}

// A peer that takes nothing for a minute has no credit beyond the burst afterwards.
func TestStalledPeer(t *testing.T) {
	for _, cfg := range []Config{
		{Connection: Limit{Rate: 1 * mib}}, {Client: Limit{Rate: 1 * mib}}, {Global: Limit{Rate: 1 * mib}},
		{Loops: 2, Global: Limit{Rate: 1 * mib}, Client: Limit{Rate: 1 * mib}},
	} {
		w := newWorld(t, cfg)
		f := w.join(0, "/", "a", -1)
		w.run(sec)
		f.stuck = true
		w.run(60 * sec)
		f.stuck, f.quiet = false, false
		w.forget()
		w.ask(f)
		burst := Limit{Rate: 1 * mib}.burst()
		if f.total > burst {
			t.Errorf("%d bytes at once, the burst is %d", f.total, burst)
		}
		w.run(sec)
		if f.total > mib+burst {
			t.Errorf("%d bytes in the first second", f.total)
		}
	}
}

// Who leaves while it waits frees its place at once, at whatever level it waits.
func TestLeaveWhileWaiting(t *testing.T) {
	for _, cfg := range []Config{
		{Global: Limit{Rate: 1 * mib}}, {Client: Limit{Rate: 1 * mib}}, {Connection: Limit{Rate: 1 * mib}},
		{Loops: 3, Global: Limit{Rate: 1 * mib}, Client: Limit{Rate: 1 * mib}},
	} {
		w := newWorld(t, cfg)
		for i := range 64 {
			w.join(0, "/", ClientID(fmt.Sprint(i%8)), -1)
		}
		w.run(100 * ms)
		tree := w.trees[0]
		for i, f := range w.flows {
			if i%2 == 0 {
				tree.Rest(&f.Flow, w.now)
			}
			tree.Leave(&f.Flow, w.now)
			if f.Waiting() {
				t.Error("waits after it has left")
			}
		}
		if f := tree.Next(w.now + sec); f != nil {
			t.Error("a flow that has left comes out of Next")
		}
		for tree.wheel.count > 0 {
			tree.Next(tree.Due())
		}
		if tree.root.state != idle || tree.parked.head != nil || tree.flows != 0 || len(tree.engaged) != 0 {
			t.Errorf("%+v: something is left in the tree", cfg)
		}
		for _, c := range tree.clients {
			if c.flows != 0 || c.hungry != 0 || c.engaged != 0 {
				t.Errorf("client %s: %d flows, %d hungry, engaged on %d", c.id, c.flows, c.hungry, c.engaged)
			}
		}
	}
}

// What the tree remembers of clients is bounded, and nobody gains by being
// forgotten.
func TestManyClients(t *testing.T) {
	const most = 1000
	s, tree := newTree(t, Config{Client: Limit{Rate: 10_000, Burst: 50_000}, MaxClients: most})
	if _, _, err := s.SetClient("slow", Limit{Rate: 1, Burst: 10}, 0); err != nil {
		t.Fatal(err)
	}
	now := 1000 * sec
	var greedy Flow
	tree.Join(&greedy, nil, "greedy", now)
	var got int64
	for n := tree.Take(&greedy, 1<<20, now); n > 0; n = tree.Take(&greedy, 1<<20, now) {
		got += n
	}
	tree.Leave(&greedy, now)
	clients := 100_000
	if testing.Short() {
		clients /= 10
	}
	for i := range clients {
		var f Flow
		now += 10_000
		tree.Join(&f, nil, ClientID(fmt.Sprint("client", i)), now)
		tree.Take(&f, 100, now)
		tree.Leave(&f, now)
		if len(tree.clients) > most || tree.nodes > most+1 {
			t.Fatalf("%d clients, %d nodes", len(tree.clients), tree.nodes)
		}
	}
	tree.Join(&greedy, nil, "greedy", now)
	for n := tree.Take(&greedy, 1<<20, now); n > 0; n = tree.Take(&greedy, 1<<20, now) {
		got += n
	}
	if most := 50_000 + 10_000*(now-1000*sec)/sec; got > most {
		t.Errorf("%d bytes for one who was forgotten, at most %d", got, most)
	}
	tree.Leave(&greedy, now)

	// All places are taken by clients that are being served.
	busy := make([]Flow, 2*most)
	for i := range busy {
		tree.Join(&busy[i], nil, ClientID(fmt.Sprint("busy", i)), now)
	}
	var slow Flow
	tree.Join(&slow, nil, "slow", now)
	if n := tree.Take(&slow, 1000, now); n > 10 {
		t.Errorf("a client with a limit of its own gets %d bytes from the common place", n)
	}
	if tree.overflow.flows == 0 {
		t.Error("nobody is in the common place")
	}
	got = 0
	for i := range busy {
		if busy[i].client.client == tree.overflow {
			got += tree.Take(&busy[i], 1<<20, now)
		}
	}
	if got > 50_000 {
		t.Errorf("%d bytes at once in the common place", got)
	}
}

func TestRetune(t *testing.T) {
	for _, loops := range []int{1, 4} {
		w := newWorld(t, Config{Loops: loops, Global: Limit{Rate: 10 * mib}})
		for i := range 100 {
			w.join(i%loops, "/", ClientID(fmt.Sprint(i)), -1)
		}
		w.run(2 * sec)
		for _, rate := range []Rate{1 * mib, 100 * mib, 5 * mib} {
			was, err := w.s.SetGlobal(Limit{Rate: rate})
			if err != nil || was.Rate == rate {
				t.Fatal(was, err)
			}
			w.run(250 * ms)
			w.forget()
			w.run(sec)
			within(t, fmt.Sprintf("%d loops, %v", loops, rate), float64(w.total()), float64(rate), 0.05)
		}
		if _, err := w.s.SetGlobal(Limit{Rate: -5}); err == nil {
			t.Error("a limit that is not valid is taken")
		}
		if got := w.s.Limits().Global.Rate; got != 5*mib {
			t.Errorf("after an error the limit is %v", got)
		}
	}
}

// A retune makes no credit: not by going back and forth, not from a smaller to a
// larger burst.
func TestRetuneKeepsDebts(t *testing.T) {
	for _, loops := range []int{1, 2} {
		s, tree := newTree(t, Config{Loops: loops, Global: Limit{Rate: 1 * mib, Burst: 100 * kib}})
		f, now := new(Flow), sec
		tree.Join(f, nil, "a", now)
		var got int64
		for range 100 {
			for _, l := range []Limit{{Rate: 1 * mib, Burst: 100 * kib}, {Rate: 1 * mib, Burst: 10 * mib}, {Rate: 100 * mib}} {
				if _, err := s.SetGlobal(l); err != nil {
					t.Fatal(err)
				}
				for n := tree.Take(f, 1<<30, now); n > 0; n = tree.Take(f, 1<<30, now) {
					got += n
				}
				if f := tree.Next(now); f != nil {
					got += f.Granted()
				}
			}
		}
		if got > 100*kib {
			t.Errorf("%d loops: %d bytes at one instant", loops, got)
		}
	}
}

// A connection that rests through several changes of its limit gets no credit by
// them, and keeps what it had if the limit is the same in the end.
func TestRestThroughRetunes(t *testing.T) {
	s, tree := newTree(t, Config{Connection: Limit{Rate: 1 * mib, Burst: 1 * mib}})
	f, now := new(Flow), sec
	take := func() (sum int64) {
		tree.Join(f, nil, "a", now)
		for n := tree.Take(f, 1<<30, now); n > 0; n = tree.Take(f, 1<<30, now) {
			sum += n
		}
		tree.Rest(f, now)
		return sum
	}
	take()
	for i := range 20 {
		if _, err := s.SetConnectionDefault(Limit{Rate: 100e9 + Rate(i)}); err != nil {
			t.Fatal(err)
		}
		tree.Next(now)
	}
	if _, err := s.SetConnectionDefault(Limit{Rate: 1 * mib, Burst: 8 * mib}); err != nil {
		t.Fatal(err)
	}
	tree.Next(now)
	if n := take(); n > 0 {
		t.Errorf("%d bytes by changes alone", n)
	}
	now += sec
	if n := take(); n == 0 || n > mib {
		t.Errorf("%d bytes after a second", n)
	}
}

// The connection's bucket outlives a response; an override lasts for one.
func TestRestKeepsTheBucket(t *testing.T) {
	_, tree := newTree(t, Config{Connection: Limit{Rate: 1000, Burst: 1020}})
	f, now := new(Flow), sec
	tree.Join(f, nil, "a", now)
	if n := tree.Take(f, 1000, now); n != 1000 {
		t.Fatalf("granted %d", n)
	}
	tree.Rest(f, now)
	tree.Join(f, nil, "b", now)
	if n := tree.Take(f, 100, now); n != 0 {
		t.Errorf("a new response has %d bytes of new credit", n)
	}
	tree.Rest(f, now)
	tree.Join(f, nil, "a", now)
	tree.SetLimit(f, Limit{Rate: 5000})
	now += sec
	if n := tree.Take(f, 1000, now); n != 1000 {
		t.Errorf("granted %d of what has accrued", n)
	}
	began := now
	for next := (*Flow)(nil); next == nil && tree.Take(f, 1000, now) == 0; next = tree.Next(now) {
		now = max(now, tree.Due())
	}
	if took := now - began; took != 196*ms { // 20 bytes were left
		t.Errorf("the override does not hold: 1000 bytes took %d ns", took)
	}
	tree.Leave(f, now)
	tree.Join(f, nil, "a", now)
	if n := tree.Take(f, 1000, now); n != 1000 {
		t.Errorf("a new connection is granted %d", n)
	}
}

func TestOverrides(t *testing.T) {
	w := newWorld(t, Config{Client: Limit{Rate: 1 * mib}})
	f := w.join(0, "/", "a", -1)
	other := w.join(0, "/", "b", -1)
	w.run(sec)
	if was, overridden, err := w.s.SetClient("a", Limit{Rate: 4 * mib}, w.now+2*sec); err != nil || overridden || was.Rate != 1*mib {
		t.Errorf("was %v, %v, %v", was, overridden, err)
	}
	w.forget()
	w.run(2 * sec)
	within(t, "overridden", float64(f.total), 8*mib, 0.03)
	within(t, "the other", float64(other.total), 2*mib, 0.03)
	w.forget()
	w.run(2 * sec)
	within(t, "after it has ended", float64(f.total), 2*mib, 0.05)
	if l := w.s.Limits(); len(l.Clients) != 0 {
		t.Errorf("still there: %v", l.Clients)
	}

	// A pause that ends by itself, while the client waits for nothing else.
	if _, _, err := w.s.SetClient("a", Limit{Rate: Paused}, w.now+3*sec); err != nil {
		t.Fatal(err)
	}
	w.forget()
	w.run(5 * sec)
	within(t, "with a pause of three seconds", float64(f.total), 2*mib, 0.05)

	if _, overridden, _ := w.s.SetClient("a", Limit{Weight: 2}, 0); overridden {
		t.Error("the ended override is said to have been in force")
	}
	if was, overridden := w.s.RemoveClient("a"); !overridden || was.Weight != 2 {
		t.Errorf("removed %v, %v", was, overridden)
	}
	if _, overridden := w.s.RemoveClient("a"); overridden {
		t.Error("removed twice")
	}
	if _, _, err := w.s.SetClient("", Limit{}, 0); err == nil {
		t.Error("a client without a name is taken")
	}
	if _, _, err := w.s.SetClient("old", Limit{Rate: 1}, 1); err != nil {
		t.Fatal(err)
	}
	if w.s.Expire(w.now); len(w.s.Limits().Clients) != 0 {
		t.Error("an ended override is kept")
	}
}

func TestPaths(t *testing.T) {
	w := newWorld(t, Config{Paths: []PathLimit{{"/a/", Limit{Rate: 1 * mib}}, {"/a/b/", Limit{Rate: 2 * mib}}, {"/", Limit{Rate: 3 * mib}}}})
	for path, want := range map[string]string{
		"/a/": "/a/", "/a/b": "/a/", "/a/b/": "/a/b/", "/a/b/c": "/a/b/", "/c": "/", "/": "/", "*": "", "": "",
	} {
		if got := w.s.Class([]byte(path)).Prefix(); got != want {
			t.Errorf("%s: class %q, want %q", path, got, want)
		}
	}
	f := w.join(0, "/a/b/c", "a", -1)
	w.run(sec)
	if _, existed := w.s.RemovePath("/nothing/"); existed {
		t.Error("removed what was not there")
	}
	if was, existed := w.s.RemovePath("/a/b/"); !existed || was.Rate != 2*mib {
		t.Errorf("removed %v, %v", was, existed)
	}
	if got := w.s.Class([]byte("/a/b/c")).Prefix(); got != "/a/" {
		t.Errorf("class %q after the removal", got)
	}
	// What is under way goes on without the limit.
	if next := w.trees[0].Next(w.now); next != &f.Flow {
		t.Error("the response does not go on")
	}
	if _, existed, err := w.s.SetPath("/a/b/", Limit{Rate: 5 * mib}); existed || err != nil {
		t.Error(existed, err)
	}
	f.left = 0
	w.trees[0].Leave(&f.Flow, w.now)
	g := w.join(0, "/a/b/c", "a", -1)
	w.forget()
	w.run(4 * sec)
	within(t, "the class that came back", float64(g.total), 20*mib, 0.03)
	if got := w.s.Limits().Paths; len(got) != 3 || got[1].Prefix != "/a/" || got[2].Rate != 5*mib {
		t.Errorf("paths %v", got)
	}
}

func TestActive(t *testing.T) {
	s, _ := newTree(t, Config{Global: Limit{Weight: 3}})
	check := func(want bool) {
		t.Helper()
		if s.Active() != want {
			t.Errorf("active %v", !want)
		}
	}
	check(false)
	_, _, _ = s.SetClient("a", Limit{Rate: Paused}, 0)
	check(true)
	_, _, _ = s.SetClient("a", Limit{}, 0)
	check(false)
	_, _, _ = s.SetPath("/a", Limit{Rate: 1})
	check(true)
	s.RemovePath("/a")
	check(false)
	_, _ = s.SetConnectionDefault(Limit{Rate: 1})
	check(true)
}

// Each level that holds a response is named, and the times add up.
func TestHeld(t *testing.T) {
	for level, cfg := range map[Level]Config{
		LevelGlobal:     {Global: Limit{Rate: 1 * mib}},
		LevelPath:       {Paths: []PathLimit{{"/", Limit{Rate: 1 * mib}}}},
		LevelClient:     {Client: Limit{Rate: 1 * mib}},
		LevelConnection: {Connection: Limit{Rate: 1 * mib}},
	} {
		w := newWorld(t, cfg)
		var flows []*source
		for range 4 {
			flows = append(flows, w.join(0, "/", "a", -1))
		}
		w.run(10 * sec)
		for _, f := range flows {
			var sum int64
			for _, ns := range f.Held() {
				sum += ns
			}
			if held := f.Held()[level]; held < 9*sec || sum > 10*sec {
				t.Errorf("%v: held %v", level, f.Held())
			}
		}
	}
}
