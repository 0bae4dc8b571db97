package admin

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/wire"
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
	for _, m := range families {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.a.take(busiestSeries)
	e := &emitter{ch: ch}
	e.gauge(buildInfo, 1, c.a.cfg.Version, runtime.Version())
	driver, reason := c.a.cfg.Server.Engine().Driver()
	e.gauge(driverInfo, 1, driver, reason)
	e.gauge(startTime, float64(c.a.started.UnixNano())/1e9)
	e.requests(s)
	e.transfers(s)
	e.connections(s)
	e.files(s)
	e.driver(s)
	e.operations(s)
	e.adaptation(c.a, s)
	e.alerts(c.a)
	if s.limited {
		e.limits(s)
		e.clients(&s.report)
	}
}

// family is a metric with the names of its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType

	name, help string
	labels     []string
}

// families are all metrics.
var families []*family

func newFamily(kind prometheus.ValueType, name, help string, labels []string) *family {
	f := &family{desc: prometheus.NewDesc(name, help, labels, nil), kind: kind, name: name, help: help, labels: labels}
	families = append(families, f)
	return f
}

func counter(name, help string, labels ...string) *family {
	return newFamily(prometheus.CounterValue, name, help, labels)
}

func gauge(name, help string, labels ...string) *family {
	return newFamily(prometheus.GaugeValue, name, help, labels)
}

// histogram is for emitter.histogram, which makes a metric of its own kind.
func histogram(name, help string) *family {
	return newFamily(prometheus.UntypedValue, name, help, nil)
}

