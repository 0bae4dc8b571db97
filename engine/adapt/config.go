package adapt

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fserve/fserve/engine/rate"
)

// Config says within which bounds, how fast and on what evidence a target moves. Min and
// Max must be set. The zero value of every other field stands for its default.
type Config struct {
	// Min and Max bound the target, in bytes per second, whatever is measured.
	// 0 < Min <= Max <= MaxRate.
	Min, Max int64

	// Start is the first target, in bytes per second. Default: Min.
	Start int64

	// SampleEvery is the length of a round, which puts the samples of all connections of
	// a client together. Default 100 ms, from 50 ms to 500 ms.
	SampleEvery time.Duration

	Slow    Slow
	Fast    Fast
	Breaker Breaker
}

// Slow are the parameters of the slow loop and of probing.
type Slow struct {
	RaiseEvery time.Duration // between raises. Default 1 s
	LowerEvery time.Duration // between lowerings. Default 500 ms; see the balance in the package comment
	Raise      float64       // the largest step up, as a part of the target. Default 0.05
	Lower      float64       // a step down. Default 0.03

	// UnderUse is a part of what the target lets in. If less than that arrives, the line
	// or the reader is taken for the limit. Default 0.85.
	UnderUse float64

	// OverEstimate is a multiple of the estimate. A target above it is lowered even if it
	// is reached. Default 1.2.
	OverEstimate float64

	// Often is a part of the time. If connections wait for tokens for longer, the target
	// counts as the limit. Default 0.25.
	Often float64

	// SoftThreshold is the part of the measured rate up to which probing
	// doubles. Default 0.8.
	SoftThreshold float64

	// Linear is the step of linear probing in a round, as a part of the rate at which
	// probing began. Steps towards a rate that was carried before are four times as large.
	// Default 0.025.
	Linear float64

	// Headroom is the part of the line that is left free while a queue stands, so that the
	// queue empties. Default 0.02.
	Headroom float64

	// QueueDelay is the growth of the round-trip time after a raise that counts as a queue
	// which the raise has made. Default 4 ms, or an eighth of the least round-trip time
	// if that is more.
	QueueDelay time.Duration

	// MaxHoldOff is the longest pause between raises. The pause doubles, from RaiseEvery,
	// with each raise that fails. Default 4 s.
	MaxHoldOff time.Duration
}

// Fast are the parameters of the fast loop.
type Fast struct {
	LossCut  float64 // what loss leaves of the rate. Default 0.5
	ECNCut   float64 // what ECN marks leave of it. Default 0.3
	ECNInRow int     // marked rounds in a row that make a cut. Default 3

	// Loss is the part of the segments that may be lost without a cut: what
	// BBR (draft-cardwell-iccrg-bbr-congestion-control, BBR.LossThresh) tolerates too.
	// Default 0.02.
	Loss float64

	// MaxBackground bounds the loss that is learned to be the line's own, as a part of the
	// segments. Default 0.1.
	MaxBackground float64
}

// Breaker are the parameters of a client's breaker.
type Breaker struct {
	Loss    float64       // part of the segments that makes a sample an anomaly. Default 0.15
	Sample  time.Duration // length of a sample. Default 2 s
	Samples int           // anomalies in a row that trip it. Default 5
	Cut     float64       // what a trip leaves of the target. Default 0.4
	Quiet   time.Duration // time without an anomaly until it is closed, half of it half-open. Default 2 min

	Trips  int           // trips within Memory that freeze the client at the floor. Default 3
	Memory time.Duration // Default 30 min
	Freeze time.Duration // Default 5 min

	// MinSegments is the least number of segments in a sample; with fewer the sample lasts
	// longer. Default 20: of fewer, three lost segments would be an anomaly.
	MinSegments int
}

// MaxRate is the greatest rate that can be configured: 1 TB/s.
const MaxRate = int64(rate.Max)

// segment is taken for the size of a segment where the kernel does not say.
const segment = 1448

// Threshold is a field of a Config that has a default and bounds.
type Threshold struct {
	Name string // in configurations of programs
	At   any    // the field: a *float64, *int or *time.Duration

	setDefault func()
	check      func() error
}

func threshold[T float64 | int | time.Duration](name string, at *T, value, low, high T) Threshold {
	return Threshold{
		Name: name, At: at, setDefault: func() { *at = cmp.Or(*at, value) },
		check: func() error {
			if *at >= low && *at <= high { // NaN is not
				return nil
			}
			return fmt.Errorf("%s is %v: it must be from %v to %v", name, *at, low, high)
		},
	}
}

