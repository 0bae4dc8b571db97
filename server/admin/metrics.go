package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/alerts"
	"github.com/fserve/fserve/server/release"
)

const (
	// busiestSeries is how many clients without a limit of their own have a
	// series; those who have one are counted by it too.
	busiestSeries = 50
	// ownSeries bounds the series of clients that have a limit of their own.
	ownSeries = 1000
	// otherClients is the client_id of the rest.
	otherClients = "other"

	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
)

// metricsHandler makes the handler of /metrics, with a registry of its own.
func (a *Admin) metricsHandler() (http.Handler, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		&collector{a: a},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
		// Some 50 kB are not worth a fifth of the time and, after each garbage
		// collection, a megabyte for the compressor.
		DisableCompression: true,
		ErrorLog:           promLog{a}, ErrorHandling: promhttp.HTTPErrorOnError, EnableOpenMetrics: true,
	}), nil
}

// promLog is where promhttp writes.
type promLog struct{ a *Admin }

// Println implements promhttp.Logger.
func (l promLog) Println(v ...any) { l.a.log.Error("metrics", "err", v) }

// collector makes metrics of a snapshot that is taken when it is asked. Between
// two scrapes there are only the counters of the loops.
type collector struct{ a *Admin }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range groups {
		for i := range g.metrics {
			ch <- g.metrics[i].desc
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.a.scrape()
	for _, g := range groups {
		if !g.there(s) {
			continue
		}
		for i := range g.metrics {
			m := &g.metrics[i]
			m.read(s, emitter{ch, m})
		}
	}
}

// scrape is everything that the metrics of one scrape are read from.
type scrape struct {
	*snapshot
	version        string
	driver, reason string
	started        time.Time
	adapt          *measure.Report // nil: rates are not found
	found          []foundRate
	alerts         *alerts.SwitchState // nil: none are taken
	webhook        *alerts.SenderStats // nil: none are sent
	admission      *server.AdmissionControl
	identity       *server.IdentityMethods
	breaker        server.BreakerStatus
	refused        uint64 // by the breaker
	overQuota      uint64 // requests that were refused
	releases       map[string]*release.Release
	releaseCounts  map[string][release.NumVersions]release.Counts
}

func (a *Admin) scrape() *scrape {
	s := &scrape{snapshot: a.snapshot(busiestSeries), version: a.cfg.Version, started: a.started, admission: a.cfg.Server.Admission(), identity: a.cfg.Server.Identity()}
	s.releases, s.releaseCounts = a.cfg.Server.Releases(), make(map[string][release.NumVersions]release.Counts)
	for name, r := range s.releases {
		s.releaseCounts[name] = a.cfg.Server.ReleaseCounts(r)
	}
	s.overQuota = a.cfg.Server.Quotas().Refused()
	s.breaker, s.refused = a.cfg.Server.Breaker().Status(), a.cfg.Server.Breaker().Refused()
	s.driver, s.reason = a.cfg.Server.Engine().Driver()
	if ad := a.adaptation(); ad != nil {
		r := ad.Report(busiestSeries)
		s.adapt = &r
		s.addFound(shape.LevelPath, r.Paths)
		s.addFound(shape.LevelClient, r.Clients[:min(len(r.Clients), ownSeries)])
	}
	if in := a.cfg.Alerts; in != nil {
		st := in.State()
		s.alerts = &st
	}
	if out := a.cfg.AlertSender; out != nil {
		st := out.Stats()
		s.webhook = &st
	}
	return s
}

// foundRate is the state of the search for a rate, with its labels.
type foundRate struct {
	level, name string
	state       *measure.State
}

// addFound adds the states of some clients or path classes. Names that are the same but
// for bytes that are no UTF-8 have one series.
func (s *scrape) addFound(level shape.Level, list []measure.State) {
	seen := make(map[string]bool)
	for i := range list {
		name := validLabel(list[i].Name)
		if !seen[name] {
			seen[name] = true
			s.found = append(s.found, foundRate{level.String(), name, &list[i]})
		}
	}
}

// emitter writes one metric. The registry reports its faults in the answer to the
// scrape.
type emitter struct {
	ch chan<- prometheus.Metric
	m  *metric
}

// put writes a value with its labels.
func (e emitter) put(v float64, labels ...string) {
	for i := range labels {
		labels[i] = validLabel(labels[i])
	}
	m, err := prometheus.NewConstMetric(e.m.desc, e.m.kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(e.m.desc, err)
	}
	e.ch <- m
}

// validLabel puts a mark into the place of bytes that are no UTF-8.
func validLabel(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// histogram writes a histogram both as a classic one, with a bucket for each
// power of two, and as a native one with eight.
func (e emitter) histogram(h *server.Histogram) {
	n, sum := h.Count(), time.Duration(h.Sum).Seconds()
	classic, native := make(map[float64]uint64), make(map[int]int64)
	below := uint64(0)
	for i, c := range h.Counts {
		below += c
		index := server.HistogramIndex(i)
		if index%8 == 0 && index/8 <= classicTo {
			classic[server.HistogramBound(i)] = below
		}
		if i > 0 && c > 0 {
			native[index] = int64(c)
		}
	}
	old, err := prometheus.NewConstHistogram(e.m.desc, n, sum, classic)
	if err != nil {
		e.ch <- prometheus.NewInvalidMetric(e.m.desc, err)
		return
	}
	fine, err := prometheus.NewConstNativeHistogram(e.m.desc, n, sum, native, nil, h.Counts[0], nativeSchema, server.HistogramBound(0), time.Time{})
	if err != nil {
		e.ch <- prometheus.NewInvalidMetric(e.m.desc, err)
		return
	}
	e.ch <- &dual{fine, old}
}

const (
	nativeSchema = 3  // eight buckets for each doubling
	classicTo    = 12 // the classic buckets end at 2^12 s, 68 minutes
)

// dual is a histogram that is both native and classic.
type dual struct{ native, classic prometheus.Metric }

// Desc implements prometheus.Metric.
func (d *dual) Desc() *prometheus.Desc { return d.native.Desc() }

// Write implements prometheus.Metric.
func (d *dual) Write(out *dto.Metric) error {
	var classic dto.Metric
	if err := d.classic.Write(&classic); err != nil {
		return err
	}
	if err := d.native.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.Histogram.Bucket
	return nil
}
