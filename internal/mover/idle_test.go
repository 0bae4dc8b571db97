package mover

import (
	"testing"

	"github.com/fserve/fserve/internal/aio"
)

// TestIdle: what a pool keeps goes when nobody has needed it for the whole of a period, and no
// sooner.
func TestIdle(t *testing.T) {
	var i Idle
	n, now := 0, int64(1e15)
	take := func(k int) { // so many at a time, and back
		least := max(n-k, 0)
		i.Left(least)
		n = max(n, k)
	}
	for _, step := range []struct {
		after int64 // s
		used  int
		left  int
	}{
		{0, 0, 0}, {1, 66, 66}, {1, 2, 66}, // the period begins with the 66
		{28, 2, 66}, {2, 0, 2}, // 64 of them were never needed
		{29, 1, 2}, {2, 0, 1}, {29, 0, 1}, {2, 0, 0}, {3600, 0, 0},
		{1, 5, 5}, {31, 5, 5}, {31, 0, 5}, {31, 0, 0},
	} {
		now += step.after * 1e9
		surplus, next := i.Surplus(n, now)
		n -= surplus
		take(step.used)
		if n != step.left || n > 0 && step.used == 0 && (next <= now || next > now+idleTime) || n == 0 && next != 0 {
			t.Fatalf("%+v: %d are left, next at %d, now %d", step, n, next, now)
		}
	}
}

// TestIdlePipes: pipes of many downloads at once are closed when they are over.
func TestIdlePipes(t *testing.T) {
	r := newUnixRig(t, aio.Config{})
	r.Now = 1e15
	var some []*pipe
	for range maxIdlePipes {
		p, err := r.pipes.get()
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, p)
	}
	for _, p := range some {
		r.pipes.put(p)
	}
	for r.Trim() != 0 {
		p, err := r.pipes.get() // one is needed all the while, once
		if err != nil {
			t.Fatal(err)
		}
		if r.Now > 1e15+idleTime/2 {
			r.pipes.put(p)
			break
		}
		r.pipes.put(p)
		r.Now += idleTime / 10
	}
	if r.stats.PipesOpen != maxIdlePipes {
		t.Errorf("%d pipes before their time", r.stats.PipesOpen)
	}
	r.Now = 1e15 + idleTime
	r.Trim()
	if r.stats.PipesOpen != 1 {
		t.Errorf("%d pipes, want the one that was needed", r.stats.PipesOpen)
	}
	r.Now += idleTime
	if next := r.Trim(); next != 0 || r.stats.PipesOpen != 0 {
		t.Errorf("%d pipes in the end, next look at %d", r.stats.PipesOpen, next)
	}
}
