package shape

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func eachLoops(t *testing.T, test func(t *testing.T, loops int, set func(*world))) {
	for _, loops := range []int{2, 4, 16} {
		for _, late := range []bool{false, true} {
			if testing.Short() && (loops != 4 || !late) {
				continue
			}
			t.Run(fmt.Sprintf("%d loops late %v", loops, late), func(t *testing.T) {
				test(t, loops, func(w *world) {
					if late {
						w.late = uneven(5)
					}
				})
			})
		}
	}
}

// One client's limit holds over all its connections, on whatever loops.
func TestClientOnSeveralLoops(t *testing.T) {
	for _, rate := range []Rate{100_000, 1 * mib, 100 * mib, 1e9} {
		for _, conns := range []int{1, 4, 16} {
			eachLoops(t, func(t *testing.T, loops int, set func(*world)) {
				w := newWorld(t, Config{Loops: loops, Client: Limit{Rate: rate}})
				set(w)
				for i := range conns {
					w.join(i%loops, []string{"/", "/x"}[i%2], "a", -1)
				}
				w.run(10 * sec)
				burst := Limit{Rate: rate}.burst()
				if got, most := w.total(), 10*int64(rate)+burst; got > most {
					t.Errorf("%v, %d connections: %d bytes, more than %d", rate, conns, got, most)
				}
				tolerance := 0.02
				if rate < mib {
					tolerance = 0.04 // a grant is a third of a second
				}
				within(t, fmt.Sprintf("%v, %d connections", rate, conns), float64(w.total()), 10*float64(rate), tolerance)
			})
		}
	}
}

// Clients share a global limit fairly, whether they are on one loop or on several.
func TestFairAcrossLoops(t *testing.T) {
	for _, rate := range []Rate{1 * mib, 100 * mib, 1e9} {
		eachLoops(t, func(t *testing.T, loops int, set func(*world)) {
			w := newWorld(t, Config{Loops: loops, Global: Limit{Rate: rate}})
			set(w)
			next := 0
			for i := range 8 {
				for range []int{1, 8, 64}[i%3] {
					w.join(next%loops, "/", ClientID(fmt.Sprint(i)), -1)
					next++
				}
			}
			w.run(3 * sec) // who is where has been told
			w.forget()
			w.run(10 * sec)
			got := w.byClient()
			if j := jain(got); j < 0.99 {
				t.Errorf("%v: Jain's index %.4f: %.0f", rate, j, got)
			}
			within(t, "total", float64(w.total()), 10*float64(rate), 0.02)
		})
	}
}

// A loop without traffic keeps nothing from the others.
func TestIdleLoopsShareIsUsed(t *testing.T) {
	w := newWorld(t, Config{Loops: 4, Global: Limit{Rate: 10 * mib}})
	var rest []*source
	for i := range 4 {
		f := w.join(i, "/", ClientID(fmt.Sprint(i)), -1)
		if i > 0 {
			rest = append(rest, f)
		}
	}
	w.run(sec)
	for _, f := range rest {
		f.quiet = true
		w.trees[f.loop].Leave(&f.Flow, w.now)
	}
	w.run(100 * ms)
	w.forget()
	w.run(sec)
	within(t, "the one that is left", float64(w.flows[0].total), 10*mib, 0.02)
}

// What was granted and not sent is kept for the loop's other connections. If that is not
// enough for the next grant, it must not be missing for that of the other loop.
func TestNobodyWaitsWithPartOfAGrant(t *testing.T) {
	const rate = 512 << 10
	grant := Limit{Rate: rate}.most()
	for back := range grant { // of the first grant is not sent
		if back%1000 > 0 {
			continue
		}
		s, err := New(Config{Loops: 2, Client: Limit{Rate: rate}})
		if err != nil {
			t.Fatal(err)
		}
		trees, now := []*Tree{s.Tree(0), s.Tree(1)}, sec
		var first, second, other Flow
		trees[0].Join(&first, nil, "a", now)
		trees[0].Join(&second, nil, "a", now)
		trees[1].Join(&other, nil, "a", now)
		if n := trees[0].Take(&first, mib, now); n != grant {
			t.Fatalf("%d of %d bytes", n, grant)
		}
		trees[0].Refund(&first, back, now)
		trees[1].Take(&other, mib, now)
		trees[0].Take(&second, mib, now)
		for end := now + sec; now < end; now += ms {
			for _, tree := range trees {
				tree.Next(now)
			}
		}
		if second.Granted() != grant || other.Granted() != grant {
			t.Errorf("%d bytes back: %d and %d bytes in a second, want %d each", back, second.Granted(), other.Granted(), grant)
		}
	}
}

