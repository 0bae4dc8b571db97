package shape

import (
	"fmt"
	"testing"
)

// byClient returns what each client got, in the order in which they joined.
func (w *world) byClient() []float64 {
	var names []string
	sums := make(map[string]int64)
	for _, f := range w.flows {
		id := string(f.client.client.id)
		if _, ok := sums[id]; !ok {
			names = append(names, id)
		}
		sums[id] += f.total
	}
	var out []float64
	for _, id := range names {
		out = append(out, float64(sums[id]))
	}
	return out
}

func eachMode(t *testing.T, test func(t *testing.T, set func(*world))) {
	for _, drain := range []bool{false, true} {
		for _, late := range []bool{false, true} {
			if testing.Short() && !(drain && late) {
				continue
			}
			t.Run(fmt.Sprintf("drain %v late %v", drain, late), func(t *testing.T) {
				test(t, func(w *world) {
					w.drain = drain
					if late {
						w.late = uneven(4)
					}
				})
			})
		}
	}
}

func TestFairClients(t *testing.T) {
	for _, rate := range []Rate{1 * mib, 10 * mib, 100 * mib, 1e9} {
		eachMode(t, func(t *testing.T, set func(*world)) {
			w := newWorld(t, Config{Global: Limit{Rate: rate}})
			set(w)
			for i := range 8 {
				for range []int{1, 8, 64}[i%3] {
					w.join(0, "/", ClientID(fmt.Sprint(i)), -1)
				}
			}
			w.run(10 * sec)
			got := w.byClient()
			if j := jain(got); j < 0.99 {
				t.Errorf("%v: Jain's index %.4f: %.0f", rate, j, got)
			}
			within(t, "total", float64(w.total()), 10*float64(rate), 0.02)
		})
	}
}

func TestWeights(t *testing.T) {
	for _, rate := range []Rate{1 * mib, 10 * mib, 100 * mib, 1e9} {
		for _, conns := range []int{1, 5} {
			eachMode(t, func(t *testing.T, set func(*world)) {
				w := newWorld(t, Config{Global: Limit{Rate: rate}})
				set(w)
				if w.drain && w.late != nil && rate > 100*mib && conns == 1 {
					t.Skip("late by several of the largest grants: between them nobody but the others waits")
				}
				var sum float64
				for i, weight := range []int{1, 2, 4} {
					id := ClientID(fmt.Sprint(i))
					if _, _, err := w.s.SetClient(id, Limit{Weight: weight}, 0); err != nil {
						t.Fatal(err)
					}
					sum += float64(weight)
					for range conns {
						w.join(0, "/", id, -1)
					}
				}
				w.run(10 * sec)
				for i, got := range w.byClient() {
					within(t, fmt.Sprintf("%v, %d connections, weight %d", rate, conns, 1<<i), got, float64(w.total())*float64(int(1)<<i)/sum, 0.03)
				}
			})
		}
	}
}

// A client's limit holds over its connections, whatever their classes.
func TestClientLimit(t *testing.T) {
	for _, rate := range []Rate{100_000, 1 * mib, 100 * mib} {
		for _, conns := range []int{1, 4, 16} {
			eachMode(t, func(t *testing.T, set func(*world)) {
				w := newWorld(t, Config{Client: Limit{Rate: rate}, Paths: []PathLimit{{"/a/", Limit{Weight: 3}}}})
				set(w)
				for i := range conns {
					w.join(0, []string{"/", "/a/"}[i%2], "a", -1)
				}
				w.run(10 * sec)
				tolerance := 0.02
				if rate < mib {
					tolerance = 0.04 // a grant is a third of a second
				}
				within(t, fmt.Sprintf("%v, %d connections", rate, conns), float64(w.total()), 10*float64(rate), tolerance)
			})
		}
	}
}

// One client may have all that others do not want.
func TestBusyAmongIdle(t *testing.T) {
	w := newWorld(t, Config{Global: Limit{Rate: 100 * mib}})
	for i := range 1000 {
		f := w.join(0, "/", ClientID(fmt.Sprint(i)), 1000)
		if f.ended == 0 {
			w.run(ms)
		}
		w.trees[0].Join(&f.Flow, nil, ClientID(fmt.Sprint(i)), w.now) // in a response, wants nothing
	}
	w.run(sec)
	busy := w.join(0, "/", "busy", -1)
	w.forget()
	w.run(10 * sec)
	if got := float64(busy.total) / (1000 * mib); got < 0.98 {
		t.Errorf("gets %.4f of the limit", got)
	}
}

