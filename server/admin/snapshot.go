package admin

import (
	"math"
	"reflect"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/config"
)

// snapshot is the source of metrics and events: everything that the server has counted,
// of all loops together.
type snapshot struct {
	at       time.Time
	loops    []loop.Stats
	sum      sums
	hosts    []server.HostStats
	tls      server.TLSStats
	compress server.CompressStats

	limited bool // the server was made with limits
	report  shape.Report
	set     shape.Limits

	dropped  uint64        // lines of the access log
	lost     uint64        // lines of the log
	config   *config.State // nil: there is none
	draining bool
}

// sums are the counters of all loops, added up.
type sums struct {
	loop.Stats
	session server.SessionStats
	// jitter is the mean over all downloads that are steady; NaN: there are none.
	jitter float64
}

// snapshot asks the loops. busiest is how many clients are told apart.
func (a *Admin) snapshot(busiest int) *snapshot {
	srv := a.cfg.Server
	stats := srv.Stats()
	s := &snapshot{at: time.Now(), loops: stats.Loops, hosts: stats.Hosts, tls: stats.TLS, compress: stats.Compress, draining: a.draining.Load()}
	s.sum.add(&stats)
	if a.limits.shaper != nil {
		s.report, s.limited = srv.Engine().LimitsReport(busiest)
		s.set = a.limits.shaper.Limits()
	}
	s.dropped = srv.LostLines()
	if a.cfg.LogDropped != nil {
		s.lost = a.cfg.LogDropped()
	}
	if a.cfg.Reloader != nil {
		s.config = a.cfg.Reloader.State()
	}
	return s
}

func (s *sums) add(stats *server.Stats) {
	steady := 0.
	for i := range stats.Loops {
		l := &stats.Loops[i]
		addCounters(reflect.ValueOf(&s.Stats), reflect.ValueOf(l))
		steady += l.Jitter * float64(l.Steady)
	}
	for i := range stats.Sessions {
		addCounters(reflect.ValueOf(&s.session), reflect.ValueOf(&stats.Sessions[i]))
	}
	s.jitter = steady / float64(s.Steady) // 0/0 is NaN
}

// addCounters adds the counters of one value to those of another of the same type:
// every integer in it, so that a new counter is added up without a word. Floats
// are means, and stay as they are.
func addCounters(sum, from reflect.Value) {
	switch sum.Kind() {
	case reflect.Pointer:
		addCounters(sum.Elem(), from.Elem())
	case reflect.Struct:
		for i := range sum.NumField() {
			if sum.Field(i).CanSet() {
				addCounters(sum.Field(i), from.Field(i))
			}
		}
	case reflect.Array:
		for i := range sum.Len() {
			addCounters(sum.Index(i), from.Index(i))
		}
	case reflect.Uint64:
		sum.SetUint(sum.Uint() + from.Uint())
	case reflect.Int, reflect.Int64:
		sum.SetInt(sum.Int() + from.Int())
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