// Thresholds returns those of cfg. A threshold is one row here, and a field.
func (cfg *Config) Thresholds() []Threshold {
	s, f, b := &cfg.Slow, &cfg.Fast, &cfg.Breaker
	return []Threshold{
		threshold("raise_every", &s.RaiseEvery, time.Second, 100*time.Millisecond, time.Minute),
		threshold("lower_every", &s.LowerEvery, 500*time.Millisecond, 100*time.Millisecond, time.Minute),
		threshold("raise", &s.Raise, 0.05, 0.001, 1),
		threshold("lower", &s.Lower, 0.03, 0.001, 0.5),
		threshold("under_use", &s.UnderUse, 0.85, 0.1, 0.95),
		threshold("over_estimate", &s.OverEstimate, 1.2, 1.05, 10),
		threshold("often", &s.Often, 0.25, 0.01, 0.9),
		threshold("soft_threshold", &s.SoftThreshold, 0.8, 0.1, 1),
		threshold("linear", &s.Linear, 0.025, 0.001, 0.5),
		threshold("headroom", &s.Headroom, 0.02, 0.001, 0.5),
		threshold("queue_delay", &s.QueueDelay, 4*time.Millisecond, 100*time.Microsecond, time.Second),
		threshold("max_hold_off", &s.MaxHoldOff, 4*time.Second, s.RaiseEvery, 10*time.Minute),

		threshold("loss_cut", &f.LossCut, 0.5, 0.05, 0.95),
		threshold("ecn_cut", &f.ECNCut, 0.3, 0.05, 0.95),
		threshold("ecn_in_row", &f.ECNInRow, 3, 1, 100),
		threshold("loss", &f.Loss, 0.02, 0.001, 0.5),
		threshold("max_background", &f.MaxBackground, 0.1, 0, 0.5),

		threshold("breaker_loss", &b.Loss, 0.15, 0.01, 1),
		threshold("breaker_sample", &b.Sample, 2*time.Second, 500*time.Millisecond, time.Minute),
		threshold("breaker_samples", &b.Samples, 5, 1, 100),
		threshold("breaker_cut", &b.Cut, 0.4, 0.01, 1),
		threshold("breaker_quiet", &b.Quiet, 2*time.Minute, time.Second, 24*time.Hour),
		threshold("breaker_trips", &b.Trips, 3, 1, 100),
		threshold("breaker_memory", &b.Memory, 30*time.Minute, b.Quiet, 24*time.Hour),
		threshold("breaker_freeze", &b.Freeze, 5*time.Minute, time.Second, 24*time.Hour),
		threshold("breaker_min_segments", &b.MinSegments, 20, 1, 1_000_000),
	}
}

// withDefaults returns cfg with every field set.
func (cfg Config) withDefaults() Config {
	cfg.Start = cmp.Or(cfg.Start, cfg.Min)
	cfg.SampleEvery = cmp.Or(cfg.SampleEvery, 100*time.Millisecond)
	for _, t := range cfg.Thresholds() {
		t.setDefault()
	}
	return cfg
}

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// Validate reports everything that is wrong with a configuration, joined. Fields
// that were left zero are right.
func (cfg Config) Validate() error {
	full := cfg.withDefaults()
	var f faults
	f.bounds(full.Min, full.Max)
	if full.Start < full.Min || full.Start > full.Max {
		f.add("start is %d bytes/s: it must lie between min and max", full.Start)
	}
	for _, t := range append(full.Thresholds(), threshold("sample_every", &full.SampleEvery, 0, 50*time.Millisecond, 500*time.Millisecond)) {
		if err := t.check(); err != nil {
			f = append(f, err)
		}
	}
	// The balance of the package comment: within the time of one raise, lowering must
	// outweigh it.
	s := &full.Slow
	if down := math.Log1p(-s.Lower) * float64(s.RaiseEvery) / float64(s.LowerEvery); math.Log1p(s.Raise)+down > 0 {
		f.add("raising by %v every %v outweighs lowering by %v every %v: the target would drift upwards",
			s.Raise, s.RaiseEvery, s.Lower, s.LowerEvery)
	}
	return errors.Join(f...)
}

func (f *faults) bounds(low, high int64) {
	switch {
	case low <= 0:
		f.add("min is %d bytes/s: it must be more than 0", low)
	case high < low:
		f.add("max is %d bytes/s: it must not be less than min, %d bytes/s", high, low)
	case high > MaxRate:
		f.add("max is %d bytes/s: it must be at most %d", high, MaxRate)
	}
}

// Policy is a Config that has been checked. It is immutable and may be shared by
// any number of controllers and goroutines.
type Policy struct{ cfg Config }

// NewPolicy checks a configuration. The error joins everything that is wrong.
func NewPolicy(cfg Config) (*Policy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Policy{cfg.withDefaults()}, nil
}

// Config returns the configuration with its defaults filled in.
func (p *Policy) Config() Config { return p.cfg }
