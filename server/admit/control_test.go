package admit

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func control(t *testing.T, p Policy) *Control {
	t.Helper()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	c := new(Control)
	c.Set(p)
	return c
}

func (c *Control) want(t *testing.T, client string, now int64, want Reason) Grant {
	t.Helper()
	g, r := c.Admit(&Ask{Client: []byte(client)}, now)
	if r.Reason != want {
		t.Fatalf("%s: %v, want %v", client, r.Reason, want)
	}
	return g
}

// Bounds of paths and users: what one of them refuses none has counted, and a user has its own bound of
// downloads in place of that of its address.
func TestPathsAndUsers(t *testing.T) {
	c := control(t, Policy{
		Requests: Rate{Requests: 1, Per: time.Second, Burst: 10}, ClientDownloads: 2,
		Paths: map[string]PathBounds{"/p/": {Requests: Rate{Requests: 1, Per: time.Second, Burst: 3}}, "/p/deep/": {Downloads: 1}},
		Users: map[string]Rate{"low": {Requests: 1, Per: time.Second, Burst: 2}},
	})
	ask := func(a Ask, now int64, want Reason) Grant {
		t.Helper()
		g, r := c.Admit(&a, now)
		if r.Reason != want || (r.Wait > 0) != (want == Requests || want == PathRequests || want == UserRequests) {
			t.Fatalf("%s %s %s: %+v, want %v", a.Client, a.User, a.Path, r, want)
		}
		return g
	}
	address := func(client, path string) Ask { return Ask{Client: []byte(client), Path: []byte(path)} }
	user := func(client, name string, most int) Ask {
		return Ask{Client: []byte(client), User: []byte(name), Tier: "low", Downloads: most, Path: []byte("/")}
	}
	end := func(g Grant) { g.Release() }
	now := int64(time.Hour)
	for _, client := range []string{"a", "b", "c"} {
		end(ask(address(client, "/p/x"), now, Admitted))
	}
	for range 20 {
		ask(address("a", "/p/x"), now, PathRequests)
	}
	for range 9 { // of ten, one was answered
		end(ask(address("a", "/"), now, Admitted))
	}
	ask(address("a", "/"), now, Requests)
	ask(address("a", "/p/x"), now, Requests)
	end(ask(address("d", "/p/x"), now+int64(time.Second), Admitted))

	deep := ask(address("d", "/p/deep/x"), now, Admitted)
	for range 20 {
		ask(address("e", "/p/deep/y"), now, PathBusy)
	}
	end(deep)
	end(ask(address("e", "/p/deep/y"), now, Admitted))

	for _, client := range []string{"f", "g"} { // wherever it comes from
		end(ask(user(client, "alice", 0), now, Admitted))
	}
	for range 20 {
		ask(user("h", "alice", 0), now, UserRequests)
	}
	for range 10 {
		end(ask(address("h", "/"), now, Admitted))
	}
	end(ask(user("i", "bob", 0), now, Admitted))
	anonymous := Ask{Client: []byte("k"), Tier: "low", Path: []byte("/")}
	end(ask(anonymous, now, Admitted))
	end(ask(anonymous, now, Admitted))
	ask(anonymous, now, UserRequests)

	c.Set(Policy{ClientDownloads: 2, Claims: true})
	var under []Grant
	for range 3 { // more than its address
		under = append(under, ask(user("n", "carol", 3), now, Admitted))
	}
	ask(user("m", "carol", 3), now, ClientBusy)
	under = append(under, ask(user("n", "dave", 1), now, Admitted), ask(address("n", "/"), now, Admitted))
	ask(user("n", "dave", 1), now, ClientBusy)
	for i := range under {
		under[i].Release()
	}
	if n := c.UnderWay(); n != 0 {
		t.Errorf("%d are left", n)
	}
	under[0] = ask(user("n", "carol", 3), now, Admitted)
	if a := user("n", "carol", 1); testing.AllocsPerRun(100, func() { c.Admit(&a, now) }) > 0 {
		t.Error("it allocates")
	}
}

// TestControl: what was taken for a request that another bound refuses is given back.
func TestControl(t *testing.T) {
	c := control(t, Policy{Requests: Rate{Requests: 1, Per: time.Second, Burst: 3}, ClientDownloads: 1, Downloads: 2})
	a := c.want(t, "a", 1, Admitted)
	for range 5 {
		c.want(t, "a", 1, ClientBusy)
	}
	b := c.want(t, "b", 1, Admitted)
	c.want(t, "c", 1, Busy)
	a.Release()
	a.Release()
	c.want(t, "c", 1, Admitted)
	b.Release()
	a = c.want(t, "a", 1, Admitted)
	a.Release()
	a = c.want(t, "a", 1, Admitted)
	a.Release()
	if _, r := c.Admit(&Ask{Client: []byte("a")}, 1); r.Reason != Requests || r.Wait != 1e9 {
		t.Errorf("a fourth request of three: %+v", r)
	}
	if n := c.UnderWay(); n != 1 {
		t.Errorf("%d under way, want that of c", n)
	}
	if c.Results(ClientBusy) != 5 || c.Results(Busy) != 1 || c.Results(Requests) != 1 || c.Results(Admitted) != 5 {
		t.Errorf("results: %d, %d, %d, %d", c.Results(ClientBusy), c.Results(Busy), c.Results(Requests), c.Results(Admitted))
	}
	c.Set(Policy{})
	if c.Limits() {
		t.Error("it has limits that were taken away")
	}
	c.want(t, "a", 1, Admitted)
}