var (
	buildInfo  = gauge("fserve_build_info", "What is running; always 1.", "version", "goversion")
	driverInfo = gauge("fserve_driver_info", "The driver in use and why it was chosen; always 1.", "driver", "reason")
	startTime  = gauge("fserve_start_time_seconds", "When the admin listener was made, in Unix time.")

	requestsTotal   = counter("fserve_requests_total", "Responses that were begun, by class of status and host: the first name of a configured one, default for what none is for, other beyond the first 1,000.", "code", "host")
	refusedTotal    = counter("fserve_requests_refused_total", "Requests that could not be understood, by reason. They are among the 4xx and 5xx too.", "reason")
	proxyErrors     = counter("fserve_proxy_protocol_errors_total", "Connections that were reset for lack of a good PROXY header.")
	firstByte       = histogram("fserve_first_byte_seconds", "Time from the head of a request to the first byte of its response with the kernel. 0: in the same turn of the event loop.")
	duration        = histogram("fserve_response_seconds", "Time from the head of a request to the last byte of its response with the kernel, or until it was cut off.")
	responsesTotal  = counter("fserve_responses_total", "Responses that have ended, by how: complete, or what cut them off.", "outcome")
	sentBytes       = counter("fserve_sent_bytes_total", "Bytes that were given to the kernel, by the way they went. Those of TLS connections are counted before encryption.", "way")
	receivedBytes   = counter("fserve_received_bytes_total", "Bytes of requests.")
	transfersActive = gauge("fserve_transfers_active", "Responses under way.")
	transfersWait   = gauge("fserve_transfers_waiting", "Responses under way that wait for their turn in the limits.")
	jitter          = gauge("fserve_throughput_jitter_ratio", "Mean over the downloads under way for three seconds or more of the standard deviation of their throughput by the second over its mean, of about the last eight seconds. NaN: there are none.")
	jitterOf        = gauge("fserve_throughput_jitter_transfers", "Downloads that fserve_throughput_jitter_ratio is of.")

	connections      = gauge("fserve_connections", "Open connections: active ones have a response under way, idle ones have none.", "state")
	connAccepted     = counter("fserve_connections_accepted_total", "Connections that were accepted.")
	connClosed       = counter("fserve_connections_closed_total", "Connections that were closed.")
	connRefused      = counter("fserve_connections_refused_total", "Connections that were closed at once because there were too many.")
	connResets       = counter("fserve_connections_reset_total", "Connections that their peer has reset.")
	connAcceptErrors = counter("fserve_accept_errors_total", "Times that descriptors or memory have run out for a new connection.")
	connTimeouts     = counter("fserve_timeouts_total", "Connections that were ended by a time-out: header (a request did not arrive whole), send (nothing of a response was taken).", "kind")
	reusedTotal      = counter("fserve_connection_reuses_total", "Responses on connections that had served one before.")
	reuseRatio       = gauge("fserve_connection_reuse_ratio", "Part of all responses since the start that came on connections which had served one before. NaN: there were none.")
	loopOpen         = gauge("fserve_loop_connections", "Open connections by event loop.", "loop")
	tlsOpen          = gauge("fserve_tls_connections", "Open TLS connections.")
	tlsAccepted      = counter("fserve_tls_connections_accepted_total", "TLS connections that were accepted.")
	tlsFailed        = counter("fserve_tls_handshakes_failed_total", "TLS handshakes that have failed.")
	tlsRefused       = counter("fserve_tls_connections_refused_total", "TLS connections that were closed at once because there were too many.")

	fileLookups = counter("fserve_open_file_cache_lookups_total", "Lookups in the cache of open files: hit, miss, check (the file system was asked whether it is still the same).", "result")
	fileChanged = counter("fserve_open_file_cache_changed_total", "Cached files that were found to have changed.")
	fileEvicted = counter("fserve_open_file_cache_evicted_total", "Files that had to make room for others.")
	fileOpen    = gauge("fserve_open_file_cache_descriptors", "Descriptors that the cache and transfers hold.")
	fileBytes   = gauge("fserve_open_file_cache_memory_bytes", "Memory that contents of small files take.")

	driverWaits       = counter("fserve_driver_waits_total", "Turns of the event loops.")
	driverEnters      = counter("fserve_driver_enters_total", "System calls that submitted operations or waited for events: batches.")
	driverSubmissions = counter("fserve_driver_submissions_total", "Operations given to the kernel's queue.")
	driverCompletions = counter("fserve_driver_completions_total", "Events taken from the kernel.")
	driverOverflows   = counter("fserve_driver_overflows_total", "Times that the completion queue had overflowed.")
	driverNoBuffers   = counter("fserve_driver_no_buffers_total", "Receives that ended for lack of buffers.")
	driverColdReads   = counter("fserve_driver_cold_reads_total", "File ranges that were fetched from disk off the event loop.")
	driverStepsDown   = counter("fserve_driver_steps_down_total", "Ways of sending that a file system or the kernel has refused.", "way")
	driverErrors      = counter("fserve_driver_errors_total", "Errors of system calls, by what is done about them.", "class")
	driverPipes       = gauge("fserve_driver_pipes", "Pipes for splice that exist.")

	logDropped      = counter("fserve_access_log_dropped_lines_total", "Lines of the access log that were lost because it could not be written.")
	draining        = gauge("fserve_draining", "1 while the server shuts down.")
	reloadGood      = gauge("fserve_config_last_reload_successful", "1 if the last reload of the configuration, or the start, was good.")
	reloadTime      = gauge("fserve_config_last_reload_timestamp_seconds", "When the last reload ended, good or bad; the start if there was none. In Unix time.")
	reloadsTotal    = counter("fserve_config_reloads_total", "Reloads of the configuration, by result.", "result")
	configFallback  = gauge("fserve_config_fallback", "1 while the last good configuration of an earlier time is in force, because the files cannot be used.")
	configPending   = gauge("fserve_config_pending_changes", "Changes of the configuration that wait for a restart.")
	limitRate       = gauge("fserve_limit_bytes_per_second", "Limits that are set; 0 is paused, what is unlimited is not there. name is the prefix of a path class.", "level", "name")
	limitOverrides  = gauge("fserve_limit_client_overrides", "Clients that have a limit of their own.")
	limitClients    = gauge("fserve_limit_clients", "Clients that are known.")
	throttleSeconds = counter("fserve_throttle_seconds_total", "For how long responses were held, in sum, by the level of limits that held them.", "level")
	grantedBytes    = counter("fserve_granted_bytes_total", "Bytes that the limits have let pass, limited or not. While nothing is limited anywhere, those of responses that took more than one turn of the event loop.")
	limitedBytes    = counter("fserve_limited_bytes_total", "Those of them that were subject to a limit of the level.", "level")
	pathBandwidth   = gauge("fserve_path_bandwidth_bytes_per_second", "Bytes per second over the last ten seconds by path class; the rest has an empty name.", "name")
	clientBandwidth = gauge("download_bandwidth_bytes_per_second", "Bytes per second over the last ten seconds by client: those with limits of their own and the busiest, and other.", "client_id")
)

