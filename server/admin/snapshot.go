package admin

import (
	"math"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/config"
)

// snapshot is what metrics and events are made of: everything that the server
// has counted, of all loops together.
type snapshot struct {
	at    time.Time
	loops []engine.LoopStats
	sum   sums
	hosts []server.HostStats
	tls   server.TLSStats

	limited bool // the server was made with limits
	report  shape.Report
	set     shape.Limits

	dropped  uint64        // lines of the access log
	config   *config.State // nil: there is none
	draining bool
}

// sums are the counters of all loops, added up.
type sums struct {
	engine.LoopStats
	session server.SessionStats
	// jitter is the mean over all downloads that are steady; NaN: there are none.
	jitter float64
}

// take asks the loops. busiest is how many clients are told apart.
func (a *Admin) take(busiest int) *snapshot {
	srv := a.cfg.Server
	stats := srv.Stats()
	s := &snapshot{at: time.Now(), loops: stats.Loops, hosts: stats.Hosts, tls: stats.TLS, draining: a.draining.Load()}
	s.sum.add(&stats)
	if a.limits.shaper != nil {
		s.report, s.limited = srv.Engine().LimitsReport(busiest)
		s.set = a.limits.shaper.Limits()
	}
	if log := srv.AccessLog(); log != nil {
		s.dropped = log.Dropped()
	}
	if a.cfg.Reloader != nil {
		s.config = a.cfg.Reloader.State()
	}
	return s
}

func (s *sums) add(stats *server.Stats) {
	for i := range stats.Loops {
		s.addLoop(&stats.Loops[i])
	}
	for i := range stats.Sessions {
		s.addSession(&stats.Sessions[i])
	}
	s.jitter = math.NaN()
	if s.Steady > 0 {
		s.jitter = s.Jitter / float64(s.Steady)
	}
}

// addLoop adds the counters of a loop. Jitter is a sum here.
func (s *sums) addLoop(l *engine.LoopStats) {
	s.Accepted += l.Accepted
	s.Closed += l.Closed
	s.Refused += l.Refused
	s.AcceptErrors += l.AcceptErrors
	s.Resets += l.Resets
	s.HeaderTimeouts += l.HeaderTimeouts
	s.SendTimeouts += l.SendTimeouts
	s.Responses += l.Responses
	s.Reused += l.Reused
	s.BytesIn += l.BytesIn
	s.Open += l.Open
	s.Sending += l.Sending
	s.Waiting += l.Waiting
	s.Steady += l.Steady
	s.Sampled += l.Sampled
	s.Unsampled += l.Unsampled
	s.Jitter += l.Jitter * float64(l.Steady)
	addEach(s.Ends[:], l.Ends[:])
	f, g := &s.Files, &l.Files
	f.Hits += g.Hits
	f.Misses += g.Misses
	f.Checks += g.Checks
	f.Changed += g.Changed
	f.Evicted += g.Evicted
	f.Open += g.Open
	f.Bytes += g.Bytes
	d, e := &s.Driver, &l.Driver
	d.Waits += e.Waits
	d.Enters += e.Enters
	d.Submissions += e.Submissions
	d.Completions += e.Completions
	d.Overflows += e.Overflows
	d.NoBuffers += e.NoBuffers
	d.ColdReads += e.ColdReads
	d.PipesOpen += e.PipesOpen
	addEach(d.StepsDown[:], e.StepsDown[:])
	addEach(d.Bytes[:], e.Bytes[:])
	addEach(d.Errors[:], e.Errors[:])
}

func (s *sums) addSession(o *server.SessionStats) {
	t := &s.session
	t.Requests += o.Requests
	t.ProxyErrors += o.ProxyErrors
	addEach(t.Refused[:], o.Refused[:])
	addEach(t.Status[:], o.Status[:])
	t.FirstByte.Add(&o.FirstByte)
	t.Duration.Add(&o.Duration)
}

func addEach(sum, o []uint64) {
	for i, n := range o {
		sum[i] += n
	}
}

// quantile returns the value below which a part q of the times lies that were
// counted from one histogram to a later one, in seconds; NaN if there are none.
// Within a bucket times are taken to be spread evenly.
func quantile(q float64, from, to *server.Histogram) float64 {
	var counts [server.HistogramBuckets]uint64
	var total uint64
	for i := range counts {
		counts[i] = to.Counts[i] - from.Counts[i]
		total += counts[i]
	}
	if total == 0 {
		return math.NaN()
	}
	rank, lower := q*float64(total), 0.0
	for i, n := range counts {
		upper := server.HistogramBound(i)
		if float64(n) >= rank && n > 0 {
			return lower + (upper-lower)*rank/float64(n)
		}
		rank -= float64(n)
		lower = upper
	}
	return lower
}