// A loop that stalls does not keep the others waiting either.
func TestStalledLoop(t *testing.T) {
	w := newWorld(t, Config{Loops: 2, Global: Limit{Rate: 10 * mib}})
	w.join(0, "/", "a", -1)
	w.join(1, "/", "b", -1)
	w.run(sec)
	w.late = func(loop int) int64 { return int64(loop) * 3600 * sec }
	w.run(100 * ms)
	w.forget()
	w.run(sec)
	within(t, "the one that is left", float64(w.flows[0].total), 10*mib, 0.05)
}

// Priorities and guarantees hold between loops.
func TestPriorityAcrossLoops(t *testing.T) {
	w := newWorld(t, Config{Loops: 2, Global: Limit{Rate: 10 * mib}, Paths: []PathLimit{
		{"/high/", Limit{Priority: 1}},
		{"/low/", Limit{Guarantee: 2 * mib}},
	}})
	high := w.join(0, "/high/", "a", -1)
	low := w.join(1, "/low/", "b", -1)
	w.run(sec)
	w.forget()
	w.run(10 * sec)
	within(t, "guaranteed", float64(low.total), 20*mib, 0.03)
	within(t, "first", float64(high.total), 80*mib, 0.03)
}

// The sum over all loops is exact, whatever they do.
func TestLeasesAreExact(t *testing.T) {
	rates := []Rate{1000, 50_000, 1 << 20, 1e9}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(what string) Limit {
			return Limit{
				Rate:  rapid.SampledFrom(rates).Draw(rt, what),
				Burst: rapid.SampledFrom([]int64{0, 0, 1, 5000, 1 << 20}).Draw(rt, what+" burst"),
			}
		}
		cfg := Config{Loops: rapid.IntRange(2, 4).Draw(rt, "loops"), Global: draw("global"), Client: draw("client")}
		s, err := New(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		now := sec
		var trees []*Tree
		for i := range cfg.Loops {
			trees = append(trees, s.Tree(i))
		}
		total := []*ideal{newIdeal(cfg.Global, now), newIdeal(cfg.Client, now), newIdeal(cfg.Client, now)}
		flows := make([]*Flow, 8)
		for i := range flows {
			flows[i] = new(Flow)
			trees[i%cfg.Loops].Join(flows[i], nil, ClientID(fmt.Sprint(i/4)), now)
		}
		pick := func(rt *rapid.T) (int, *Tree) {
			i := rapid.IntRange(0, len(flows)-1).Draw(rt, "flow")
			return i, trees[i%cfg.Loops]
		}
		charge := func(rt *rapid.T, i int, n int64) {
			if !total[0].take(n, now) || !total[1+i/4].take(n, now) {
				rt.Fatalf("a grant of %d too many", n)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				i, t := pick(rt)
				if n := t.Take(flows[i], rapid.Int64Range(1, 1<<22).Draw(rt, "want"), now); n > 0 {
					charge(rt, i, n)
				}
			},
			"next": func(rt *rapid.T) {
				_, t := pick(rt)
				for f := t.Next(now); f != nil; f = t.Next(now) {
					for i := range flows {
						if flows[i] == f {
							charge(rt, i, f.Granted())
						}
					}
				}
			},
			"refund": func(rt *rapid.T) {
				i, t := pick(rt)
				if had := flows[i].Granted(); had > 0 && !flows[i].Waiting() {
					n := rapid.Int64Range(1, had).Draw(rt, "n")
					t.Refund(flows[i], n, now)
					total[0].refund(n, now)
					total[1+i/4].refund(n, now)
				}
			},
			"rest": func(rt *rapid.T) {
				i, t := pick(rt)
				t.Leave(flows[i], now)
				t.Join(flows[i], nil, ClientID(fmt.Sprint(i/4)), now)
			},
			"share": func(rt *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(rt, "node")
				share := rapid.SampledFrom([]Rate{Unlimited, Paused, 500, 40_000, 1 << 19, 2e9}).Draw(rt, "share")
				sh, l := Share{Node{LevelGlobal, ""}, share}, cfg.Global
				if i > 0 {
					sh.Node, l = Node{LevelClient, fmt.Sprint(i - 1)}, cfg.Client
				}
				if share.Below(l.Rate) {
					l.Rate = share
				}
				total[i].retune(l, now)
				if err := s.SetShares(sh); err != nil {
					rt.Fatal(err)
				}
				for _, t := range trees {
					t.clock(now) // a loop that is woken
				}
			},
			"pass": func(rt *rapid.T) {
				now += rapid.SampledFrom([]int64{0, 1, ms, 11 * ms, 300 * ms, 60 * sec}).Draw(rt, "ns")
			},
			"": func(rt *rapid.T) { checkPools(rt, s, trees) },
		})
	})
}

