package release

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Rollback says when a canary is taken back: when it is worse than stable in the same window of time,
// and a test says that this is no chance.
type Rollback struct {
	// Errors is how much larger the part of its responses that fail may be. Below 0: not at all. Default:
	// 0.005.
	Errors float64
	// FirstByte is how many times longer than stable's (and 10 ms) the time may be within which 99 of
	// 100 first bytes come. Below 0: it does not count. Default: 1.5.
	FirstByte float64
	// Throughput is the part of stable's median rate that its own is at least. Below 0: it does not
	// count. Default: 0.7.
	Throughput float64
	// Window is the time that is looked at, and beside it one and two thirds of it and the whole step.
	// Default: 30 s.
	Window time.Duration
	// Responses are how many of each version a window has at least, before it is judged. Default: 200.
	Responses int
	// Off takes nothing back but what a person does.
	Off bool
}

func (r Rollback) withDefaults() Rollback {
	r.Errors, r.FirstByte, r.Throughput = max(0, cmp.Or(r.Errors, 0.005)), cmp.Or(r.FirstByte, 1.5), cmp.Or(r.Throughput, 0.7)
	r.Window, r.Responses = cmp.Or(r.Window, 30*time.Second), cmp.Or(r.Responses, 200)
	return r
}

const (
	// certainty is how improbable it has to be that the canary is as stable is. A window is judged each
	// second, for hours: one in a thousand would take every release back.
	certainty = 1e-7
	// slack is what first bytes may always be later, in µs.
	slack = 10_000
)

// judge returns why the canary is worse in a window; empty: it is not.
func (r *Rollback) judge(stable, canary *Counts) string {
	least := uint64(r.Responses)
	if r.Off || stable.Responses < least || canary.Responses < least {
		return ""
	}
	bad, good := part(canary.Failed, canary.Responses), part(stable.Failed, stable.Responses)
	if bad-good > r.Errors && unlikely(canary.Failed, canary.Responses, stable.Failed, stable.Responses) {
		return fmt.Sprintf("%.2f%% of its responses fail, of stable's %.2f%%", 100*bad, 100*good)
	}
	return cmp.Or(r.late(stable, canary), r.slow(stable, canary))
}

// late is judge for first bytes: more of the canary's than of stable's are beyond the bound.
func (r *Rollback) late(stable, canary *Counts) string {
	if r.FirstByte < 0 {
		return ""
	}
	bound := stable.FirstByte.Quantile(0.99)*r.FirstByte + slack
	from := min(bucket(uint64(bound))+1, len(Histogram{}))
	bad, good := canary.FirstByte.count(from, len(Histogram{})), stable.FirstByte.count(from, len(Histogram{}))
	if part(bad, canary.Responses) > 0.01 && unlikely(bad, canary.Responses, good, stable.Responses) {
		return fmt.Sprintf("%.1f%% of its first bytes take more than %.0f ms, of stable's %.1f%%", 100*part(bad, canary.Responses), bound/1e3, 100*part(good, stable.Responses))
	}
	return ""
}

// slow is judge for throughput.
func (r *Rollback) slow(stable, canary *Counts) string {
	n, of := canary.Rate.count(0, len(Histogram{})), stable.Rate.count(0, len(Histogram{}))
	if r.Throughput < 0 || n < uint64(r.Responses) || of < uint64(r.Responses) {
		return ""
	}
	bound := stable.Rate.Quantile(0.5) * r.Throughput
	to := bucket(uint64(bound))
	bad, good := canary.Rate.count(0, to), stable.Rate.count(0, to)
	if part(bad, n) >= 0.5 && unlikely(bad, n, good, of) {
		return fmt.Sprintf("half of its downloads have less than %.0f KiB/s, of stable's %.0f%%", bound, 100*part(good, of))
	}
	return ""
}

func part(n, of uint64) float64 { return float64(n) / float64(max(of, 1)) }

// unlikely reports whether x of n, beside y of m, is more than chance would give if both were alike:
// of all x+y each is one of the n by their share (the one-sided exact test of two proportions, with the
// binomial in place of the hypergeometric distribution, which errs to the safe side).
func unlikely(x, n, y, m uint64) bool {
	k, q := float64(x+y), float64(n)/float64(n+m)
	if q <= 0 || q >= 1 || float64(x) <= k*q {
		return false
	}
	lg := func(v float64) float64 { f, _ := math.Lgamma(v + 1); return f }
	at := float64(x)
	term := math.Exp(lg(k) - lg(at) - lg(k-at) + at*math.Log(q) + (k-at)*math.Log1p(-q))
	sum := term
	for ; at < k && term > sum*1e-12; at++ {
		term *= (k - at) / (at + 1) * q / (1 - q)
		sum += term
	}
	return sum < certainty
}

// sample is what had been counted at a time.
type sample struct {
	at     int64 // monotonic ns
	counts [NumVersions]Counts
}

// history are the samples since the last change of the weight, as far as a window goes back.
type history struct {
	begin   sample
	samples []sample // in order
}

// restart begins anew: what was before had another mix of clients.
func (h *history) restart(s *sample) { h.begin, h.samples = *s, append(h.samples[:0], *s) }

// add adds a sample and forgets those that no window of the length needs.
func (h *history) add(s *sample, window time.Duration) {
	drop := 0
	for drop+1 < len(h.samples) && h.samples[drop+1].at <= s.at-int64(window) {
		drop++
	}
	h.samples = append(h.samples[:0], h.samples[drop:]...)
	h.samples = append(h.samples, *s)
}

// judge looks at all windows that end with the last sample.
func (h *history) judge(r *Rollback) string {
	last := &h.samples[len(h.samples)-1]
	from := []*sample{&h.begin, &h.samples[0]}
	for _, thirds := range []int64{1, 2} {
		i := slices.IndexFunc(h.samples, func(s sample) bool { return s.at >= last.at-int64(r.Window)*thirds/3 })
		from = append(from, &h.samples[i])
	}
	for _, f := range from {
		stable, canary := last.counts[Stable].since(&f.counts[Stable]), last.counts[Canary].since(&f.counts[Canary])
		if why := r.judge(&stable, &canary); why != "" {
			return why
		}
	}
	return ""
}
