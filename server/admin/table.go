package admin

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/release"
)

// metric is one row of the table of metrics.
type metric struct {
	name, help string
	kind       prometheus.ValueType // untyped: a histogram
	labels     []string
	read       reader
	desc       *prometheus.Desc
}

func counter(name, help string, read reader, labels ...string) metric {
	return newMetric(prometheus.CounterValue, name, help, read, labels)
}

func gauge(name, help string, read reader, labels ...string) metric {
	return newMetric(prometheus.GaugeValue, name, help, read, labels)
}

// histogram is for readers that call emitter.histogram.
func histogram(name, help string, read reader) metric {
	return newMetric(prometheus.UntypedValue, name, help, read, nil)
}

func newMetric(kind prometheus.ValueType, name, help string, read reader, labels []string) metric {
	return metric{name: name, help: help, kind: kind, labels: labels, read: read, desc: prometheus.NewDesc(name, help, labels, nil)}
}

// group is a set of metrics that a scrape has together, or not at all.
type group struct {
	there   func(*scrape) bool
	metrics []metric
}

// groups are all metrics. A metric is one row here: it is scraped, and it is in
// docs/metrics.md after make docs.
var groups = []group{
	{func(s *scrape) bool { return s.admission.Limits() }, []metric{
		counter("fserve_admission_total", "Requests that were asked for admission, by result: admitted; requests (the client asks too often), client_downloads (it has too many downloads), downloads (all have), clients (there are too many to count), path_requests, path_downloads (of admission.paths), user_requests (of a tier).",
			each(named[server.AdmissionReason], func(s *scrape) []uint64 { return admissionResults(s.admission) }), "result"),
		gauge("fserve_admission_downloads", "Responses under way that are counted.", one(func(s *scrape) int { return s.admission.UnderWay() })),
		counter("fserve_admission_overflows_total", "Requests that found no place of their own among the debts of clients, and were limited together.", one(func(s *scrape) uint64 { return s.admission.Overflows() })),
		gauge("fserve_admission_waiting", "Requests that wait for a download to end.", one(func(s *scrape) int { return s.admission.Waiting() })),
	}},
	{func(s *scrape) bool { return s.identity.HasTiers() }, []metric{
		counter("fserve_tier_responses_total", "Responses to users of a tier.", tierResponses, "tier"),
	}},
	{func(s *scrape) bool { return len(s.releases) > 0 }, []metric{
		counter("fserve_release_responses_total", "Responses by version of a release, since the version was configured or the process began.", eachRelease(func(c *release.Counts) uint64 { return c.Responses }), "release", "version"),
		counter("fserve_release_failed_total", "Those of them that failed: by their status (403, 404, 5xx), or cut off because of the file.", eachRelease(func(c *release.Counts) uint64 { return c.Failed }), "release", "version"),
		counter("fserve_release_bytes_total", "Bytes that were sent of a version.", eachRelease(func(c *release.Counts) uint64 { return c.Bytes }), "release", "version"),
		gauge("fserve_release_weight_ratio", "Part of the clients that gets the canary.", releaseWeights, "release"),
		gauge("fserve_release_phase", "1 for the phase that a release is in: progressing, paused, complete, rolled-back.", releasePhases, "release", "phase"),
		counter("fserve_release_moved_total", "Requests that had another version than by the weight: by an override, as a resume without a tag that had begun with it, or by the tag of a resume.", releaseMoved, "release", "by"),
	}},
	{func(s *scrape) bool { return s.identity.VerifiesTokens() }, []metric{
		counter("fserve_identity_tokens_total", "Tokens that were verified, and not known already, by result: good, bad, unknown (there were no keys of the issuer).", tokensVerified, "result"),
		gauge("fserve_jwks_age_seconds", "How long ago the keys of an issuer were fetched from their URL; NaN: never.", keyAges, "issuer"),
		counter("fserve_jwks_failures_total", "Fetches of the keys of an issuer that have failed.", keyFailures, "issuer"),
	}},
	{always, []metric{
		gauge("fserve_breaker_state", "1 for the state of the breaker: closed, open (it refuses requests, because there is too much to do) or half-open.",
			each(named[server.BreakerState], func(s *scrape) []int {
				var states [server.NumBreakerStates]int
				states[s.breaker.State] = 1
				return states[:]
			}), "state"),
		counter("fserve_quota_refused_total", "Requests that were refused because a user, or a link, has had all that its quota allows.", one(func(s *scrape) uint64 { return s.overQuota })),
		gauge("fserve_breaker_tiers_refused", "Tiers whose requests the breaker refuses, from the lowest on.", one(func(s *scrape) int { return s.breaker.Refused })),
		counter("fserve_breaker_refused_total", "Requests that the breaker has refused.", one(func(s *scrape) uint64 { return s.refused })),
		gauge("fserve_build_info", "What is running; always 1.", func(s *scrape, e emitter) { e.put(1, s.version, runtime.Version()) }, "version", "goversion"),
		gauge("fserve_driver_info", "The driver in use and why it was chosen; always 1.", func(s *scrape, e emitter) { e.put(1, s.driver, s.reason) }, "driver", "reason"),
		gauge("fserve_start_time_seconds", "When the admin listener was made, in Unix time.", one(func(s *scrape) float64 { return unixSeconds(s.started) })),
		counter("fserve_requests_total", "Responses that were begun, by class of status and host: the first name of a configured one, default for what none is for, other beyond the first 1,000.",
			responsesByHost, "code", "host"),
		counter("fserve_requests_refused_total", "Requests that could not be understood, by reason. They are among the 4xx and 5xx too.", refusals, "reason"),
		counter("fserve_access_refused_total", "Requests that rules of access have refused: by address, referer, user_agent, no_password, wrong_password, crowded (too many passwords to check), insistent (of one client), no_credential, repeated (credentials), bad_link, expired_link, bad_key, bad_token, expired_token, no_keys (of the issuer), denied (by POST /deny). They are among the 4xx and 5xx too.", denials, "reason"),
		counter("fserve_proxy_protocol_errors_total", "Connections that were reset for lack of a good PROXY header.",
			one(func(s *scrape) uint64 { return s.sum.session.ProxyErrors })),
		histogram("fserve_first_byte_seconds", "Time from the head of a request to the first byte of its response with the kernel. 0: in the same turn of the event loop.",
			func(s *scrape, e emitter) { e.histogram(&s.sum.session.FirstByte) }),
		histogram("fserve_response_seconds", "Time from the head of a request to the last byte of its response with the kernel, or until it was cut off.",
			func(s *scrape, e emitter) { e.histogram(&s.sum.session.Duration) }),
		counter("fserve_responses_total", "Responses that have ended, by how: complete, or what cut them off.",
			each(named[engine.End], func(s *scrape) []uint64 { return s.sum.Ends[:] }), "outcome"),
		counter("fserve_sent_bytes_total", "Bytes that were given to the kernel, by the way they went. Those of TLS connections are counted encrypted, except on a bridge.",
			each(named[engine.Via], func(s *scrape) []uint64 { return s.sum.Driver.Bytes[:] }), "way"),
		counter("fserve_received_bytes_total", "Bytes of requests.", one(func(s *scrape) uint64 { return s.sum.BytesIn })),
		gauge("fserve_transfers_active", "Responses under way.", one(func(s *scrape) int { return s.sum.Sending })),
		gauge("fserve_transfers_waiting", "Responses under way that wait for their turn in the limits.", one(func(s *scrape) int { return s.sum.Waiting })),
		gauge("fserve_throughput_jitter_ratio", "Mean over the downloads under way for three seconds or more of the standard deviation of their throughput by the second over its mean, of about the last eight seconds. NaN: there are none.",
			one(func(s *scrape) float64 { return s.sum.jitter })),
		gauge("fserve_throughput_jitter_transfers", "Downloads that fserve_throughput_jitter_ratio is of.", one(func(s *scrape) int { return s.sum.Steady })),
		gauge("fserve_connections", "Open connections: active ones have a response under way, idle ones have none.",
			each(words("active", "idle"), func(s *scrape) []int { return []int{s.sum.Sending, max(s.sum.Open-s.sum.Sending, 0)} }), "state"),
		counter("fserve_connections_accepted_total", "Connections that were accepted.", one(func(s *scrape) uint64 { return s.sum.Accepted })),
		counter("fserve_connections_closed_total", "Connections that were closed.", one(func(s *scrape) uint64 { return s.sum.Closed })),
		counter("fserve_connections_refused_total", "Connections that were refused because there were too many, or too much memory was in use.", one(func(s *scrape) uint64 { return s.sum.Refused })),
		counter("fserve_connections_reclaimed_total", "Connections that were ended to make room for others: those that rested the longest.", one(func(s *scrape) uint64 { return s.sum.Reclaimed })),
		counter("fserve_connections_reset_total", "Connections that their peer has reset.", one(func(s *scrape) uint64 { return s.sum.Resets })),
		counter("fserve_accept_errors_total", "Times that descriptors or memory have run out for a new connection.",
			one(func(s *scrape) uint64 { return s.sum.AcceptErrors })),
		counter("fserve_timeouts_total", "Connections that were ended by a time-out: header (a request did not arrive whole), send (nothing of a response was taken).",
			each(words("header", "send"), func(s *scrape) []uint64 { return []uint64{s.sum.HeaderTimeouts, s.sum.SendTimeouts} }), "kind"),
		counter("fserve_connection_reuses_total", "Responses on connections that had served one before.", one(func(s *scrape) uint64 { return s.sum.Reused })),
		gauge("fserve_connection_reuse_ratio", "Part of all responses since the start that came on connections which had served one before. NaN: there were none.",
			one(func(s *scrape) float64 { return s.sum.reuse() })),
		gauge("fserve_loop_connections", "Open connections by event loop.", each(strconv.Itoa, func(s *scrape) []int { return openByLoop(s.loops) }), "loop"),
		counter("fserve_tls_bad_records_total", "Records of TLS that could not be opened, each the end of its connection.", one(func(s *scrape) uint64 { return s.sum.BadRecords })),
		gauge("fserve_tls_connections", "Open TLS connections: in their handshake, on a loop that seals and opens their records, on a loop while the kernel seals what they send, or on a bridge to one.",
			each(words("handshake", "loop", "kernel", "bridge"), func(s *scrape) []int {
				t := &s.tls
				return []int{t.Handshakes, t.OnLoops, t.ByKernel, max(0, t.Open-t.Handshakes-t.OnLoops-t.ByKernel)}
			}), "way"),
		gauge("fserve_http2_connections", "Open connections of HTTP/2, on loops or on bridges to them.", one(func(s *scrape) int { return s.tls.HTTP2.Conns })),
		gauge("fserve_http2_streams", "Open streams of HTTP/2: active, or paused, on which nothing has moved for 100 ms because they wait for a limit, the disk or their client.",
			each(words("active", "paused"), func(s *scrape) []int { return []int{s.tls.HTTP2.Active, s.tls.HTTP2.Paused} }), "state"),
		counter("fserve_http2_streams_ended_total", "Streams of HTTP/2 that have ended: completed, or aborted by their client or because the answer was not whole.",
			each(words("completed", "aborted"), func(s *scrape) []uint64 { return []uint64{s.tls.HTTP2.Completed, s.tls.HTTP2.Aborted} }), "how"),
		counter("fserve_tls_connections_accepted_total", "TLS connections that were accepted.", one(func(s *scrape) uint64 { return s.tls.Accepted })),
		counter("fserve_tls_handshakes_failed_total", "TLS handshakes that have failed.", one(func(s *scrape) uint64 { return s.tls.Failed })),
		counter("fserve_tls_connections_refused_total", "TLS connections that were refused because there were too many.",
			one(func(s *scrape) uint64 { return s.tls.Refused })),
		counter("fserve_tls_handshakes_ousted_total", "Of the failed: those that were ended by newer ones, over tls.max_handshakes.",
			one(func(s *scrape) uint64 { return s.tls.Ousted })),
		gauge("fserve_tls_certificate_expiry_seconds", "When the certificate in use, or one of its chain, ceases to be valid, in Unix time, by host; that of tls.cert is of the host default.", certificateExpiry, "host"),
		counter("fserve_compressed_responses_total", "Responses with the content of a file that was compressed here; listings are not among them.",
			one(func(s *scrape) uint64 { return s.sum.session.Compressed })),
		counter("fserve_compressions_total", "Files that were to be compressed, by result: made, changed (within the last 2 s, or meanwhile), failed, full (larger than compress_cache, or what is being sent takes all of it). All but the first were sent as they are.",
			each(words("made", "changed", "failed", "full"), func(s *scrape) []uint64 {
				c := &s.compress
				return []uint64{c.Made, c.Changed, c.Failed, c.Full}
			}), "result"),
		counter("fserve_compression_bytes_total", "Bytes of files that were compressed (in), and of what was made of them (out).",
			each(words("in", "out"), func(s *scrape) []uint64 { return []uint64{s.compress.In, s.compress.Out} }), "direction"),
		gauge("fserve_compress_cache_bytes", "Bytes of compressed files in memory, kept or being sent.", one(func(s *scrape) int64 { return s.compress.Held })),
		counter("fserve_open_file_cache_lookups_total", "Lookups in the cache of open files: hit, miss, check (the file system was asked whether it is still the same).",
			each(words("hit", "miss", "check"), func(s *scrape) []uint64 { return []uint64{s.sum.Files.Hits, s.sum.Files.Misses, s.sum.Files.Checks} }), "result"),
		counter("fserve_open_file_cache_changed_total", "Cached files that were found to have changed.", one(func(s *scrape) uint64 { return s.sum.Files.Changed })),
		counter("fserve_open_file_cache_evicted_total", "Files that had to make room for others.", one(func(s *scrape) uint64 { return s.sum.Files.Evicted })),
		gauge("fserve_leases", "Read leases that are held: files that nobody can write to in place before their bytes have left.", one(func(s *scrape) int { return s.sum.Files.Leases })),
		counter("fserve_leases_refused_total", "Leases that were asked for in vain: the file is open for writing, belongs to another user, or is on a file system without them.",
			one(func(s *scrape) uint64 { return s.sum.Files.LeasesRefused })),
		counter("fserve_lease_breaks_total", "Leases that were given up because somebody came to write.", one(func(s *scrape) uint64 { return s.sum.Files.LeasesBroken })),
		counter("fserve_connections_recalled_total", "Connections that were reset because their file was about to be written.", one(func(s *scrape) uint64 { return s.sum.Recalled })),
		counter("fserve_responses_replanned_total", "Responses that were begun anew with the new version of their file, since nothing of them was sent when it changed.", one(func(s *scrape) uint64 { return s.sum.Replanned })),
		gauge("fserve_open_file_cache_descriptors", "Descriptors that the cache and transfers hold.", one(func(s *scrape) int { return s.sum.Files.Open })),
		gauge("fserve_open_file_cache_memory_bytes", "Memory that contents of small files take.", one(func(s *scrape) int64 { return s.sum.Files.Bytes })),
		counter("fserve_driver_waits_total", "Turns of the event loops.", one(func(s *scrape) uint64 { return s.sum.Driver.Waits })),
		counter("fserve_driver_enters_total", "System calls that submitted operations or waited for events: batches.",
			one(func(s *scrape) uint64 { return s.sum.Driver.Enters })),
		counter("fserve_driver_submissions_total", "Operations given to the kernel's queue.", one(func(s *scrape) uint64 { return s.sum.Driver.Submissions })),
		counter("fserve_driver_completions_total", "Events taken from the kernel.", one(func(s *scrape) uint64 { return s.sum.Driver.Completions })),
		counter("fserve_driver_overflows_total", "Times that the completion queue had overflowed.", one(func(s *scrape) uint64 { return s.sum.Driver.Overflows })),
		counter("fserve_driver_no_buffers_total", "Receives that ended for lack of buffers.", one(func(s *scrape) uint64 { return s.sum.Driver.NoBuffers })),
		counter("fserve_driver_cold_reads_total", "File ranges that were fetched from disk off the event loop.",
			one(func(s *scrape) uint64 { return s.sum.Driver.ColdReads })),
		counter("fserve_driver_steps_down_total", "Ways of sending that a file system or the kernel has refused.",
			each(named[engine.Via], func(s *scrape) []uint64 { return s.sum.Driver.StepsDown[:] }), "way"),
		counter("fserve_driver_errors_total", "Errors of system calls, by what is done about them.",
			each(named[aio.Class], func(s *scrape) []uint64 { return s.sum.Driver.Errors[:] }), "class"),
		gauge("fserve_driver_pipes", "Pipes for splice that exist.", one(func(s *scrape) uint64 { return s.sum.Driver.PipesOpen })),
		counter("fserve_access_log_dropped_lines_total", "Lines of the access log that were lost because it could not be written.",
			one(func(s *scrape) uint64 { return s.dropped })),
		counter("fserve_log_dropped_lines_total", "Lines of the log for operators that were lost because nobody took them from standard error.",
			one(func(s *scrape) uint64 { return s.lost })),
		gauge("fserve_draining", "1 while the server shuts down.", one(func(s *scrape) float64 { return truth(s.draining) })),
	}},
	{func(s *scrape) bool { return s.config != nil }, []metric{
		gauge("fserve_config_last_reload_successful", "1 if the last reload of the configuration, or the start, was good.",
			one(func(s *scrape) float64 { return truth(s.config.LastError == nil) })),
		gauge("fserve_config_last_reload_timestamp_seconds", "When the last reload ended, good or bad; the start if there was none. In Unix time.", lastReload),
		counter("fserve_config_reloads_total", "Reloads of the configuration, by result.",
			each(words("success", "failure"), func(s *scrape) []uint64 { return []uint64{s.config.Reloads - s.config.Failures, s.config.Failures} }), "result"),
		gauge("fserve_config_fallback", "1 while the last good configuration of an earlier time is in force, because the files cannot be used.",
			one(func(s *scrape) float64 { return truth(s.config.Fallback) })),
		gauge("fserve_config_pending_changes", "Changes of the configuration that wait for a restart.", one(func(s *scrape) int { return len(s.config.Pending) })),
	}},
	{func(s *scrape) bool { return s.limited }, []metric{
		gauge("fserve_limit_bytes_per_second", "Limits that are set; 0 is paused, what is unlimited is not there. name is the prefix of a path class.",
			limitRates, "level", "name"),
		gauge("fserve_limit_client_overrides", "Clients that have a limit of their own.", one(func(s *scrape) int { return len(s.set.Clients) })),
		gauge("fserve_limit_clients", "Clients that are known.", one(func(s *scrape) int { return s.report.ClientCount })),
		counter("fserve_throttle_seconds_total", "For how long responses were held, in sum, by the level of limits that held them.",
			byLevel(func(s *scrape, l shape.Level) float64 { return time.Duration(s.report.Throttled[l]).Seconds() }), "level"),
		counter("fserve_granted_bytes_total", "Bytes that the limits have let pass, limited or not. While nothing is limited anywhere, those of responses that took more than one turn of the event loop.",
			one(func(s *scrape) int64 { return s.report.Granted[shape.LevelNone] })),
		counter("fserve_limited_bytes_total", "Those of them that were subject to a limit of the level.",
			byLevel(func(s *scrape, l shape.Level) float64 { return float64(s.report.Granted[l]) }), "level"),
		gauge("fserve_path_bandwidth_bytes_per_second", "Bytes per second over the last ten seconds by path class; the rest has an empty name.", classRates, "name"),
		gauge("download_bandwidth_bytes_per_second", "Bytes per second over the last ten seconds by client: those with limits of their own and the busiest, and other.",
			clientRates, "client_id"),
	}},
	{func(s *scrape) bool { return s.adapt != nil }, []metric{
		gauge("fserve_adapt_target_bytes_per_second", "Rate that was found, of path classes and of the clients that are in trouble, have bounds of their own, or are the busiest.",
			found(func(f *measure.State) float64 { return float64(f.Target) }), "level", "name"),
		gauge("fserve_adapt_estimate_bytes_per_second", "What the line is thought to carry; 0: nothing was measured yet.",
			found(func(f *measure.State) float64 { return float64(f.Estimate) }), "level", "name"),
		gauge("fserve_adapt_floor_bytes_per_second", "The least that the rate may be.", found(func(f *measure.State) float64 { return float64(f.Min) }), "level", "name"),
		gauge("fserve_adapt_ceiling_bytes_per_second", "The most that the rate may be.", found(func(f *measure.State) float64 { return float64(f.Max) }), "level", "name"),
		gauge("fserve_adapt_loss_ratio", "Part of the segments that were lost, of the last sample of the breaker.",
			found(func(f *measure.State) float64 { return f.Loss }), "level", "name"),
		gauge("fserve_adapt_fast_loop_state", "1 for the phase that the fast loop is in: doubling, linear, steady.",
			foundIn(func(f *measure.State) fmt.Stringer { return f.Phase }), "level", "name", "state"),
		gauge("fserve_adapt_slow_loop_state", "1 for what the slow loop last found.",
			foundIn(func(f *measure.State) fmt.Stringer { return f.Verdict }), "level", "name", "state"),
		gauge("fserve_adapt_breaker_state", "1 for the stage of the breaker: closed, open, half-open, frozen.",
			foundIn(func(f *measure.State) fmt.Stringer { return f.Stage }), "level", "name", "state"),
		gauge("fserve_adapt_clients", "Clients whose rate is found, by the stage of their breaker.",
			each(named[adapt.Stage], func(s *scrape) []int { return s.adapt.Stages[:] }), "state"),
		gauge("fserve_adapt_connections", "Connections that are being sampled.", one(func(s *scrape) int { return s.adapt.Taps })),
		gauge("fserve_adapt_sample_interval_seconds", "Time between two samples of a busy connection.", one(func(s *scrape) float64 { return s.adapt.Period.Seconds() })),
		counter("fserve_adapt_cuts_total", "Times that a rate was cut, by cause.",
			each(named[adapt.Cause], func(s *scrape) []uint64 { return s.adapt.Total.Cuts[:] }), "cause"),
		counter("fserve_adapt_steps_total", "Steps of the slow loop, and cuts that were undone because nothing had been lost.",
			each(words("raised", "lowered", "followed", "took-back", "undone"), func(s *scrape) []uint64 {
				t := &s.adapt.Total
				return []uint64{t.Raises, t.Lowers, t.Follows, t.TakenBack, t.Undone}
			}), "step"),
		counter("fserve_adapt_breaker_trips_total", "Times that a breaker has opened.", one(func(s *scrape) uint64 { return s.adapt.Total.Tripped })),
		counter("fserve_adapt_breaker_freezes_total", "Times that a client was frozen at its floor: each is a P1 alert.",
			one(func(s *scrape) uint64 { return s.adapt.Total.Frozen })),
		counter("fserve_adapt_rounds_total", "Rounds of samples by what they said of the line: measured, bound (at least so much), rejected, torn, delayed (the event loop was late).",
			each(words("measured", "bound", "rejected", "torn", "delayed"), func(s *scrape) []uint64 {
				t := &s.adapt.Total
				return []uint64{t.Measured, t.Bounds, t.Rejected, t.Discarded, t.Delayed}
			}), "result"),
		counter("fserve_adapt_crowded_total", "Clients that found no room: they keep to the rate that clients begin with.",
			one(func(s *scrape) uint64 { return s.adapt.Crowded })),
		counter("fserve_adapt_samples_total", "Times that the kernel was asked about a connection.", one(func(s *scrape) uint64 { return s.sum.Sampled })),
		counter("fserve_adapt_unmeasured_connections_total", "Connections that the kernel tells nothing of.", one(func(s *scrape) uint64 { return s.sum.Unsampled })),
	}},
	{func(s *scrape) bool { return s.alerts != nil }, []metric{
		gauge("fserve_profile_active", "1 while a profile of limits is in force.", activeProfiles, "profile"),
		gauge("fserve_alerts_firing", "Alerts that were posted and fire.", one(func(s *scrape) int { return s.alerts.Firing })),
		counter("fserve_alerts_messages_total", "Messages with alerts that were taken.", one(func(s *scrape) uint64 { return s.alerts.Messages })),
		counter("fserve_alerts_received_total", "What became of alerts that were posted: fired, ended, stale (repeated or too late), refused (no room), lost (not heard of any more).",
			each(words("fired", "ended", "stale", "refused", "lost"), func(s *scrape) []uint64 {
				t := &s.alerts.SwitchStats
				return []uint64{t.Fired, t.Ended, t.Stale, t.Refused, t.Lost}
			}), "result"),
	}},
	{func(s *scrape) bool { return s.webhook != nil }, []metric{
		counter("fserve_alert_webhook_messages_total", "Alerts of fserve's own by what became of them: sent, failed, dropped.",
			each(words("sent", "failed", "dropped"), func(s *scrape) []uint64 { return []uint64{s.webhook.Sent, s.webhook.Failed, s.webhook.Dropped} }), "result"),
		counter("fserve_alert_webhook_retries_total", "Attempts to send an alert beyond the first.", one(func(s *scrape) uint64 { return s.webhook.Retried })),
		gauge("fserve_alert_webhook_waiting", "Alerts that wait to be sent.", one(func(s *scrape) int { return s.webhook.Waiting })),
	}}}
