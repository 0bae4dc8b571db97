package shape

import (
	"fmt"
	"testing"
)

func TestTable(t *testing.T) {
	for _, c := range []struct {
		name string
		t    table
		want Rate
		by   Row
	}{
		{"nothing", table{}, Unlimited, RowConfigured},
		{"configured", table{said: said{limit: &Limit{Rate: 5}}}, 5, RowConfigured},
		{"an override in its place", table{said: said{limit: &Limit{Rate: 9}, first: RowOverride}}, 9, RowOverride},
		{"an override without a rate", table{said: said{first: RowOverride}}, Unlimited, RowOverride},
		{"a higher cap", table{said: said{limit: &Limit{Rate: 5}, cap: 6}}, 5, RowConfigured},
		{"a cap on an override", table{said: said{limit: &Limit{Rate: 9}, first: RowOverride, cap: 6}}, 6, RowCap},
		{"found", table{said: said{cap: 6}, found: 5}, 5, RowFound},
		{"share", table{said: said{cap: 6, share: 4}, found: 5}, 4, RowShare},
		{"equal", table{said: said{limit: &Limit{Rate: 5}, cap: 5, share: 5}, found: 5}, 5, RowConfigured},
		{"paused by the share", table{said: said{limit: &Limit{Rate: 5}, share: Paused}}, Paused, RowShare},
		{"paused already", table{said: said{limit: &Limit{Rate: Paused}, share: 1}, found: 1}, Paused, RowConfigured},
	} {
		if l, by := c.t.inForce(); l.Rate != c.want || by != c.by || c.t.limits() != (c.want != Unlimited) {
			t.Errorf("%s: %v by %v, want %v by %v", c.name, l.Rate, by, c.want, c.by)
		}
	}
	if l, _ := (&table{said: said{limit: &Limit{Rate: 5, Burst: 7, Weight: 2}, share: 1}}).inForce(); l != (Limit{Rate: 1, Burst: 7, Weight: 2}) {
		t.Errorf("a share changes more than the rate: %+v", l)
	}
	names := make(map[string]bool)
	for r := range Row(NumRows + 1) {
		names[r.String()] = true
	}
	if len(names) != NumRows+1 {
		t.Errorf("%v", names)
	}
}

// Of two tables of a node the later part counts, whichever is brought first.
func TestTableUpdate(t *testing.T) {
	old := table{said: said{share: 5, epoch: 1}, found: 7, seq: 4}
	later := table{said: said{share: 6, epoch: 2}, found: 8, seq: 3}
	want := table{said: later.said, found: 7, seq: 4}
	a, b := old, later
	if !a.update(&later) || !b.update(&old) || a != want || b != want {
		t.Errorf("%+v and %+v, want %+v", a, b, want)
	}
	if a.update(&old) || a.update(&later) || a != want {
		t.Errorf("what is known is news: %+v", a)
	}
}

// A share is a row of its own: it holds where it is the least, at once, whatever else is
// changed.
func TestShares(t *testing.T) {
	for _, node := range []Node{{LevelGlobal, ""}, {LevelPath, "/a/"}, {LevelClient, "a"}} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprint(node, " on ", loops), func(t *testing.T) {
				w := newWorld(t, Config{
					Loops: loops, Global: Limit{Rate: 8 * mib}, Client: Limit{Rate: 8 * mib}, Paths: []PathLimit{{"/a/", Limit{Rate: 8 * mib}}},
				})
				for i := range loops {
					w.join(i, "/a/x", "a", -1)
				}
				share := func(r Rate) {
					if err := w.s.SetShares(Share{node, r}); err != nil {
						t.Fatal(err)
					}
				}
				limit := func(l Limit) {
					var err error
					switch node.Level {
					case LevelGlobal:
						_, err = w.s.SetGlobal(l)
					case LevelPath:
						_, _, err = w.s.SetPath("/a/", l)
					default:
						_, _, err = w.s.SetClient("a", l, 0)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				step := func(want Rate, by Row) {
					t.Helper()
					w.run(100 * ms)
					w.forget()
					w.run(2 * sec)
					within(t, "two seconds", float64(w.total()), 2*float64(want), 0.05)
					l, row, ok := w.s.Explain(node)
					var r Report
					w.trees[0].Report(w.now, 10, &r)
					n := map[Level]NodeReport{LevelGlobal: r.Global, LevelPath: r.Classes[0], LevelClient: r.Clients[0]}[node.Level]
					if !ok || l.Rate != want || row != by || n.Limit != want || n.By != by {
						t.Errorf("%v by %v, reported %v by %v, want %v by %v", l.Rate, row, n.Limit, n.By, want, by)
					}
				}
				configured := RowConfigured
				step(8*mib, configured)
				share(2 * mib)
				step(2*mib, RowShare)
				limit(Limit{Rate: 4 * mib})
				step(2*mib, RowShare)
				if node.Level == LevelClient {
					configured = RowOverride
				}
				share(6 * mib)
				step(4*mib, configured)
				share(Paused)
				w.run(50 * ms)
				w.forget()
				if w.run(10 * sec); w.total() != 0 {
					t.Errorf("%d bytes while the share is 0", w.total())
				}
				share(Unlimited)
				step(4*mib, configured)
			})
		}
	}
}

