package shape

import (
	"fmt"
	"testing"
)

// video is a class that limits its clients and connections.
func video(loops int, whole Rate, after int64) Config {
	return Config{Loops: loops, Paths: []PathLimit{{"/v/", Limit{Rate: whole, Client: 3 * mib, Connection: 2 * mib, After: after}}}}
}

// Each client and each connection is held within the class, over all loops; elsewhere nothing is.
func TestWithin(t *testing.T) {
	for _, loops := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("loops=%d", loops), func(t *testing.T) {
			w := newWorld(t, video(loops, Unlimited, 0))
			one := w.join(0, "/v/a", "one", -1)
			var many []*source
			for i := range 8 {
				many = append(many, w.join(i%loops, "/v/a", "many", -1))
			}
			w.run(5 * sec)
			w.forget()
			w.run(20 * sec)
			within2(t, "a connection", one.total, 20*2*mib)
			var sum int64
			for _, f := range many {
				sum += f.total
				if loops == 1 { // a client's connections share by what waits on each loop
					within2(t, "one of eight", f.total, 20*3*mib/8)
				}
			}
			within2(t, "a client", sum, 20*3*mib)
			if n := w.trees[0].Take(&w.other("/w/", "many").Flow, 1<<30, w.now); n != maxGrant {
				t.Errorf("elsewhere %d bytes are granted at once", n)
			}
		})
	}
}

// other joins a flow that takes nothing yet.
func (w *world) other(path string, id ClientID) *source {
	f := &source{quiet: true}
	w.trees[0].Join(&f.Flow, w.s.Class([]byte(path)), id, w.now)
	return f
}

func within2(t *testing.T, what string, got, want int64) {
	t.Helper()
	within(t, what, float64(got), float64(want), 0.02)
}

// A class that is used up is shared by its clients, whatever they may have within it, and
// what one may not use the others get.
func TestWithinSharesTheClass(t *testing.T) {
	for _, c := range []struct {
		whole, few, many int64
	}{{4 * mib, 2 * mib, 2 * mib}, {5 * mib, 2 * mib, 3 * mib}} {
		for _, loops := range []int{1, 2} {
			w := newWorld(t, video(loops, Rate(c.whole), 0))
			few := w.join(0, "/v/a", "few", -1)
			for i := range 8 {
				w.join(i%loops, "/v/a", "many", -1)
			}
			w.run(5 * sec)
			w.forget()
			w.run(20 * sec)
			within(t, fmt.Sprint("the client with one connection, ", loops, " loops"), float64(few.total), float64(20*c.few), 0.05)
			within(t, "both", float64(w.total()), float64(20*(c.few+c.many)), 0.02)
		}
	}
}

// What passes before the limits begin is counted for each response, and waits for nobody
// whom they hold.
func TestAfter(t *testing.T) {
	for _, loops := range []int{1, 2} {
		w := newWorld(t, video(loops, Unlimited, 10*mib))
		held := w.join(0, "/v/a", "x", -1)
		for i := range 4 {
			w.join(i%loops, "/v/a", "x", -1)
		}
		if held.total < 10*mib || held.total > 10*mib+mib/2 {
			t.Fatalf("%d bytes pass before the limits begin", held.total)
		}
		w.run(5 * sec) // the client is held
		if f := w.join(0, "/v/a", "x", 10*mib); f.ended != w.now {
			t.Errorf("%d of a response that is not held passed at once", f.total)
		}
		w.forget()
		again := w.join(0, "/v/a", "x", 10*mib+mib/2)
		if again.left != mib/2 {
			t.Errorf("%d bytes are left when the limits begin", again.left)
		}
		w.run(10 * sec)
		within2(t, "the client", w.total()-10*mib, 10*3*mib)
		if again.ended == 0 {
			t.Error("a response that came later did not end")
		}
	}
}

// The other limits hold from the first byte.
func TestAfterIsWithinOtherLimits(t *testing.T) {
	cfg := video(1, 8*mib, 1<<30)
	cfg.Client, cfg.Connection = Limit{Rate: 4 * mib}, Limit{Rate: mib}
	w := newWorld(t, cfg)
	f := w.join(0, "/v/a", "x", -1)
	for range 7 {
		w.join(0, "/v/a", "x", -1)
	}
	w.join(0, "/v/a", "y", -1)
	w.run(sec)
	w.forget()
	w.run(20 * sec)
	within2(t, "a connection", f.total, 20*mib/2)
	within2(t, "all", w.total(), 20*5*mib)
}

