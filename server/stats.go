package server

import (
	"math"
	"math/bits"
	"sync"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/wire"
)

// Stats are the counters of a server since its start.
type Stats struct {
	Loops    []engine.LoopStats
	Sessions []SessionStats // of the same loops
	Hosts    []HostStats    // of all loops; the default host first
	TLS      TLSStats
}

// Stats returns the counters. It asks each loop and waits for the answer, and
// costs the loops nothing when it is not called.
func (s *Server) Stats() Stats {
	var out Stats
	var responses responseCounts
	s.engine.Ask(func(l *engine.Loop) {
		out.Loops = append(out.Loops, l.Stats())
		var one SessionStats
		if x := s.sessions.of(l); x != nil {
			one = x.stats
			one.Status = x.responses.status()
			responses.add(x.responses)
		}
		out.Sessions = append(out.Sessions, one)
	})
	out.Hosts = responses.named(&s.hostRows)
	if s.tls != nil {
		out.TLS = s.TLSStats()
	}
	return out
}

// sessionSet finds the session of a loop. A session is looked into on its own
// loop only.
type sessionSet struct {
	mu     sync.Mutex
	byLoop map[*engine.Loop]*session
}

func (t *sessionSet) add(l *engine.Loop, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLoop == nil {
		t.byLoop = make(map[*engine.Loop]*session)
	}
	t.byLoop[l] = s
}

func (t *sessionSet) of(l *engine.Loop) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLoop[l]
}

// AccessLog returns the log of the Config, nil if there is none.
func (s *Server) AccessLog() *AccessLog { return s.cfg.AccessLog }

// SessionStats are a loop's counters of requests.
type SessionStats struct {
	Requests    uint64
	Refused     [wire.NumReason]uint64 // by reason
	Status      [6]uint64              // responses, by first digit
	ProxyErrors uint64                 // connections without a good PROXY header

	// FirstByte and Duration are the times from a request's head to the first and
	// to the last byte of its response with the kernel; of responses that were
	// cut off, what they took until then. The engine tells the time once a turn:
	// what was answered in the turn in which it was read took 0.
	FirstByte, Duration Histogram
}

// The buckets of a Histogram are those of a Prometheus native histogram of
// schema 3: eight to a power of two.
const (
	histogramParts = 8   // buckets for each doubling
	histogramFrom  = -14 // the first boundary is 2^-14 s, 61 us
	histogramTo    = 17  // the last one is 2^17 s, a day and a half

	HistogramBuckets = (histogramTo-histogramFrom)*histogramParts + 1
)

// Histogram counts times. Bucket 0 is of those up to [HistogramBound](0), bucket
// i of those above HistogramBound(i-1) up to HistogramBound(i), and the last
// one also of all above.
type Histogram struct {
	Counts [HistogramBuckets]uint64
	Sum    int64 // ns
}

// HistogramBound returns the upper boundary of a bucket in seconds.
func HistogramBound(i int) float64 {
	return math.Exp2(histogramFrom + float64(i)/histogramParts)
}

// HistogramIndex returns the index of bucket i of a Histogram in a native
// histogram of schema 3: its upper boundary is 2^(index/8) s.
func HistogramIndex(i int) int { return histogramFrom*histogramParts + i }

// bounds are the boundaries in whole ns, and where the search for numbers of so
// many bits begins.
var bounds = func() (b struct {
	ns    [HistogramBuckets]int64
	first [65]int
}) {
	for i := range b.ns {
		b.ns[i] = int64(HistogramBound(i) * 1e9)
	}
	for n := range b.first {
		smallest := uint64(1) << max(n-1, 0)
		for b.first[n] < HistogramBuckets-1 && uint64(b.ns[b.first[n]]) < smallest {
			b.first[n]++
		}
	}
	return b
}()

// Observe counts a time. It does not allocate.
func (h *Histogram) Observe(d time.Duration) {
	ns := max(int64(d), 0)
	h.Sum += ns
	i := 0
	if ns > bounds.ns[0] {
		for i = bounds.first[bits.Len64(uint64(ns))]; i < HistogramBuckets-1 && ns > bounds.ns[i]; i++ {
		}
	}
	h.Counts[i]++
}

// Add adds the counts of another histogram.
func (h *Histogram) Add(o *Histogram) {
	h.Sum += o.Sum
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
}

// Count returns how many times were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// measure counts how long a response took, which began so long after its request
// was read. Nothing at all is what ends a connection after a bad body.
func (s *SessionStats) measure(o *engine.Outcome, before int64) {
	switch {
	case o.Total() > 0:
		s.FirstByte.Observe(time.Duration(before + o.First))
	case o.End == engine.Complete:
		return
	}
	s.Duration.Observe(time.Duration(before + o.Duration))
}
