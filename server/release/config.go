package release

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config says which versions a release has, and how the canary gets its clients.
type Config struct {
	// Stable must be there. Without a Canary everybody gets it.
	Stable, Canary, Previous Version
	// Steps are the shares of the canary in turn, not falling. None: nobody gets it by its share.
	Steps []Step
	// Subject is who a client is: the first of these that a request has. Default: the user, then the
	// address.
	Subject []Subject
}

// Step is a share of the canary.
type Step struct {
	Weight float64 // of the clients, from 0 to 1
	// Hold is how long it stays at least; 0: until somebody promotes the release.
	Hold time.Duration
}

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