// Limits within a class come, change and go under responses that run, without a new burst.
func TestWithinChanges(t *testing.T) {
	for _, loops := range []int{1, 2} {
		w := newWorld(t, Config{Loops: loops, Global: Limit{Rate: 50 * mib}, Paths: []PathLimit{{"/v/", Limit{}}}})
		for i := range 4 {
			w.join(i%loops, "/v/a", "x", -1)
		}
		w.run(sec)
		for _, c := range []struct {
			limit Limit
			want  int64
		}{
			{Limit{Client: mib}, mib}, {Limit{Client: 8 * mib}, 8 * mib}, {Limit{Connection: mib}, 4 * mib},
			{Limit{Connection: mib, Client: Paused}, 0}, {Limit{}, 50 * mib}, {Limit{Client: 2 * mib, After: 1 << 40}, 50 * mib},
			{Limit{Client: 2 * mib, After: 1}, 2 * mib},
		} {
			if _, _, err := w.s.SetPath("/v/", c.limit); err != nil {
				t.Fatal(err)
			}
			w.wakeAll()
			w.run(100 * ms) // what had been granted
			w.forget()
			w.run(4 * sec)
			if c.want == 0 && w.total() > 0 {
				t.Errorf("%+v: %d bytes pass", c.limit, w.total())
			}
			within(t, fmt.Sprintf("%+v, %d loops", c.limit, loops), float64(w.total()), float64(4*c.want), 0.03)
		}
		w.s.RemovePath("/v/")
		w.wakeAll()
		w.forget()
		w.run(4 * sec)
		within(t, "removed", float64(w.total()), 4*50*mib, 0.03)
	}
}

// wakeAll gives each loop a turn, as a change does.
func (w *world) wakeAll() {
	for i := range w.trees {
		w.turn(i)
	}
}

// A connection that goes from class to class takes no burst with it.
func TestWithinOverClasses(t *testing.T) {
	w := newWorld(t, Config{Paths: []PathLimit{{"/v/", Limit{Connection: mib}}, {"/w/", Limit{Connection: mib / 2}}}})
	f := w.join(0, "/v/", "x", mib)
	w.run(2 * sec)
	paths := []string{"/w/", "/v/", "/"}
	begin, sum := w.now, int64(0)
	for i := range 60 {
		f.left, f.ended = 64<<10, 0
		path := paths[i%2]
		w.trees[0].Join(&f.Flow, w.s.Class([]byte(path)), "x", w.now)
		w.ask(f)
		for f.ended == 0 {
			w.run(ms)
		}
		sum += 64 << 10
	}
	if most := (w.now-begin)/1000*mib/1000000 + (Limit{Rate: mib}).burst(); sum > most {
		t.Errorf("%d bytes in %d ms", sum, (w.now-begin)/ms)
	}
}

// Places within classes are forgotten with their clients, but not while tokens are owed.
func TestWithinIsBounded(t *testing.T) {
	for _, loops := range []int{1, 2} {
		cfg := video(loops, Unlimited, 0)
		cfg.MaxClients = 64
		w := newWorld(t, cfg)
		for i := range 1000 {
			f := w.join(i%loops, "/v/", ClientID(fmt.Sprint(i)), 16<<10)
			for f.ended == 0 {
				w.run(ms)
			}
			w.run(20 * ms)
		}
		for i, tree := range w.trees {
			if tree.nodes > 64+2 || len(tree.clients) == 0 {
				t.Errorf("%d nodes of %d clients on loop %d", tree.nodes, len(tree.clients), i)
			}
		}
		w.s.mu.Lock()
		n := 0
		for _, sh := range w.s.shared {
			n += len(sh.within)
		}
		w.s.mu.Unlock()
		if n > 2*64 {
			t.Errorf("%d pools are kept", n)
		}
	}
}

func TestWithinIsValidated(t *testing.T) {
	for _, l := range []Limit{{Client: -2}, {Connection: MaxRate + 1}, {After: 1}, {Client: 1, After: -1}} {
		if _, _, err := new(Shaper).SetPath("/v/", l); err == nil {
			t.Errorf("%+v is taken", l)
		}
	}
	if l := (Limit{Client: 1}); l.ValidateAt(LevelClient) == nil {
		t.Error("a client has a limit within a class")
	}
}