// What is found holds beside a share: the lower one counts, and what is waited for
// is told apart.
func TestShareBesideFound(t *testing.T) {
	for _, loops := range []int{1, 2} {
		w := newWorld(t, Config{Loops: loops})
		f := w.join(0, "/", "a", 0)
		w.trees[0].AdaptClient("a", 2*mib, 1, w.now)
		f.left = -1
		w.ask(f)
		step := func(share, want Rate, heldAtLeast, heldAtMost int64) {
			t.Helper()
			if err := w.s.SetShares(Share{Node{LevelClient, "a"}, share}); err != nil {
				t.Fatal(err)
			}
			w.run(100 * ms)
			w.forget()
			held := w.trees[0].ClientHeld("a", w.now)
			w.run(2 * sec)
			within(t, fmt.Sprint("beside ", share), float64(w.total()), 2*float64(want), 0.05)
			if held = w.trees[0].ClientHeld("a", w.now) - held; held < heldAtLeast || held > heldAtMost {
				t.Errorf("beside %v: held for %d ms by what was found", share, held/ms)
			}
		}
		step(4*mib, 2*mib, sec, 2*sec)
		step(1*mib, 1*mib, 0, 0)
		step(Unlimited, 2*mib, sec, 2*sec)
	}
}

func TestSharesAreChecked(t *testing.T) {
	calls := 0
	s, tree := newTree(t, Config{Paths: []PathLimit{{"/a/", Limit{}}}, Changed: func() { calls++ }})
	calls = 0
	good := Share{Node{LevelGlobal, ""}, 5}
	for _, bad := range []Share{
		{Node{LevelGlobal, "x"}, 5}, {Node{LevelConnection, ""}, 5}, {Node{LevelNone, ""}, 5}, {Node{NumLevels, ""}, 5},
		{Node{LevelClient, ""}, 5}, {Node{LevelPath, ""}, 5}, {Node{LevelPath, "/b/"}, 5},
		{Node{LevelGlobal, ""}, -2}, {Node{LevelGlobal, ""}, MaxRate + 1},
	} {
		if err := s.SetShares(good, bad); err == nil || calls > 0 || s.Active() {
			t.Errorf("%+v: %v, %d wake-ups", bad, err, calls)
		}
	}
	all := []Share{good, {Node{LevelPath, "/a/"}, 6}, {Node{LevelClient, "x"}, 7}}
	if err := s.SetShares(all...); err != nil || calls != 1 || !s.Active() {
		t.Errorf("%v, %d wake-ups", err, calls)
	}
	if err := s.SetShares(all...); err != nil || calls != 1 {
		t.Errorf("nothing has changed: %v, %d wake-ups", err, calls)
	}
	for _, sh := range all {
		if l, by, ok := s.Explain(sh.Node); !ok || l.Rate != sh.Rate || by != RowShare {
			t.Errorf("%v: %v by %v", sh.Node, l, by)
		}
	}
	// Who is met only now is held by it, too, and others are not.
	var x, y Flow
	tree.Join(&x, s.Class([]byte("/")), "x", sec)
	tree.Join(&y, s.Class([]byte("/")), "y", sec)
	if x.client.meter.bucket.Rate != 7 || y.client.meter.bucket.Rate != Unlimited {
		t.Errorf("%v and %v", x.client.meter.bucket.Rate, y.client.meter.bucket.Rate)
	}
	for i := range all {
		all[i].Rate = Unlimited
	}
	if err := s.SetShares(all...); err != nil || s.Active() || len(s.shares) != 0 {
		t.Errorf("%v, active %v", err, s.Active())
	}
	// The share of a class goes with it.
	if err := s.SetShares(Share{Node{LevelPath, "/a/"}, 6}); err != nil {
		t.Fatal(err)
	}
	s.RemovePath("/a/")
	if _, _, ok := s.Explain(Node{LevelPath, "/a/"}); ok || s.Active() {
		t.Error("a class that is removed holds")
	}
	if _, _, err := s.SetPath("/a/", Limit{}); err != nil || s.Active() {
		t.Errorf("%v, active %v", err, s.Active())
	}
}

