package shape

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	ms  = int64(1e6)
	sec = second
	kib = 1 << 10
	mib = 1 << 20
)

// world drives trees as event loops do, in virtual time: each wakes when something is
// due, perhaps late, and lets every flow that may send do so.
type world struct {
	t     testing.TB
	s     *Shaper
	trees []*Tree
	now   int64
	wakes int

	late  func(loop int) int64 // how late a loop wakes; nil: not at all
	drain bool                 // Next is drained before flows take again
	flows []*source
	owner map[*Flow]*source
	wake  []int64 // when a loop wakes; 0: as Due says

	slot  int64 // length of the slots that are counted
	start int64
}

// source is a connection whose peer takes everything.
type source struct {
	Flow
	loop  int
	left  int64 // what the response still has; below 0: no end
	total int64
	slots []int64
	ended int64 // instant, 0: not yet
	stuck bool  // the peer takes nothing
	quiet bool  // takes no part
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, s: s, now: 1000 * sec, slot: 100 * ms, owner: make(map[*Flow]*source)}
	w.start = w.now
	w.wake = make([]int64, max(cfg.Loops, 1))
	for i := range max(cfg.Loops, 1) {
		w.trees = append(w.trees, s.Tree(i))
	}
	return w
}

// join adds a connection that begins a response now.
func (w *world) join(loop int, path string, id ClientID, size int64) *source {
	f := &source{loop: loop, left: size}
	w.flows = append(w.flows, f)
	w.owner[&f.Flow] = f
	w.trees[loop].Join(&f.Flow, w.s.Class([]byte(path)), id, w.now)
	w.ask(f)
	return f
}

// ask lets f take and send until it must wait.
func (w *world) ask(f *source) {
	for range 1 << 16 {
		if f.left == 0 || f.quiet {
			return
		}
		want := int64(math.MaxInt64)
		if f.left > 0 {
			want = f.left
		}
		if n := w.trees[f.loop].Take(&f.Flow, want, w.now); n == 0 {
			return
		}
		w.send(f)
	}
	w.t.Fatal("a flow is not limited by anything")
}

// send counts what f has been granted.
func (w *world) send(f *source) {
	n := f.Granted()
	if f.stuck {
		w.trees[f.loop].Refund(&f.Flow, n, w.now)
		f.quiet = true
		return
	}
	f.total += n
	if f.left > 0 {
		f.left -= n
	}
	i := int((w.now - w.start) / w.slot)
	for len(f.slots) <= i {
		f.slots = append(f.slots, 0)
	}
	f.slots[i] += n
	if f.left == 0 {
		f.ended = w.now
		w.trees[f.loop].Rest(&f.Flow, w.now)
	}
}

// turn is one turn of a loop.
func (w *world) turn(loop int) {
	t := w.trees[loop]
	w.wakes++
	var batch []*source
	for {
		f := t.Next(w.now)
		if f == nil {
			break
		}
		src := w.sourceOf(f)
		w.send(src)
		if w.drain {
			batch = append(batch, src)
		} else {
			w.ask(src)
		}
	}
	for _, src := range batch {
		w.ask(src)
	}
}

func (w *world) sourceOf(f *Flow) *source {
	return w.owner[f]
}

// run lets time pass.
func (w *world) run(d int64) {
	until := w.now + d
	wake := w.wake
	for idle := 0; ; {
		first, loop := until+1, -1
		for i, t := range w.trees {
			due := t.Due()
			if due < 0 {
				wake[i] = 0
				continue
			}
			due = max(due, w.now)
			if w.late != nil && due > w.now && wake[i] == 0 {
				wake[i] = due + w.late(i)
			}
			due = max(due, wake[i])
			if due < first {
				first, loop = due, i
			}
		}
		if loop < 0 {
			w.now = until
			return
		}
		if first == w.now {
			if idle++; idle > 1000*len(w.trees) {
				w.t.Fatal("a tree is due for ever without anything to do")
			}
		} else {
			idle = 0
		}
		w.now = first
		wake[loop] = 0
		w.turn(loop)
	}
}

// forget begins the counts anew.
func (w *world) forget() {
	w.start = w.now
	for _, f := range w.flows {
		f.total, f.slots = 0, nil
	}
}

func (w *world) total() (sum int64) {
	for _, f := range w.flows {
		sum += f.total
	}
	return sum
}

// cov is the coefficient of variation of the first n slots.
func (f *source) cov(from, n int) float64 {
	var sum, squares float64
	for i := from; i < n; i++ {
		var v float64
		if i < len(f.slots) {
			v = float64(f.slots[i])
		}
		sum += v
		squares += v * v
	}
	mean := sum / float64(n-from)
	return math.Sqrt(max(squares/float64(n-from)-mean*mean, 0)) / mean
}

// percentile of values, which it sorts.
func percentile(values []float64, p float64) float64 {
	slices.Sort(values)
	return values[min(int(p/100*float64(len(values))), len(values)-1)]
}

// jain is Jain's index of fairness.
func jain(values []float64) float64 {
	var sum, squares float64
	for _, v := range values {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(values)) * squares)
}

// uneven returns lateness as of a loop on a busy machine: mostly short, at times
// long.
func uneven(seed uint64) func(int) int64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int) int64 {
		if r.IntN(100) == 0 {
			return r.Int64N(15 * ms)
		}
		return r.Int64N(ms / 2)
	}
}

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: %.5g, want %.5g within %.1f %%", what, got, want, 100*tolerance)
	}
}