// emitter writes metrics. What is wrong with one shows in the answer to the
// scrape, by the registry.
type emitter struct{ ch chan<- prometheus.Metric }

func (e *emitter) gauge(f *family, v float64, labels ...string) {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
	}
	m, err := prometheus.NewConstMetric(f.desc, f.kind, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	e.ch <- m
}

func (e *emitter) count(f *family, n uint64, labels ...string) { e.gauge(f, float64(n), labels...) }

func (e *emitter) requests(s *snapshot) {
	x := &s.sum.session
	for i := range s.hosts {
		h := &s.hosts[i]
		for class := 1; class < len(h.Status); class++ {
			e.count(requestsTotal, h.Status[class], string(rune('0'+class))+"xx", h.Host)
		}
	}
	for r := wire.OK + 1; r < wire.NumReason; r++ {
		e.count(refusedTotal, x.Refused[r], strings.ReplaceAll(r.String(), " ", "_"))
	}
	e.count(proxyErrors, x.ProxyErrors)
	e.histogram(firstByte, &x.FirstByte)
	e.histogram(duration, &x.Duration)
	for end, n := range s.sum.Ends {
		e.count(responsesTotal, n, strings.ReplaceAll(engine.End(end).String(), " ", "_"))
	}
}

func (e *emitter) transfers(s *snapshot) {
	for way, n := range s.sum.Driver.Bytes {
		e.count(sentBytes, n, engine.Via(way).String())
	}
	e.count(receivedBytes, s.sum.BytesIn)
	e.gauge(transfersActive, float64(s.sum.Sending))
	e.gauge(transfersWait, float64(s.sum.Waiting))
	e.gauge(jitter, s.sum.jitter)
	e.gauge(jitterOf, float64(s.sum.Steady))
}

func (e *emitter) connections(s *snapshot) {
	e.gauge(connections, float64(s.sum.Sending), "active")
	e.gauge(connections, float64(max(s.sum.Open-s.sum.Sending, 0)), "idle")
	e.count(connAccepted, s.sum.Accepted)
	e.count(connClosed, s.sum.Closed)
	e.count(connRefused, s.sum.Refused)
	e.count(connResets, s.sum.Resets)
	e.count(connAcceptErrors, s.sum.AcceptErrors)
	e.count(connTimeouts, s.sum.HeaderTimeouts, "header")
	e.count(connTimeouts, s.sum.SendTimeouts, "send")
	e.count(reusedTotal, s.sum.Reused)
	e.gauge(reuseRatio, s.sum.reuse())
	for i := range s.loops {
		e.gauge(loopOpen, float64(s.loops[i].Open), itoa(i))
	}
	e.gauge(tlsOpen, float64(s.tls.Open))
	e.count(tlsAccepted, s.tls.Accepted)
	e.count(tlsFailed, s.tls.Failed)
	e.count(tlsRefused, s.tls.Refused)
}

func (e *emitter) files(s *snapshot) {
	f := &s.sum.Files
	e.count(fileLookups, f.Hits, "hit")
	e.count(fileLookups, f.Misses, "miss")
	e.count(fileLookups, f.Checks, "check")
	e.count(fileChanged, f.Changed)
	e.count(fileEvicted, f.Evicted)
	e.gauge(fileOpen, float64(f.Open))
	e.gauge(fileBytes, float64(f.Bytes))
}

