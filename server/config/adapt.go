package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
)

// knob returns a threshold of adaptation: where it is in a configuration.
type knob func(*adapt.Config) any

// knobs are the thresholds by their names in adapt.tune.
var knobs = map[string]knob{
	"raise":          func(c *adapt.Config) any { return &c.Slow.Raise },
	"lower":          func(c *adapt.Config) any { return &c.Slow.Lower },
	"raise_every":    func(c *adapt.Config) any { return &c.Slow.RaiseEvery },
	"lower_every":    func(c *adapt.Config) any { return &c.Slow.LowerEvery },
	"under_use":      func(c *adapt.Config) any { return &c.Slow.UnderUse },
	"over_estimate":  func(c *adapt.Config) any { return &c.Slow.OverEstimate },
	"often":          func(c *adapt.Config) any { return &c.Slow.Often },
	"soft_threshold": func(c *adapt.Config) any { return &c.Slow.SoftThreshold },
	"linear":         func(c *adapt.Config) any { return &c.Slow.Linear },
	"headroom":       func(c *adapt.Config) any { return &c.Slow.Headroom },
	"queue_delay":    func(c *adapt.Config) any { return &c.Slow.QueueDelay },
	"max_hold_off":   func(c *adapt.Config) any { return &c.Slow.MaxHoldOff },

	"loss":           func(c *adapt.Config) any { return &c.Fast.Loss },
	"loss_cut":       func(c *adapt.Config) any { return &c.Fast.LossCut },
	"max_background": func(c *adapt.Config) any { return &c.Fast.MaxBackground },
	"ecn_cut":        func(c *adapt.Config) any { return &c.Fast.ECNCut },
	"ecn_in_row":     func(c *adapt.Config) any { return &c.Fast.ECNInRow },

	"breaker_loss":         func(c *adapt.Config) any { return &c.Breaker.Loss },
	"breaker_sample":       func(c *adapt.Config) any { return &c.Breaker.Sample },
	"breaker_samples":      func(c *adapt.Config) any { return &c.Breaker.Samples },
	"breaker_cut":          func(c *adapt.Config) any { return &c.Breaker.Cut },
	"breaker_quiet":        func(c *adapt.Config) any { return &c.Breaker.Quiet },
	"breaker_trips":        func(c *adapt.Config) any { return &c.Breaker.Trips },
	"breaker_memory":       func(c *adapt.Config) any { return &c.Breaker.Memory },
	"breaker_freeze":       func(c *adapt.Config) any { return &c.Breaker.Freeze },
	"breaker_min_segments": func(c *adapt.Config) any { return &c.Breaker.MinSegments },
}

// set reads a value. A value of 0 would stand for the default.
func (k knob) set(c *adapt.Config, s string) (err error) {
	at := k(c)
	switch p := at.(type) {
	case *float64:
		if *p, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
			return fmt.Errorf("%q is not a number like 0.05", s)
		}
	case *int:
		*p, err = parseInt(s)
	case *time.Duration:
		err = setDuration(p, s)
	}
	if err == nil && reflect.ValueOf(at).Elem().IsZero() {
		return errors.New("it must not be 0")
	}
	return err
}

