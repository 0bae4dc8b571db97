package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
)

// knob is a threshold of adaptation: exactly one of these is what it sets.
type knob struct {
	part  func(*adapt.Config) *float64
	count func(*adapt.Config) *int
	time  func(*adapt.Config) *time.Duration
}

// knobs are what adapt.tune has names for.
var knobs = map[string]knob{
	"raise":          {part: func(c *adapt.Config) *float64 { return &c.Slow.Raise }},
	"lower":          {part: func(c *adapt.Config) *float64 { return &c.Slow.Lower }},
	"raise_every":    {time: func(c *adapt.Config) *time.Duration { return &c.Slow.RaiseEvery }},
	"lower_every":    {time: func(c *adapt.Config) *time.Duration { return &c.Slow.LowerEvery }},
	"under_use":      {part: func(c *adapt.Config) *float64 { return &c.Slow.UnderUse }},
	"over_estimate":  {part: func(c *adapt.Config) *float64 { return &c.Slow.OverEstimate }},
	"often":          {part: func(c *adapt.Config) *float64 { return &c.Slow.Often }},
	"soft_threshold": {part: func(c *adapt.Config) *float64 { return &c.Slow.SoftThreshold }},
	"linear":         {part: func(c *adapt.Config) *float64 { return &c.Slow.Linear }},
	"headroom":       {part: func(c *adapt.Config) *float64 { return &c.Slow.Headroom }},
	"queue_delay":    {time: func(c *adapt.Config) *time.Duration { return &c.Slow.QueueDelay }},
	"max_hold_off":   {time: func(c *adapt.Config) *time.Duration { return &c.Slow.MaxHoldOff }},

	"loss":           {part: func(c *adapt.Config) *float64 { return &c.Fast.Loss }},
	"loss_cut":       {part: func(c *adapt.Config) *float64 { return &c.Fast.LossCut }},
	"max_background": {part: func(c *adapt.Config) *float64 { return &c.Fast.MaxBackground }},
	"ecn_cut":        {part: func(c *adapt.Config) *float64 { return &c.Fast.ECNCut }},
	"ecn_in_row":     {count: func(c *adapt.Config) *int { return &c.Fast.ECNInRow }},

	"breaker_loss":         {part: func(c *adapt.Config) *float64 { return &c.Breaker.Loss }},
	"breaker_sample":       {time: func(c *adapt.Config) *time.Duration { return &c.Breaker.Sample }},
	"breaker_samples":      {count: func(c *adapt.Config) *int { return &c.Breaker.Samples }},
	"breaker_cut":          {part: func(c *adapt.Config) *float64 { return &c.Breaker.Cut }},
	"breaker_quiet":        {time: func(c *adapt.Config) *time.Duration { return &c.Breaker.Quiet }},
	"breaker_trips":        {count: func(c *adapt.Config) *int { return &c.Breaker.Trips }},
	"breaker_memory":       {time: func(c *adapt.Config) *time.Duration { return &c.Breaker.Memory }},
	"breaker_freeze":       {time: func(c *adapt.Config) *time.Duration { return &c.Breaker.Freeze }},
	"breaker_min_segments": {count: func(c *adapt.Config) *int { return &c.Breaker.MinSegments }},
}

// set reads a value. A value of 0 would stand for the default.
func (k knob) set(c *adapt.Config, s string) (err error) {
	zero := false
	switch {
	case k.part != nil:
		var v float64
		v, err = strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is not a number like 0.05", s)
		}
		*k.part(c), zero = v, v == 0
	case k.count != nil:
		*k.count(c), err = parseInt(s)
		zero = *k.count(c) == 0
	default:
		err = setDuration(k.time(c), s)
		zero = *k.time(c) == 0
	}
	if err == nil && zero {
		return errors.New("it must not be 0")
	}
	return err
}

// policy returns what adaptation between two rates is configured to, nil if they are
// not given.
func (a *Adapt) policy(low, high, start rate.Rate) (*adapt.Policy, error) {
	if low == rate.Unlimited && high == rate.Unlimited {
		return nil, nil
	}
	switch {
	case low == rate.Unlimited:
		return nil, errors.New("a ceiling without a floor: both are needed")
	case high == rate.Unlimited:
		return nil, errors.New("a floor without a ceiling: both are needed")
	case low == rate.Paused || high == rate.Paused || start == rate.Paused:
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

// Adaptation returns what the engine finds rates by. c must be valid.
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

// adapts checks what is to be found, and by which thresholds.
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
	check := func(path string, low, high, start rate.Rate) {
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
	Global rate.Rate `key:"global"`
	// Client is the rate of each client, also of those with a limit of their own.
	// Default: unlimited, which changes nothing.
	Client rate.Rate `key:"client"`
	// Connection is the rate of each connection. Default: unlimited, which changes nothing.
	Connection rate.Rate `key:"connection"`
	// Match are the labels that an alert must carry, with their values:
	// {alertname: HighErrorRate}. At least one.
	Match map[string]string `key:"match" required:"yes"`
	// Forget is for how long an alert counts as firing that is not heard of any more, in
	// case that its end is lost. Alertmanager repeats itself every repeat_interval.
	// Default: 0s, which stands for 24h.
	Forget time.Duration `key:"forget"`
}

// matchPrefix is what labels begin with in a profile as one line.
const matchPrefix = "match."

// escape keeps apart what is in a value from what is between them.
var (
	escape   = strings.NewReplacer("%", "%25", ",", "%2C", "\n", "%0A")
	unescape = strings.NewReplacer("%2C", ",", "%0A", "\n", "%25", "%")
)

// String returns what Set reads.
func (p Profile) String() string {
	var parts []string
	add := func(key, value string) { parts = append(parts, key+"="+escape.Replace(value)) }
	for _, l := range p.rates() {
		if *l.rate != 0 {
			add(l.key, l.rate.String())
		}
	}
	if p.Forget != 0 {
		add("forget", durationText(p.Forget))
	}
	for _, label := range slices.Sorted(maps.Keys(p.Match)) {
		add(matchPrefix+label, p.Match[label])
	}
	return strings.Join(parts, ",")
}

type profileRate struct {
	key  string
	rate *rate.Rate
}

func (p *Profile) rates() []profileRate {
	return []profileRate{{"global", &p.Global}, {"client", &p.Client}, {"connection", &p.Connection}}
}

// Set reads LEVEL=RATE,...,match.LABEL=VALUE,...; commas in values are %2C.
func (p *Profile) Set(s string) error {
	var out Profile
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := pair(strings.TrimSpace(part))
		switch {
		case !ok:
			return fmt.Errorf("%q is not KEY=VALUE", part)
		case seen[key]:
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := out.set(key, unescape.Replace(value)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	*p = out
	return nil
}

func (p *Profile) set(key, value string) (err error) {
	if label, ok := strings.CutPrefix(key, matchPrefix); ok {
		if p.Match == nil {
			p.Match = make(map[string]string)
		}
		p.Match[label] = value
		return nil
	}
	if key == "forget" {
		return setDuration(&p.Forget, value)
	}
	for _, l := range p.rates() {
		if l.key == key {
			*l.rate, err = rate.Parse(value)
			return err
		}
	}
	keys := []string{"global", "client", "connection", "forget", matchPrefix + "LABEL"}
	return errors.New("not one of " + strings.Join(keys, ", ") + didYouMean(key, keys[:4]))
}

// Caps returns the rates of a profile as package shape has them.
func (p *Profile) Caps() shape.Caps {
	return shape.Caps{Global: p.Global, Client: p.Client, Connection: p.Connection}
}
