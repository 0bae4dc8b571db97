package adapt

import (
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

// orElse sets a field that was left zero.
func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// withDefaults returns cfg with every field set.
func (cfg Config) withDefaults() Config {
	orElse(&cfg.Start, cfg.Min)
	orElse(&cfg.SampleEvery, 100*time.Millisecond)
	s := &cfg.Slow
	orElse(&s.RaiseEvery, time.Second)
	orElse(&s.LowerEvery, 500*time.Millisecond)
	orElse(&s.Raise, 0.05)
	orElse(&s.Lower, 0.03)
	orElse(&s.UnderUse, 0.85)
	orElse(&s.OverEstimate, 1.2)
	orElse(&s.Often, 0.25)
	orElse(&s.SoftThreshold, 0.8)
	orElse(&s.Linear, 0.025)
	orElse(&s.Headroom, 0.02)
	orElse(&s.QueueDelay, 4*time.Millisecond)
	orElse(&s.MaxHoldOff, 4*time.Second)
	f := &cfg.Fast
	orElse(&f.LossCut, 0.5)
	orElse(&f.ECNCut, 0.3)
	orElse(&f.ECNInRow, 3)
	orElse(&f.Loss, 0.02)
	orElse(&f.MaxBackground, 0.1)
	b := &cfg.Breaker
	orElse(&b.Loss, 0.15)
	orElse(&b.Sample, 2*time.Second)
	orElse(&b.Samples, 5)
	orElse(&b.Cut, 0.4)
	orElse(&b.Quiet, 2*time.Minute)
	orElse(&b.Trips, 3)
	orElse(&b.Memory, 30*time.Minute)
	orElse(&b.Freeze, 5*time.Minute)
	orElse(&b.MinSegments, 20)
	return cfg
}

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// between checks that low <= v <= high, which NaN is not.
func (f *faults) between(name string, v, low, high float64) {
	if math.IsNaN(v) || v < low || v > high {
		f.add("%s is %v: it must be from %v to %v", name, v, low, high)
	}
}

func (f *faults) lasts(name string, v, low, high time.Duration) {
	if v < low || v > high {
		f.add("%s is %v: it must be from %v to %v", name, v, low, high)
	}
}

func (f *faults) counts(name string, v, low, high int) {
	if v < low || v > high {
		f.add("%s is %d: it must be from %d to %d", name, v, low, high)
	}
}

// Validate reports everything that is wrong with a configuration, joined. Fields
// that were left zero are right.
func (cfg Config) Validate() error {
	full := cfg.withDefaults()
	var f faults
	f.bounds(full.Min, full.Max)
	if full.Start < full.Min || full.Start > full.Max {
		f.add("start is %d bytes/s: it must lie between min and max", full.Start)
	}
	f.lasts("sample every", full.SampleEvery, 50*time.Millisecond, 500*time.Millisecond)
	full.Slow.check(&f)
	full.Fast.check(&f)
	full.Breaker.check(&f)
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

func (s *Slow) check(f *faults) {
	f.lasts("raise every", s.RaiseEvery, 100*time.Millisecond, time.Minute)
	f.lasts("lower every", s.LowerEvery, 100*time.Millisecond, time.Minute)
	f.between("raise", s.Raise, 0.001, 1)
	f.between("lower", s.Lower, 0.001, 0.5)
	f.between("under-use", s.UnderUse, 0.1, 0.95)
	f.between("over-estimate", s.OverEstimate, 1.05, 10)
	f.between("often", s.Often, 0.01, 0.9)
	f.between("soft threshold", s.SoftThreshold, 0.1, 1)
	f.between("linear", s.Linear, 0.001, 0.5)
	f.between("headroom", s.Headroom, 0.001, 0.5)
	f.lasts("queue delay", s.QueueDelay, 100*time.Microsecond, time.Second)
	f.lasts("longest hold-off", s.MaxHoldOff, s.RaiseEvery, 10*time.Minute)
	// The balance of the package comment: within the time of one raise, lowering must
	// outweigh it.
	if down := math.Log1p(-s.Lower) * float64(s.RaiseEvery) / float64(s.LowerEvery); math.Log1p(s.Raise)+down > 0 {
		f.add("raising by %v every %v outweighs lowering by %v every %v: the target would drift upwards",
			s.Raise, s.RaiseEvery, s.Lower, s.LowerEvery)
	}
}

func (s *Fast) check(f *faults) {
	f.between("loss cut", s.LossCut, 0.05, 0.95)
	f.between("ECN cut", s.ECNCut, 0.05, 0.95)
	f.counts("ECN rounds in a row", s.ECNInRow, 1, 100)
	f.between("loss", s.Loss, 0.001, 0.5)
	f.between("background loss", s.MaxBackground, 0, 0.5)
}

func (s *Breaker) check(f *faults) {
	f.between("breaker loss", s.Loss, 0.01, 1)
	f.lasts("breaker sample", s.Sample, 500*time.Millisecond, time.Minute)
	f.counts("breaker samples", s.Samples, 1, 100)
	f.between("breaker cut", s.Cut, 0.01, 1)
	f.lasts("breaker quiet", s.Quiet, time.Second, 24*time.Hour)
	f.counts("breaker trips", s.Trips, 1, 100)
	f.lasts("breaker memory", s.Memory, s.Quiet, 24*time.Hour)
	f.lasts("breaker freeze", s.Freeze, time.Second, 24*time.Hour)
	f.counts("breaker segments", s.MinSegments, 1, 1_000_000)
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