// A tree that has missed more changes than are kept has all of them nevertheless.
func TestManyShares(t *testing.T) {
	for _, loops := range []int{1, 2} {
		s, tree := newTree(t, Config{Loops: loops, Paths: []PathLimit{{"/a/", Limit{}}}})
		flows := make([]Flow, 2*maxLog)
		var shares []Share
		for i := range flows {
			id := fmt.Sprint("client", i)
			tree.Join(&flows[i], s.Class([]byte("/a/x")), ClientID(id), sec)
			shares = append(shares, Share{Node{LevelClient, id}, Rate(1000 + i)})
		}
		shares = append([]Share{{Node{LevelGlobal, ""}, 5000}, {Node{LevelPath, "/a/"}, 4000}}, shares...)
		if err := s.SetShares(shares...); err != nil {
			t.Fatal(err)
		}
		tree.Next(2 * sec)
		for i := range flows {
			if got := flows[i].client.meter.bucket.Rate; got != Rate(1000+i) {
				t.Fatalf("client %d: %v", i, got)
			}
		}
		if g, a := tree.rootMeter.bucket.Rate, flows[0].client.parent.meter.bucket.Rate; g != 5000 || a != 4000 {
			t.Errorf("global %v, class %v", g, a)
		}
	}
}

// waiters returns a tree with n clients that wait for their own limit.
func waiters(tb testing.TB, loops, n int) (*Shaper, *Tree, []Flow) {
	tb.Helper()
	s, tree := newTree(tb, Config{
		Loops: loops, Global: Limit{Rate: 1e11}, Client: Limit{Rate: 50_000}, Paths: []PathLimit{{"/a/", Limit{Rate: 1e11}}},
	})
	flows := make([]Flow, n)
	for i := range flows {
		tree.Join(&flows[i], s.Class([]byte("/a/x")), ClientID(fmt.Sprint(i)), sec)
		for tree.Take(&flows[i], 1<<20, sec) > 0 {
		}
	}
	return s, tree, flows
}

// sharesOf returns shares of each kind of node that no other call has set.
func sharesOf(i int) []Share {
	r := Rate(1e10 + i)
	return []Share{{Node{LevelGlobal, ""}, r}, {Node{LevelPath, "/a/"}, r}, {Node{LevelClient, "7"}, Rate(40_000 + i%1000)}}
}

// A share costs those who share it only: nobody else is looked at.
func TestSharesDisturbNobody(t *testing.T) {
	for _, loops := range []int{1, 2} {
		s, tree, flows := waiters(t, loops, 1000)
		before := make([]member, len(flows))
		for i := range flows {
			before[i] = flows[i].client.member
		}
		if before[7].state != parked {
			t.Fatal("client 7 does not wait for its own limit")
		}
		if err := s.SetShares(sharesOf(0)...); err != nil {
			t.Fatal(err)
		}
		tree.clock(sec + ms)
		for i := range flows {
			if same := flows[i].client.state == before[i].state; same == (i == 7) {
				t.Fatalf("client %d: state %d, was %d", i, flows[i].client.state, before[i].state)
			}
		}
	}
}

// What a change of the shares of the whole, of a class and of one client costs a loop
// that has 10,000 clients waiting.
func BenchmarkSetShares10k(b *testing.B) {
	s, tree, _ := waiters(b, 2, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.SetShares(sharesOf(i)...); err != nil {
			b.Fatal(err)
		}
		tree.clock(sec)
	}
}

// The same for the shares of all of them at once.
func BenchmarkSetAllShares10k(b *testing.B) {
	s, tree, flows := waiters(b, 2, 10_000)
	shares := make([]Share, len(flows))
	for i := 0; b.Loop(); i++ {
		for j := range shares {
			shares[j] = Share{Node{LevelClient, fmt.Sprint(j)}, Rate(40_000 + i%1000)}
		}
		if err := s.SetShares(shares...); err != nil {
			b.Fatal(err)
		}
		tree.clock(sec)
	}
}
