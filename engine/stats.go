package engine

import (
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// numEnds is the number of values of End.
const numEnds = outcome.NumEnds

// LoopStats are a loop's counters since its start.
type LoopStats struct {
	Accepted       uint64 // connections
	Closed         uint64
	Refused        uint64 // over MaxConns
	AcceptErrors   uint64 // times that descriptors or memory ran out
	Resets         uint64 // connections that the peer reset
	HeaderTimeouts uint64
	SendTimeouts   uint64
	Responses      uint64          // that have ended
	Ends           [numEnds]uint64 // by End
	Reused         uint64          // responses on connections that had served one before
	BytesIn        uint64
	Open           int     // connections now
	Sending        int     // responses under way now
	Waiting        int     // those of them that wait for their turn in the limits
	Steady         int     // downloads that Jitter is of: under way for three seconds or more
	Jitter         float64 // mean over them of the standard deviation of their throughput by the second over its mean; see Config.Sample
	Sampled        uint64  // times that the kernel was asked about a connection, for adaptation
	Unsampled      uint64  // connections that could not be asked about
	Files          FileStats
	Driver         aio.Stats
}

// Stats returns the counters of every loop. It asks each loop and waits for the
// answer, so it costs the loops nothing when it is not called. A loop that has
// ended answers with its last counters.
func (e *Engine) Stats() []LoopStats {
	var loops []*Loop
	e.each(func(l *Loop) { loops = append(loops, l) })
	out := make([]LoopStats, len(loops))
	for i, l := range loops {
		got := make(chan LoopStats, 1)
		if l.post(func(l *Loop) { got <- l.snapshot() }) {
			out[i] = <-got
			continue
		}
		out[i] = *l.last.Load()
	}
	return out
}

func (l *Loop) snapshot() LoopStats {
	s, counts := l.stats, l.sampler.Counts()
	s.Open = l.snapshotOpen()
	s.Driver = *l.driver.Stats()
	s.Sampled, s.Unsampled = counts.Sampled, counts.Unsampled
	return s
}

func (l *Loop) snapshotOpen() int { return max(0, l.conns.open-len(l.listeners)) }

// keepStats publishes the counters for when the loop answers no more. The driver,
// which may be destroyed, is not asked.
func (l *Loop) keepStats() {
	s, counts := l.stats, l.sampler.Counts()
	s.Open = l.snapshotOpen()
	s.Sampled, s.Unsampled = counts.Sampled, counts.Unsampled
	l.last.Store(&s)
}
