package engine

import (
	"sync"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

// foreign is what sends to connections that belong to others: to the poller of
// the Go runtime, not to a loop. Each Send runs on its caller's goroutine, waits
// for the socket by the runtime's poller, for tokens at the gate and for the disk
// by a few goroutines that all share.
type foreign struct {
	engine *Engine
	gate   *gate // nil: nothing is shaped
	shut   bool  // there are limits, and no place in them: see Config.Foreign
	cold   coldReads

	cut  chan struct{} // closed by Close: whoever waits gives up
	over chan struct{} // closed when nothing is under way and nothing will be

	mu     sync.Mutex
	ended  bool // nothing new begins
	closed bool // cut is closed
	under  int  // calls and reads under way
	idle   []*sender
	waits  map[*wait]struct{} // of Sends to connections that are not of a Listener
	conns  map[*guestConn]struct{}
	stats  SendStats
}

// SendStats count what Send and the connections of Listener did.
type SendStats struct {
	Sends     uint64             // calls of Send, and files sent by connections of Listener
	Failed    uint64             // of them, those that have not sent everything
	ColdReads uint64             // file ranges that were not in memory
	Bytes     [aio.NumVia]uint64 // moved, by way; of memory only what is limited
	StepsDown [aio.NumVia]uint64 // ways refused by a file system, by way
	Conns     int                // of Listener, open now
	UnderWay  int                // calls
}

// maxIdleSenders bounds the senders that are kept for later; each may hold pipes.
const maxIdleSenders = 64

func newForeign(e *Engine) *foreign {
	f := &foreign{
		engine: e, cut: make(chan struct{}), over: make(chan struct{}),
		waits: make(map[*wait]struct{}), conns: make(map[*guestConn]struct{}),
	}
	f.cold.ended = f.leave
	switch {
	case e.shaper == nil:
	case e.guestTree() < 0:
		f.shut = true
	default:
		f.gate = newGate(e.shaper.Tree(e.guestTree()), e.shaper.Limits)
	}
	return f
}

// enter begins a call.
func (f *foreign) enter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return ErrEnded
	case f.shut:
		return ErrNotForeign
	}
	f.under++
	return nil
}

// enterRead begins a read from the disk; whoever needs it is under way.
func (f *foreign) enterRead() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under++
}

// leave ends what enter or enterRead has begun.
func (f *foreign) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under--
	f.finish()
}

// finish frees what is kept once the last call has ended. The caller holds mu.
func (f *foreign) finish() {
	if !f.ended || f.under > 0 {
		return
	}
	for _, s := range f.idle {
		s.mover.Close()
	}
	f.idle = nil
	if f.gate != nil {
		f.gate.stop()
	}
	close(f.over)
}

// drain lets no call begin any more.
func (f *foreign) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended = true
		f.finish()
	}
}

// close ends what is under way; over tells when that has happened.
func (f *foreign) close() {
	f.drain()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	close(f.cut)
	for w := range f.waits {
		w.interrupt()
	}
	for c := range f.conns {
		c.interrupt()
	}
}

// isCut reports whether close was called.
func (f *foreign) isCut() bool {
	select {
	case <-f.cut:
		return true
	default:
		return false
	}
}

// sender returns one that nobody uses.
func (f *foreign) sender() *sender {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.idle); n > 0 {
		s := f.idle[n-1]
		f.idle[n-1] = nil
		f.idle = f.idle[:n-1]
		return s
	}
	s := &sender{foreign: f}
	s.mover = mover.New(aio.Config{Mode: f.engine.cfg.ZeroCopy}, &s.stats)
	// An edge-triggered poller wakes only after EAGAIN.
	s.mover.Edge = true
	s.attempt, s.run = s.attemptFD, s.runFD
	return s
}

// done takes a sender back and counts what it did.
func (f *foreign) done(s *sender, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Sends++
	if failed {
		f.stats.Failed++
	}
	for via, n := range s.stats.Bytes {
		f.stats.Bytes[via] += n
		f.stats.StepsDown[via] += s.stats.StepsDown[via]
	}
	s.stats.Bytes, s.stats.StepsDown = [aio.NumVia]uint64{}, [aio.NumVia]uint64{}
	if len(f.idle) < maxIdleSenders {
		f.idle = append(f.idle, s)
		return
	}
	s.mover.Close()
}

// watch makes close interrupt w.
func (f *foreign) watch(w *wait) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		w.interrupt()
		return
	}
	f.waits[w] = struct{}{}
}

func (f *foreign) unwatch(w *wait) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waits, w)
}

// wrote counts memory that was sent under limits.
func (f *foreign) wrote(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Bytes[aio.ViaMemory] += uint64(n)
}

// snapshot returns the counters.
func (f *foreign) snapshot() SendStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Conns, s.UnderWay = len(f.conns), f.under
	f.cold.mu.Lock()
	s.ColdReads = f.cold.begun
	f.cold.mu.Unlock()
	return s
}

// SendStats returns the counters of Send and of the connections of Listener.
func (e *Engine) SendStats() SendStats { return e.foreign.snapshot() }

// past is a deadline that has passed.
var past = time.Unix(1, 0)
