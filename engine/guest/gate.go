package guest

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// gate is the tree of limits of those that send on goroutines of their own, as
// a loop has one for its connections. It is one more loop of the Shaper, so that
// limits hold over both. A mutex stands in for the loop's goroutine: a grant
// is at least some KiB, and costs less than a microsecond under it.
type gate struct {
	mu    sync.Mutex
	tree  *shape.Tree
	now   func() int64
	timer *time.Timer // calls run when a flow may be due

	limits func() shape.Limits
	pause  int64 // between two runs of the timer, at least, in ns

	ran     int64       // when the timer has run last
	changed atomic.Bool // the limits are others; see notice
	over    bool        // the timer is set no more; guarded by mu
}

const (
	// gatePause is the usual pause of a gate, in ns. Buckets have room for 20 ms of
	// their rate and one grant, so nothing is lost; the fewer the wake-ups of an idle
	// process, the less a grant costs: at 200 MB/s over 64 connections, about a fifth
	// less with 10 ms than with 4. It divides the 20 ms that a grant is of a rate, so
	// that steady flows stay so.
	gatePause = int64(10 * time.Millisecond)
	// shortPause is the least, for limits whose burst is a matter of microseconds.
	shortPause = int64(200 * time.Microsecond)
)

// pauseFor returns a pause in which no bucket of a limit gets full: at most half of
// what its burst lasts for, where that was set.
func pauseFor(pause int64, l shape.Limit) int64 {
	if l.Burst <= 0 || l.Rate <= 0 {
		return pause
	}
	half := int64(float64(l.Burst) / float64(l.Rate) * float64(time.Second) / 2)
	return max(min(pause, half), shortPause)
}

// setPause suits the pause to the limits that are configured.
func (g *gate) setPause() {
	l := g.limits()
	g.pause = pauseFor(pauseFor(pauseFor(gatePause, l.Global), l.Client), l.Connection)
	for i := range l.Paths {
		g.pause = pauseFor(g.pause, l.Paths[i].Limit)
	}
	for i := range l.Clients {
		g.pause = pauseFor(g.pause, l.Clients[i].Limit)
	}
}

// lane is the place of one connection, or one Send, in the tree. What it takes
// is one user's at a time.
type lane struct {
	flow  shape.Flow
	ready chan int64 // the grant of a flow that has waited, in bytes
}

func newGate(tree *shape.Tree, limits func() shape.Limits) *gate {
	g := &gate{tree: tree, limits: limits, now: sys.Nanotime}
	g.setPause()
	g.timer = time.AfterFunc(math.MaxInt64, g.run)
	return g
}

func newLane() *lane {
	l := &lane{ready: make(chan int64, 1)}
	l.flow.Owner = l
	return l
}

// run lets the flows go on whose tokens have come.
func (g *gate) run() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed.Swap(false) {
		g.setPause()
	}
	g.ran = g.now()
	g.serve()
}

// serve names the flows that may go on now, and sets the timer for the next.
func (g *gate) serve() {
	if g.over {
		return
	}
	now := g.now()
	for f := g.tree.Next(now); f != nil; f = g.tree.Next(now) {
		f.Owner.(*lane).ready <- f.Granted()
	}
	if due := g.tree.Due(); due >= 0 {
		g.timer.Reset(time.Duration(max(due, g.ran+g.pause) - now))
	}
	if g.changed.Load() { // notice may have set the timer before us
		g.timer.Reset(0)
	}
}

// notice tells that limits have changed. It is called while the Shaper is
// locked, perhaps by a call of the tree under mu, so it may take no lock.
func (g *gate) notice() {
	g.changed.Store(true)
	g.timer.Reset(0)
}

// join begins a response.
func (g *gate) join(l *lane, class *shape.Class, flow *Flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l.flow.Owner = l
	g.tree.Join(&l.flow, class, shape.ClientID(flow.Client), g.now())
	brought := &flow.ClientLimit
	if *brought == (shape.Limit{}) {
		brought = nil
	}
	l.flow.SetClientLimit(g.tree, brought)
	if flow.Limit != (shape.Limit{}) {
		g.tree.SetLimit(&l.flow, flow.Limit)
	}
	g.pause = pauseFor(pauseFor(g.pause, flow.Limit), flow.ClientLimit) // from here on, for all: such limits come again
}

// take asks for up to want bytes. 0: they are not there, and
// how many have come is sent to the lane's ready.
func (g *gate) take(l *lane, want int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.tree.Take(&l.flow, want, g.now())
	if n == 0 {
		g.serve()
	}
	return n
}

// refund gives back what was granted and is not sent now.
func (g *gate) refund(l *lane, n int64) {
	if n <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tree.Refund(&l.flow, n, g.now())
	g.serve()
}

// rest ends a response, of which unsent bytes were granted and not sent, and
// returns how long it was held. After that the tree knows nothing of the lane.
func (g *gate) rest(l *lane, unsent int64) (held [shape.NumLevels]int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	select {
	case unsent = <-l.ready: // named after it had given up
	default:
	}
	if unsent > 0 {
		g.tree.Refund(&l.flow, unsent, now)
	}
	g.tree.Rest(&l.flow, now)
	held = l.flow.Held()
	g.serve()
	return held
}

// report is Tree.Report.
func (g *gate) report(r *shape.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tree.Report(g.now(), math.MaxInt, r)
}

// stop ends the timer. Nobody waits any more.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.timer.Stop()
}
