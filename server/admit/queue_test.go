package admit

import (
	"slices"
	"testing"
)

// TestQueueOfAll: who waits for a place among all gets it in the order of arrival, whoever else
// waits, and no place stays free while somebody waits.
func TestQueueOfAll(t *testing.T) {
	for name, p := range map[string]Policy{
		"all": {Downloads: 2, QueueLength: 9}, "each too": {ClientDownloads: 2, Downloads: 2, QueueLength: 9},
	} {
		t.Run(name, func(t *testing.T) {
			c := control(t, p)
			var order []string
			wait := func(name, client string) *Waiter {
				t.Helper()
				ask := &Ask{Client: []byte(client)}
				_, r := c.Admit(ask, 0)
				if !r.Queue {
					t.Fatalf("%s: %+v", name, r)
				}
				return c.Wait(ask, r.Reason, func() { order = append(order, name) })
			}
			a, b := c.want(t, "a", 0, Admitted), c.want(t, "b", 0, Admitted)
			c1, b1, b2 := wait("c1", "c"), wait("b1", "b"), wait("b2", "b")
			b.Release()
			a.Release()
			g1, _ := c1.Admitted()
			gb, _ := b1.Admitted()
			if want := []string{"c1", "b1"}; !slices.Equal(order, want) {
				t.Errorf("%v, want %v", order, want)
			}
			d1, d2 := wait("d1", "d"), wait("d2", "d")
			b2.Leave()
			d1.Leave()
			g1.Release()
			gb.Release()
			if want := []string{"c1", "b1", "b2", "d1", "d2"}; !slices.Equal(order, want) {
				t.Errorf("%v, want %v", order, want)
			}
			g, _ := d2.Admitted()
			g.Release()
			if c.UnderWay() != 0 || c.gauge.total() != 0 || c.queue.waiting.Load() != 0 {
				t.Errorf("at the end %d under way, %d counted, %d waiting", c.UnderWay(), c.gauge.total(), c.queue.waiting.Load())
			}
		})
	}
}

// TestQueueOfPath: who waits for its client does not wait for a path besides, and keeps nobody from the place.
func TestQueueOfPath(t *testing.T) {
	c := control(t, Policy{Downloads: 1, QueueLength: 9, Paths: map[string]PathBounds{"/p/": {Downloads: 1}}})
	a := c.want(t, "a", 0, Admitted)
	done := 0
	wait := func(client string) *Waiter {
		return c.Wait(&Ask{Client: []byte(client), Path: []byte("/p/x")}, Busy, func() { done++ })
	}
	first := wait("b")
	c.Set(Policy{Downloads: 2, QueueLength: 9, Paths: map[string]PathBounds{"/p/": {Downloads: 1}}})
	last := wait("c")
	a.Release()
	if _, why := last.Admitted(); done != 2 || why != PathBusy {
		t.Errorf("%d have an answer, the last %v, want %v", done, why, PathBusy)
	}
	g, why := first.Admitted()
	if why != Admitted {
		t.Errorf("the first: %v", why)
	}
	g.Release()
	if c.UnderWay() != 0 || c.Waiting() != 0 || c.Results(PathBusy) != 1 {
		t.Errorf("%d under way, %d wait, %d refused by the path", c.UnderWay(), c.Waiting(), c.Results(PathBusy))
	}
}
