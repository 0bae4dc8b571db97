package engine

import "github.com/fserve/fserve/internal/aio"

// numEnds is the number of values of End.
const numEnds = Aborted + 1

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
	BytesIn        uint64
	Open           int // connections now
	Files          FileStats
	Driver         aio.Stats
}

// Stats returns the counters of every loop. It asks each loop and waits for the
// answer, so it costs the loops nothing when it is not called.
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
		<-e.done
		out[i] = l.stats
	}
	return out
}

func (l *Loop) snapshot() LoopStats {
	s := l.stats
	s.Open = max(0, l.conns.open-len(l.listeners))
	s.Driver = *l.driver.Stats()
	return s
}