// Classes share by weight; a higher priority goes first; a guarantee before all.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Limit
		want float64 // of 10 MiB/s for a
	}{
		{"equal", Limit{}, Limit{}, 5},
		{"weights", Limit{Weight: 1}, Limit{Weight: 4}, 2},
		{"priority", Limit{}, Limit{Priority: 1}, 0},
		{"priority with a rate", Limit{}, Limit{Priority: 1, Rate: 7 * mib}, 3},
		{"guarantee under a priority", Limit{Guarantee: 3 * mib}, Limit{Priority: 1}, 3},
		{"guarantee below the share", Limit{Guarantee: 3 * mib}, Limit{}, 5},
		{"guarantee above the share", Limit{Guarantee: 8 * mib}, Limit{}, 8},
		{"both guaranteed", Limit{Guarantee: 2 * mib}, Limit{Guarantee: 6 * mib, Priority: -1}, 4},
		{"rate", Limit{Rate: 1 * mib}, Limit{}, 1},
	} {
		eachMode(t, func(t *testing.T, set func(*world)) {
			w := newWorld(t, Config{Global: Limit{Rate: 10 * mib}, Paths: []PathLimit{{"/a/", c.a}, {"/b/", c.b}}})
			set(w)
			var inA []*source
			for i := range 3 {
				inA = append(inA, w.join(0, "/a/x", ClientID(fmt.Sprint("a", i)), -1))
				w.join(0, "/b/x", ClientID(fmt.Sprint("b", i)), -1)
			}
			w.run(sec)
			w.forget()
			w.run(10 * sec)
			var got float64
			for _, f := range inA {
				got += float64(f.total)
			}
			if got /= 10 * mib; abs(got-c.want) > 0.2 {
				t.Errorf("%s: %.3f MiB/s, want %.3f", c.name, got, c.want)
			}
			within(t, c.name+": total", float64(w.total()), 100*mib, 0.02)
		})
	}
}

// Short responses pass beside downloads that take all there is, whether of the
// same client or of another.
func TestShortResponses(t *testing.T) {
	for _, rate := range []Rate{1 * mib, 10 * mib, 1e9} {
		for _, id := range []ClientID{"downloads", "other"} {
			eachMode(t, func(t *testing.T, set func(*world)) {
				w := newWorld(t, Config{Global: Limit{Rate: rate}})
				set(w)
				for range 64 {
					w.join(0, "/", "downloads", -1)
				}
				w.run(3 * sec)
				var took []float64
				for range 200 {
					began := w.now
					f := w.join(0, "/", id, 4<<10)
					for f.ended == 0 {
						w.run(ms)
						if w.now-began > sec {
							t.Fatal("starved")
						}
					}
					took = append(took, float64(f.ended-began)/float64(ms))
					w.run(20 * ms)
				}
				if p99 := percentile(took, 99); p99 > 40 {
					t.Errorf("%v, %s: p99 %.1f ms", rate, id, p99)
				}
			})
		}
	}
}

// Who asks for little again and again gets no more than who asks for much.
func TestManyShortResponsesAreNoTrick(t *testing.T) {
	w := newWorld(t, Config{Global: Limit{Rate: 10 * mib}})
	honest := w.join(0, "/", "honest", -1)
	w.join(0, "/", "honest 2", -1)
	tricky := w.join(0, "/", "tricky", 4<<10)
	var got int64
	end := w.now + 10*sec
	for w.now < end {
		w.run(ms)
		for tricky.ended != 0 {
			got += tricky.total
			tricky.total, tricky.ended, tricky.left = 0, 0, 4<<10
			w.trees[0].Join(&tricky.Flow, nil, "tricky", w.now)
			w.ask(tricky)
			if tricky.ended == w.now {
				break
			}
		}
	}
	if got > honest.total*11/10 {
		t.Errorf("%d bytes by short responses, %d by a download", got, honest.total)
	}
}
