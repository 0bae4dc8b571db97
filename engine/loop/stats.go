package loop

import (
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
)

// DriverStats are the counters of a loop's driver.
type DriverStats = aio.Stats

// Stats are a loop's counters since its start.
type Stats struct {
	Accepted       uint64 // connections
	Closed         uint64
	Refused        uint64 // connections over the Bounds
	Reclaimed      uint64 // connections that ended to make room for others
	AcceptErrors   uint64 // times that descriptors or memory ran out
	Resets         uint64 // connections that the peer reset
	BadRecords     uint64 // of TLS, each the end of its connection
	HeaderTimeouts uint64
	SendTimeouts   uint64
	Replanned      uint64                  // responses that were planned anew; see Replanner
	Recalled       uint64                  // connections that were reset because a file was about to be written
	Responses      uint64                  // that have ended
	Ends           [outcome.NumEnds]uint64 // by outcome.End
	Reused         uint64                  // responses on connections that had served one before
	BytesIn        uint64
	Open           int     // connections now
	Sending        int     // responses under way now
	Waiting        int     // those of them that wait for their turn in the limits
	Steady         int     // downloads that Jitter is of: under way for three seconds or more
	Jitter         float64 // mean over them of the standard deviation of their throughput by the second over its mean; see engine.Config.Sample
	Sampled        uint64  // times that the kernel was asked about a connection, for adaptation
	Unsampled      uint64  // connections that could not be asked about
	Files          openfile.Stats
	Driver         DriverStats
}

// Stats returns the loop's counters, also after its end.
func (l *Loop) Stats() Stats {
	if last := l.last.Load(); last != nil {
		return *last
	}
	return l.snapshot()
}

func (l *Loop) snapshot() Stats {
	s := l.stats
	s.Driver = *l.driver.Stats()
	return l.completed(s)
}

// completed adds what is counted elsewhere. The driver, which may be destroyed, is not
// asked.
func (l *Loop) completed(s Stats) Stats {
	counts := l.sampler.Counts()
	s.Open, s.Sampled, s.Unsampled = l.openConns(), counts.Sampled, counts.Unsampled
	return s
}

// keepStats publishes the counters for when the loop answers no more.
func (l *Loop) keepStats() {
	s := l.completed(l.stats)
	l.last.Store(&s)
}
