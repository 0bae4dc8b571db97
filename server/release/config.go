package release

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config says which versions a release has, and how the canary gets its clients.
type Config struct {
	// Stable must be there. Without a Canary everybody gets it.
	Stable, Canary, Previous Version
	// Steps are the shares of the canary in turn, not falling. None: nobody gets it by its share.
	Steps []Step
	// Hold is how long after a change of the share resumes without a tag get the version that they
	// have begun with. Default: 1 h. Below 0: they do not.
	Hold     time.Duration
	Rollback Rollback
	Override Override
	// Subject is who a client is: the first of these that a request has. Default: the user, then the
	// address.
	Subject []Subject
}

// Step is a share of the canary.
type Step struct {
	Weight float64 // of the clients, from 0 to 1
	// Hold is how long it stays at least; 0: until somebody promotes the release.
	Hold time.Duration
	// Responses are how many the canary must have had before the next step. Default: 200. Below 0: none.
	Responses int
}

// leastResponses is the default of Step.Responses.
const leastResponses = 200

// ConfigError is what is wrong with a Config.
type ConfigError struct {
	Key string // of the value: canary.name, steps[1].weight
	Err error
}

func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Versions returns the versions by their index; those that there are not have no Root.
func (c *Config) Versions() [NumVersions]Version {
	return [NumVersions]Version{c.Stable, c.Canary, c.Previous}
}

// Keys are what the versions are called in a Config, by their index.
var Keys = [NumVersions]string{"stable", "canary", "previous"}

// WithDefaults returns c with names for versions without one, and a first step.
func (c Config) WithDefaults() Config {
	for i, v := range []*Version{&c.Stable, &c.Canary, &c.Previous} {
		if v.Name == "" {
			v.Name = Keys[i]
		}
	}
	if len(c.Steps) == 0 || c.Canary.Root == "" {
		c.Steps = []Step{{}}
	}
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		c.Steps[i].Responses = max(0, cmp.Or(c.Steps[i].Responses, leastResponses))
	}
	c.Hold, c.Rollback = cmp.Or(c.Hold, time.Hour), c.Rollback.withDefaults()
	return c
}

// Check returns everything that is wrong with c, each a ConfigError.
func (c *Config) Check() (faults []error) {
	fault := func(key, format string, args ...any) {
		faults = append(faults, &ConfigError{key, fmt.Errorf(format, args...)})
	}
	if c.Stable.Root == "" {
		faults = append(faults, &ConfigError{"stable", errors.New("the stable version is missing: {root: DIR}")})
	}
	list := c.Versions()
	for i, v := range list {
		for j, other := range list[:i] {
			switch at := Keys[i]; {
			case v.Root == "" || other.Root == "":
			case v.Name == other.Name:
				fault(at+".name", "%q is the name of the %s version already", v.Name, Keys[j])
			case v.Root == other.Root:
				fault(at+".root", "%s is the root of the %s version already", v.Root, Keys[j])
			}
		}
		if strings.ContainsFunc(v.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' || r == ';' }) {
			fault(Keys[i]+".name", "%q is not a name of printable ASCII characters without spaces", v.Name)
		}
	}
	for i, s := range c.Steps {
		if s.Hold > 0 && i == len(c.Steps)-1 {
			fault(fmt.Sprintf("steps[%d].hold", i), "%v: nothing follows the last step", s.Hold)
		}
		key := fmt.Sprintf("steps[%d]", i)
		switch {
		case !(s.Weight >= 0 && s.Weight <= 1):
			fault(key+".weight", "%v%%: a weight is from 0%% to 100%%", s.Weight*100)
		case i > 0 && s.Weight < c.Steps[i-1].Weight:
			fault(key+".weight", "%v%% is less than the %v%% before: steps do not fall", s.Weight*100, c.Steps[i-1].Weight*100)
		}
		if s.Hold < 0 {
			fault(key+".hold", "%v: must not be negative", s.Hold)
		}
	}
	if w := c.Rollback.Window; w < leastWindow || w > maxWindow {
		fault("rollback.window", "%v: a window is from %v to %v", w, leastWindow, maxWindow)
	}
	if e := c.Rollback.Errors; e > 1 {
		fault("rollback.errors", "%v%%: a part is from 0%% to 100%%", e*100)
	}
	if n := c.Rollback.Responses; n < 0 {
		fault("rollback.responses", "%d: must not be negative", n)
	}
	fields := 0
	for i, s := range c.Subject {
		if s.Kind >= ByHeader && s.Name == "" {
			fault(fmt.Sprintf("subject[%d]", i), "the name is missing")
		}
		if s.Kind >= ByHeader {
			fields++
		}
	}
	if fields > MaxFields/2 {
		fault("subject", "at most %d fields and cookies", MaxFields/2)
	}
	return faults
}

// Bounds of Rollback.Window, of which each second is kept.
const (
	leastWindow = time.Second
	maxWindow   = 5 * time.Minute
)

// Override says who gets a version whatever its share is. The zero value does not.
type Override struct {
	// Header, Cookie and Query are names of a field, a cookie and a parameter whose value is the name
	// of a version, or stable, canary, previous.
	Header, Cookie, Query string
	// Allow are the clients that may choose so. Default: all.
	Allow []netip.Prefix
	// Users and Networks get the canary, unless it was rolled back.
	Users    []string
	Networks []netip.Prefix
}

func (o *Override) any() bool {
	return o.Header != "" || o.Cookie != "" || o.Query != "" || len(o.Users)+len(o.Networks) > 0
}

// choose returns the version that a request has chosen, or that its client has.
func (o *Override) choose(r *Release, s *split, q *Request) (Index, bool) {
	if len(o.Allow) == 0 || holds(o.Allow, q.Client) {
		for _, v := range [][]byte{r.value(q, o.Header), r.cookie(q, o.Cookie), parameter(q.Query, o.Query)} {
			if i, ok := r.named(v); ok {
				return i, true
			}
		}
	}
	if s.rested || r.Canary.Root == "" {
		return 0, false
	}
	return Canary, holds(o.Networks, q.Client) || len(q.User) > 0 && slices.ContainsFunc(o.Users, func(u string) bool { return u == string(q.User) })
}

// named returns the version of a name.
func (r *Release) named(name []byte) (Index, bool) {
	if len(name) == 0 {
		return 0, false
	}
	for i, v := range r.Versions() {
		if v.Root != "" && (string(name) == v.Name || string(name) == Keys[i]) {
			return Index(i), true
		}
	}
	return 0, false
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parameter returns the value of a parameter as it stands in a query; nil: there is none of the name.
func parameter(query []byte, name string) []byte {
	for len(query) > 0 && name != "" {
		var one []byte
		one, query, _ = bytes.Cut(query, []byte{'&'})
		if key, value, ok := bytes.Cut(one, []byte{'='}); ok && string(key) == name {
			return value
		}
	}
	return nil
}