// checkPools verifies that pools and trees agree on what is out.
func checkPools(rt *rapid.T, s *Shaper, trees []*Tree) {
	check := func(p *pool, meters []*meter) {
		var out, leased int64
		for _, m := range meters {
			leased += m.leased
			if m.bucket.Tokens > m.leased || m.bucket.Tokens < 0 {
				rt.Fatalf("%d tokens of a lease of %d", m.bucket.Tokens, m.leased)
			}
		}
		for _, c := range p.trees {
			out += c.leased
		}
		if out != p.out || leased != out {
			rt.Fatalf("leased %d, out %d, of tenants %d", leased, p.out, out)
		}
		if p.bucket.Rate > 0 && p.bucket.Tokens+p.out > p.bucket.Burst {
			rt.Fatalf("%d tokens and %d out are more than the burst, %d", p.bucket.Tokens, p.out, p.bucket.Burst)
		}
	}
	var roots []*meter
	for _, t := range trees {
		if t.epoch != 0 {
			roots = append(roots, &t.rootMeter)
		}
	}
	check(s.pool, roots)
	for id, sh := range s.shared {
		var meters []*meter
		for _, t := range trees {
			if c := t.clients[id]; c != nil {
				meters = append(meters, &c.meter)
			}
		}
		if sh.pool != nil && id != "" {
			check(sh.pool, meters)
		}
	}
}

// Loops on threads of their own, while the limits are changed: for the race
// detector, and that the sum holds in real concurrency.
func TestConcurrentLoops(t *testing.T) {
	const loops, rate = 4, 100 * mib
	s, err := New(Config{Loops: loops, Global: Limit{Rate: rate}, Client: Limit{Rate: rate}, MaxClients: 16})
	if err != nil {
		t.Fatal(err)
	}
	var clock, total atomic.Int64
	clock.Store(sec)
	var wait sync.WaitGroup
	for loop := range loops {
		wait.Go(func() {
			tree := s.Tree(loop)
			flows := make([]Flow, 16)
			for turn := range 3000 {
				now := clock.Add(10_000)
				f := &flows[turn%len(flows)]
				if f.Granted() == 0 && !f.Waiting() {
					tree.Join(f, s.Class([]byte("/a/b")), ClientID(fmt.Sprint(turn%24)), now)
				}
				total.Add(tree.Take(f, 1<<20, now))
				for f := tree.Next(now); f != nil; f = tree.Next(now) {
					total.Add(f.Granted())
				}
				if turn%7 == 0 {
					total.Add(-f.Granted())
					tree.Refund(f, f.Granted(), now)
					tree.Leave(f, now)
				}
				tree.Due()
			}
			for i := range flows {
				tree.Leave(&flows[i], clock.Load())
			}
		})
	}
	wait.Go(func() {
		for i := range 200 {
			id := ClientID(fmt.Sprint(i % 24))
			_, _, err1 := s.SetClient(id, Limit{Weight: 1 + i%3, Rate: rate}, clock.Load()+ms)
			_, _, err2 := s.SetPath("/a/", Limit{Rate: rate, Guarantee: rate / 2, Priority: i % 2})
			err3 := s.SetShares(Share{Node{LevelClient, string(id)}, rate}, Share{Node{LevelGlobal, ""}, rate - Rate(i)})
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Error(err)
			}
			s.Explain(Node{LevelClient, string(id)})
			if i%5 == 0 {
				s.RemovePath("/a/")
				s.Expire(clock.Load())
			}
			s.Limits()
		}
	})
	wait.Wait()
	span := clock.Load() - sec
	most := rate*span/second + Limit{Rate: rate}.burst()
	if got := total.Load(); got > most || got == 0 {
		t.Errorf("%d bytes in %d ms, at most %d", got, span/ms, most)
	}
	if n := len(s.shared); n > 24+1 {
		t.Errorf("%d clients are shared", n)
	}
}