func (e *emitter) driver(s *snapshot) {
	d := &s.sum.Driver
	e.count(driverWaits, d.Waits)
	e.count(driverEnters, d.Enters)
	e.count(driverSubmissions, d.Submissions)
	e.count(driverCompletions, d.Completions)
	e.count(driverOverflows, d.Overflows)
	e.count(driverNoBuffers, d.NoBuffers)
	e.count(driverColdReads, d.ColdReads)
	for way, n := range d.StepsDown {
		e.count(driverStepsDown, n, engine.Via(way).String())
	}
	for class, n := range d.Errors {
		e.count(driverErrors, n, errorClass(class))
	}
	e.gauge(driverPipes, float64(d.PipesOpen))
}

func (e *emitter) operations(s *snapshot) {
	e.count(logDropped, s.dropped)
	e.gauge(draining, truth(s.draining))
	if c := s.config; c != nil {
		e.gauge(reloadGood, truth(c.LastError == nil))
		if !c.LastReload.IsZero() {
			e.gauge(reloadTime, float64(c.LastReload.UnixNano())/1e9)
		}
		e.count(reloadsTotal, c.Reloads-c.Failures, "success")
		e.count(reloadsTotal, c.Failures, "failure")
		e.gauge(configFallback, truth(c.Fallback))
		e.gauge(configPending, float64(len(c.Pending)))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e *emitter) limits(s *snapshot) {
	set := func(level shape.Level, name string, r shape.Rate) {
		if r != shape.Unlimited {
			e.gauge(limitRate, float64(max(r, 0)), level.String(), name)
		}
	}
	set(shape.LevelGlobal, "", s.set.Global.Rate)
	set(shape.LevelClient, "", s.set.Client.Rate)
	set(shape.LevelConnection, "", s.set.Connection.Rate)
	for _, p := range s.set.Paths {
		set(shape.LevelPath, p.Prefix, p.Rate)
	}
	e.gauge(limitOverrides, float64(len(s.set.Clients)))
	e.gauge(limitClients, float64(s.report.ClientCount))
	for l := shape.LevelNone + 1; l < shape.NumLevels; l++ {
		e.gauge(throttleSeconds, time.Duration(s.report.Throttled[l]).Seconds(), l.String())
		e.gauge(limitedBytes, float64(s.report.Granted[l]), l.String())
	}
	e.gauge(grantedBytes, float64(s.report.Granted[shape.LevelNone]))
	for i := range s.report.Classes {
		e.gauge(pathBandwidth, float64(s.report.Classes[i].Rate10), s.report.Classes[i].Name)
	}
}

// clients tells the traffic of clients apart as far as the bounds allow. Names
// that are not UTF-8, or that are the word for the rest, are added up: a series
// that is there twice would spoil the scrape.
func (e *emitter) clients(r *shape.Report) {
	rates := map[string]int64{otherClients: r.Others.Rate10}
	own := 0
	for i := range r.Clients {
		c := &r.Clients[i]
		name := strings.ToValidUTF8(c.Name, "\uFFFD")
		if c.Custom {
			if own++; own > ownSeries {
				name = otherClients
			}
		}
		rates[name] += c.Rate10
	}
	for _, name := range slices.Sorted(maps.Keys(rates)) {
		e.gauge(clientBandwidth, float64(rates[name]), name)
	}
}

// histogram writes a histogram both as a classic one, with a bucket for each
// power of two, and as a native one with eight.
func (e *emitter) histogram(f *family, h *server.Histogram) {
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
	old, err := prometheus.NewConstHistogram(f.desc, n, sum, classic)
	if err != nil {
		e.ch <- prometheus.NewInvalidMetric(f.desc, err)
		return
	}
	fine, err := prometheus.NewConstNativeHistogram(f.desc, n, sum, native, nil, h.Counts[0], nativeSchema, server.HistogramBound(0), time.Time{})
	if err != nil {
		e.ch <- prometheus.NewInvalidMetric(f.desc, err)
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