// policy returns the policy of adaptation between two rates, nil if they are not given.
func (a *Adapt) policy(low, high, start shape.Rate) (*adapt.Policy, error) {
	if low == shape.Unlimited && high == shape.Unlimited {
		return nil, nil
	}
	switch {
	case low == shape.Unlimited:
		return nil, errors.New("a ceiling without a floor: both are needed")
	case high == shape.Unlimited:
		return nil, errors.New("a floor without a ceiling: both are needed")
	case low == shape.Paused || high == shape.Paused || start == shape.Paused:
		return nil, errors.New("a rate of 0 is not one that can be found")
	}
	c := adapt.Config{Min: int64(low), Max: int64(high), Start: int64(start), SampleEvery: engine.AdaptSampleEvery}
	for name, value := range a.Tune {
		if k, ok := knobs[name]; ok {
			if err := k.set(&c, value); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return adapt.NewPolicy(c)
}

// Adaptation returns the configuration by which the engine finds rates. c must be valid.
func (c *Config) Adaptation() engine.AdaptConfig {
	var out engine.AdaptConfig
	out.Client, _ = c.Adapt.policy(c.Adapt.Min, c.Adapt.Max, c.Adapt.Start)
	for prefix, l := range c.Limits.Paths {
		if p, _ := c.Adapt.policy(l.AdaptMin, l.AdaptMax, 0); p != nil {
			if out.Paths == nil {
				out.Paths = make(map[string]*adapt.Policy)
			}
			out.Paths[prefix] = p
		}
	}
	return out
}

// adapts checks the rates that are to be found, and the thresholds.
func (v *validator) adapts() {
	a := &v.Adapt
	good := true
	for _, name := range slices.Sorted(maps.Keys(a.Tune)) {
		path := "adapt.tune[" + name + "]"
		k, ok := knobs[name]
		if !ok {
			v.form(path, "there is no such threshold%s", didYouMean(name, slices.Sorted(maps.Keys(knobs))))
			good = false
		} else if err := k.set(new(adapt.Config), a.Tune[name]); err != nil {
			v.form(path, "%v", err)
			good = false
		}
	}
	if !good {
		return
	}
	if a.Start != 0 && a.Min == 0 && a.Max == 0 {
		v.form("adapt.start", "without a floor and a ceiling nothing is adapted")
	}
	check := func(path string, low, high, start shape.Rate) {
		if _, err := a.policy(low, high, start); err != nil {
			v.sense(path, err)
		}
	}
	check(v.firstGiven("adapt.min", "adapt.max", "adapt.start"), a.Min, a.Max, a.Start)
	for _, prefix := range slices.Sorted(maps.Keys(v.Limits.Paths)) {
		l := v.Limits.Paths[prefix]
		check("limits.paths["+prefix+"]", l.AdaptMin, l.AdaptMax, 0)
	}
	if len(a.Tune) > 0 { // also while nothing is adapted
		check("adapt.tune", 1, 2, 0)
	}
}

// Profile is a set of limits that hold while an alert fires.
type Profile struct {
	// Global is the rate of everything together meanwhile. Default: unlimited, which
	// changes nothing.
	Global shape.Rate `key:"global"`
	// Client is the rate of each client, also of those with a limit of their own.
	// Default: unlimited, which changes nothing.
	Client shape.Rate `key:"client"`
	// Connection is the rate of each connection. Default: unlimited, which changes nothing.
	Connection shape.Rate `key:"connection"`
	// Match are the labels that an alert must carry, with their values:
	// {alertname: HighErrorRate}. At least one.
	Match map[string]string `key:"match" required:"yes"`
	// Forget is for how long an alert counts as firing that is not heard of any more, in
	// case that its end is lost. Alertmanager repeats itself every repeat_interval.
	// Default: 0s, which stands for 24h.
	Forget time.Duration `key:"forget"`
}

// matchPrefix begins the keys of labels in a profile as one line.
const matchPrefix = "match."

// escape keeps the commas of values apart from those between values.
var (
	escape   = strings.NewReplacer("%", "%25", ",", "%2C", "\n", "%0A")
	unescape = strings.NewReplacer("%2C", ",", "%0A", "\n", "%25", "%")
)

// profileParts are the keys besides the labels.
var profileParts = slices.DeleteFunc(keysOf(reflect.TypeFor[Profile]()), func(key string) bool { return key == "match" })

// String returns what Set reads.
func (p Profile) String() string {
	parts := partTexts(reflect.ValueOf(p), profileParts)
	for _, label := range slices.Sorted(maps.Keys(p.Match)) {
		parts = append(parts, matchPrefix+label+"="+escape.Replace(p.Match[label]))
	}
	return strings.Join(parts, ",")
}

// Set reads LEVEL=RATE,...,match.LABEL=VALUE,...; commas in values are %2C.
func (p *Profile) Set(s string) error {
	var out Profile
	err := eachPart(strings.Split(s, ","), func(key, value string) error {
		value = unescape.Replace(value)
		if label, ok := strings.CutPrefix(key, matchPrefix); ok {
			if out.Match == nil {
				out.Match = make(map[string]string)
			}
			out.Match[label] = value
			return nil
		}
		return setPart(reflect.ValueOf(&out).Elem(), profileParts, key, value, matchPrefix+"LABEL")
	})
	if err == nil {
		*p = out
	}
	return err
}

// Caps returns the rates of a profile as package shape has them.
func (p *Profile) Caps() shape.Caps {
	return shape.Caps{Global: p.Global, Client: p.Client, Connection: p.Connection}
}
