// Package guest sends files and memory to connections of other servers (net/http, gin, stock
// fasthttp) as the loops do to theirs: without copying, by the limits, and without a thread that
// waits for the disk or the peer.
package guest

import (
	"errors"
	"sync"
	"time"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

var (
	// ErrEnded is returned when nothing new begins any more.
	ErrEnded = errors.New("engine: it is shutting down")

	// ErrNoGuests is returned by Send, and by Accept of a Listener, if the engine has
	// limits and loops of its own and was made without Config.Guests.
	ErrNoGuests = errors.New("engine: made without Config.Guests")
)

// Guests are connections that belong to others: to the poller of the Go runtime, not to a
// loop. They are sent to by Send, or are a Listener's and send by themselves. Each Send runs on its caller's goroutine, waits
// for the socket by the runtime's poller, for tokens at the gate and for the disk
// by a few goroutines that all share.
type Guests struct {
	mode   aio.Mode
	shaper *shape.Shaper // nil: nothing is shaped
	gate   *gate         // nil: nothing is shaped
	shut   bool          // there are limits, and no place in them: see engine.Config.Guests
	cold   *mover.Pool

	cut  chan struct{} // closed by Close: what waits gives up
	over chan struct{} // closed when nothing is under way and nothing will be

	mu     sync.Mutex
	ended  bool // nothing new begins
	closed bool // cut is closed
	under  int  // calls and reads under way
	idle   []*sender
	waits  map[*wait]struct{} // of Sends to connections that are not of a Listener
	conns  map[*Conn]struct{}
	stats  Stats
}

// Stats count what Send and the connections of Listener did.
type Stats struct {
	Sends     uint64                 // calls of Send, and files sent by connections of Listener
	Failed    uint64                 // of them, those that have not sent everything
	ColdReads uint64                 // file ranges that were not in memory
	Bytes     [outcome.NumVia]uint64 // moved, by way; of memory only what is limited
	StepsDown [outcome.NumVia]uint64 // ways refused by a file system, by way
	Conns     int                    // of Listener, open now
	UnderWay  int                    // calls
}

// maxIdleSenders bounds the senders that are kept for later; each may hold pipes.
const maxIdleSenders = 64

// New returns Guests that let calls begin. A nil shaper shapes nothing; tree is that of the
// shaper which is the guests' own, negative: there is none, and no call begins.
func New(mode aio.Mode, shaper *shape.Shaper, tree int) *Guests {
	g := &Guests{
		mode: mode, shaper: shaper, cut: make(chan struct{}), over: make(chan struct{}),
		waits: make(map[*wait]struct{}), conns: make(map[*Conn]struct{}),
	}
	switch {
	case shaper == nil:
	case tree < 0:
		g.shut = true
	default:
		g.gate = newGate(shaper.Tree(tree), shaper.Limits)
	}
	return g
}

// Over is closed when nothing is under way and nothing will be.
func (g *Guests) Over() <-chan struct{} { return g.over }

// Notice tells that limits have changed. It takes no lock.
func (g *Guests) Notice() {
	if g.gate != nil {
		g.gate.notice()
	}
}

// Report adds what the limits of guests are doing.
func (g *Guests) Report(r *shape.Report) {
	if g.gate != nil {
		g.gate.report(r)
	}
}

// enter begins a call.
func (g *Guests) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended:
		return ErrEnded
	case g.shut:
		return ErrNoGuests
	}
	g.under++
	return nil
}

// enterRead begins a read from the disk; whoever needs it is under way.
func (g *Guests) enterRead() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under++
	g.stats.ColdReads++
}

// exit ends what enter or enterRead has begun.
func (g *Guests) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
	g.finish()
}

// finish frees what is kept once the last call has ended. The caller holds mu.
func (g *Guests) finish() {
	if !g.ended || g.under > 0 {
		return
	}
	for _, s := range g.idle {
		s.mover.Close()
	}
	g.idle = nil
	if g.gate != nil {
		g.gate.stop()
	}
	close(g.over)
}

// Drain lets no call begin any more.
func (g *Guests) Drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.ended = true
		g.finish()
	}
}

// Close ends what is under way; Over tells when that has happened.
func (g *Guests) Close() {
	g.Drain()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.closed = true
	close(g.cut)
	for w := range g.waits {
		w.interrupt()
	}
	for c := range g.conns {
		c.interrupt()
	}
}

// isCut reports whether close was called.
func (g *Guests) isCut() bool {
	select {
	case <-g.cut:
		return true
	default:
		return false
	}
}

// sender returns one that nobody uses.
func (g *Guests) sender() *sender {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.idle); n > 0 {
		s := g.idle[n-1]
		g.idle[n-1] = nil
		g.idle = g.idle[:n-1]
		return s
	}
	s := &sender{guests: g}
	s.mover = mover.New(aio.Config{Mode: g.mode}, &s.stats)
	// An edge-triggered poller wakes only after EAGAIN.
	s.mover.Edge = true
	s.attempt, s.run = s.attemptFD, s.runFD
	return s
}

// done takes a sender back and counts what it did.
func (g *Guests) done(s *sender, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Sends++
	if failed {
		g.stats.Failed++
	}
	for via, n := range s.stats.Bytes {
		g.stats.Bytes[via] += n
		g.stats.StepsDown[via] += s.stats.StepsDown[via]
	}
	s.stats.Bytes, s.stats.StepsDown = [outcome.NumVia]uint64{}, [outcome.NumVia]uint64{}
	if len(g.idle) < maxIdleSenders {
		g.idle = append(g.idle, s)
		return
	}
	s.mover.Close()
}

// watch makes close interrupt w.
func (g *Guests) watch(w *wait) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		w.interrupt()
		return
	}
	g.waits[w] = struct{}{}
}

func (g *Guests) unwatch(w *wait) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waits, w)
}

// wrote counts memory that was sent under limits.
func (g *Guests) wrote(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Bytes[aio.ViaMemory] += uint64(n)
}

// Stats returns the counters.
func (g *Guests) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Conns, s.UnderWay = len(g.conns), g.under
	return s
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)
