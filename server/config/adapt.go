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

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
)

// setThreshold reads a threshold of adaptation, which must not be 0: that stands for the default.
func setThreshold(t adapt.Threshold, s string) (err error) {
	switch p := t.At.(type) {
	case *float64:
		if *p, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
			return fmt.Errorf("%q is not a number like 0.05", s)
		}
	case *int:
		*p, err = parseInt(s)
	case *time.Duration:
		err = setDuration(p, s)
	}
	if err == nil && reflect.ValueOf(t.At).Elem().IsZero() {
		return errors.New("it must not be 0")
	}
	return err
}

// policy returns the policy of adaptation between two rates, nil if they are not given.
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
	c := adapt.Config{Min: int64(low), Max: int64(high), Start: int64(start), SampleEvery: measure.SampleEvery}
	for _, t := range c.Thresholds() {
		if value, ok := a.Tune[t.Name]; ok {
			if err := setThreshold(t, value); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
		}
	}
	return adapt.NewPolicy(c)
}

// Adaptation returns the configuration by which the engine finds rates. c must be valid.
func (c *Config) Adaptation() measure.Config {
	var out measure.Config
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
	known, good := make(map[string]adapt.Threshold), true
	for _, t := range new(adapt.Config).Thresholds() {
		known[t.Name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(a.Tune)) {
		path := "adapt.tune[" + name + "]"
		t, ok := known[name]
		if !ok {
			v.form(path, "there is no such threshold%s", DidYouMean(name, slices.Sorted(maps.Keys(known))))
			good = false
		} else if err := setThreshold(t, a.Tune[name]); err != nil {
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