func TestPolicyIsRefused(t *testing.T) {
	for _, p := range []Policy{
		{ClientDownloads: -1}, {Downloads: -1}, {QueueLength: -1}, {QueueWait: -1}, {ClientDownloads: MaxHeld + 1}, {Requests: Rate{Requests: 1}},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

// TestQueue: requests wait in their order, newcomers behind them, others not at all.
func TestQueue(t *testing.T) {
	c := control(t, Policy{ClientDownloads: 1, Downloads: 2, QueueLength: 2})
	var order []string
	wait := func(name, client string, why Reason) *Waiter {
		t.Helper()
		_, r := c.Admit(&Ask{Client: []byte(client)}, 0)
		if r.Reason != why || !r.Queue {
			t.Fatalf("%s: %+v, want %v", name, r, why)
		}
		return c.Wait(&Ask{Client: []byte(client)}, r.Reason, func() { order = append(order, name) })
	}
	a := c.want(t, "a", 0, Admitted)
	first, second := wait("first", "a", ClientBusy), wait("second", "a", ClientBusy)
	wait("one too many", "a", ClientBusy)
	b := c.want(t, "b", 0, Admitted)
	third := wait("third", "c", Busy)
	if want := []string{"one too many"}; !slices.Equal(order, want) {
		t.Fatalf("%v, want %v", order, want)
	}
	a.Release()
	if g, why := first.Admitted(); why != Admitted {
		t.Errorf("first: %v", why)
	} else {
		second.Leave()
		second.Leave()
		g.Release() // c waits for all together
	}
	b.Release()
	g, why := third.Admitted()
	if want := []string{"one too many", "first", "second", "third"}; !slices.Equal(order, want) || why != Admitted {
		t.Errorf("%v, want %v; third: %v", order, want, why)
	}
	if _, why := second.Admitted(); why != ClientBusy {
		t.Errorf("who has left: %v", why)
	}
	g.Release()
	if c.UnderWay() != 0 || c.gauge.total() != 0 || c.queue.waiting.Load() != 0 || len(c.queue.of) != 0 || len(c.queue.ready) != 0 {
		t.Errorf("at the end %d under way, %d counted, %d waiting", c.UnderWay(), c.gauge.total(), c.queue.waiting.Load())
	}
}

// TestQueueAfterAChange: who waits for a bound that is gone does not wait any more.
func TestQueueAfterAChange(t *testing.T) {
	for _, next := range []Policy{{}, {ClientDownloads: 5, QueueLength: 10}} {
		c := control(t, Policy{ClientDownloads: 1, QueueLength: 10})
		g := c.want(t, "a", 0, Admitted)
		done := 0
		var waiters []*Waiter
		for range 4 {
			waiters = append(waiters, c.Wait(&Ask{Client: []byte("a")}, ClientBusy, func() { done++ }))
		}
		c.Set(next)
		if done != 4 {
			t.Errorf("%+v: %d of 4 go on", next, done)
		}
		g.Release()
		for _, w := range waiters {
			g, why := w.Admitted()
			if why != Admitted {
				t.Errorf("%+v: %v", next, why)
			}
			g.Release()
		}
		if c.UnderWay() != 0 || c.gauge.total() != 0 {
			t.Errorf("%+v: %d under way, %d counted", next, c.UnderWay(), c.gauge.total())
		}
	}
}

// TestQueueTogether: whatever loops do at a time, everybody gets a turn, bounds hold, and
// nothing is left at the end.
func TestQueueTogether(t *testing.T) {
	c := control(t, Policy{ClientDownloads: 2, Downloads: 5, QueueLength: 1000, QueueWait: time.Minute})
	var all sync.WaitGroup
	for w := range uint64(8) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(w, 7))
			for range 5000 {
				client := []byte{'a' + byte(random.IntN(4))}
				g, r := c.Admit(&Ask{Client: client}, 0)
				if r.Reason != Admitted {
					done := make(chan struct{})
					waiter := c.Wait(&Ask{Client: client}, r.Reason, func() { close(done) })
					if random.IntN(10) == 0 {
						waiter.Leave()
					}
					<-done
					g, _ = waiter.Admitted()
				}
				if n := c.UnderWay(); n > 5 {
					t.Errorf("%d under way", n)
				}
				g.Release()
			}
		})
	}
	all.Wait()
	if c.UnderWay() != 0 || c.gauge.total() != 0 || c.queue.waiting.Load() != 0 || len(c.queue.of) != 0 || len(c.queue.ready) != 0 {
		t.Errorf("at the end %d under way, %d counted, %d waiting", c.UnderWay(), c.gauge.total(), c.queue.waiting.Load())
	}
}

// Proofs that were verified in vain count as ten requests.
func TestPunish(t *testing.T) {
	c, now := new(Control), int64(time.Hour)
	c.Punish([]byte("192.0.2.7"), now)
	c.Set(Policy{Requests: Rate{Requests: 1, Per: time.Second, Burst: 25}})
	n := 0
	for ; n < 30 && c.Charge([]byte("192.0.2.7"), now).Reason == Admitted; n++ {
		c.Punish([]byte("192.0.2.7"), now)
	}
	if n != 3 {
		t.Errorf("%d bad proofs at a rate with a burst of 25", n)
	}
	if c.Charge([]byte("192.0.2.8"), now).Reason != Admitted {
		t.Error("others are punished")
	}
}
