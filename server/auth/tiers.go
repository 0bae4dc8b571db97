package auth

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/quota"
)

// Tier is what each user of a kind gets.
type Tier struct {
	// Rate is that of a user, over all connections, in place of that of each client. Unlimited:
	// that.
	Rate rate.Rate
	// Weight is the share of a user beside others, from 1 to 1000. Default: 1.
	Weight int
	// Connections is how many responses to a user may be under way, and Requests how often a user
	// may ask; 0: no bound.
	Connections int
	Requests    admit.Rate
	// Quota is how many bytes each user may have in a day or a month; zero: there is no bound.
	Quota quota.Limit
	// Networks are those whose clients are of the tier, unless a proof says otherwise.
	Networks admit.Networks
}

// Validate reports what is wrong with a tier by itself.
func (t *Tier) Validate() error {
	if t.Connections < 0 || t.Connections > admit.MaxHeld {
		return fmt.Errorf("connections %d: from 1 to %d, or 0 for no bound", t.Connections, admit.MaxHeld)
	}
	if t.Requests != (admit.Rate{}) {
		if err := t.Requests.Validate(); err != nil {
			return err
		}
	}
	l := shape.Limit{Rate: t.Rate, Weight: t.Weight}
	return l.ValidateAt(shape.LevelClient)
}

// tier is one that is in force.
type tier struct {
	Tier
	name      string
	rank      int // among all, from the lowest
	responses *atomic.Uint64
}

// tiers are those of a configuration.
type tiers struct {
	byName   map[string]*tier
	named    []*tier // that have networks
	fallback *tier   // of who is in none; nil: none is
	lowest   *tier   // of who has one that is not known
}

// openTiers makes the tiers of a Config. What they have counted goes on.
func (m *Methods) openTiers(c *Config) (faults []Fault) {
	if len(c.Tiers) == 0 {
		if c.Tier != "" {
			faults = append(faults, Fault{"tier", fmt.Errorf("there is no tier %q", c.Tier)})
		}
		return faults
	}
	o := m.opened
	if o.responses == nil {
		o.responses = make(map[string]*atomic.Uint64)
	}
	m.tiers = &tiers{byName: make(map[string]*tier)}
	for _, name := range slices.Sorted(maps.Keys(c.Tiers)) {
		t := &tier{Tier: c.Tiers[name], name: name}
		if err := t.Validate(); err != nil {
			faults = append(faults, Fault{"tiers[" + name + "]", err})
		}
		if o.responses[name] == nil {
			o.responses[name] = new(atomic.Uint64)
		}
		t.responses = o.responses[name]
		m.tiers.byName[name] = t
		if len(t.Networks.Prefixes) > 0 || t.Networks.Unix {
			m.tiers.named = append(m.tiers.named, t)
		}
		if m.tiers.lowest == nil || t.lower(m.tiers.lowest) {
			m.tiers.lowest = t
		}
	}
	m.tiers.rank()
	if c.Tier != "" {
		if m.tiers.fallback = m.tiers.byName[c.Tier]; m.tiers.fallback == nil {
			faults = append(faults, Fault{"tier", fmt.Errorf("there is no tier %q", c.Tier)})
		}
	}
	return faults
}

// rank numbers the tiers from the lowest; those that are alike have their own numbers.
func (s *tiers) rank() {
	all := slices.SortedFunc(maps.Values(s.byName), func(a, b *tier) int {
		switch {
		case a.lower(b):
			return -1
		case b.lower(a):
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
	for i, t := range all {
		t.rank = i
	}
}

// lower reports whether a tier lets pass less than another one.
func (t *tier) lower(than *tier) bool {
	if t.Rate != than.Rate {
		return t.Rate.Below(than.Rate)
	}
	return t.connections() < than.connections()
}

func (t *tier) connections() int { return cmp.Or(t.Connections, math.MaxInt) }

// of returns the tier of a name; one that is not known is the lowest.
func (s *tiers) of(name []byte) *tier {
	if t := s.byName[string(name)]; t != nil {
		return t
	}
	return s.lowest
}

// at returns the tier of an address: that of the smallest network with it; nil: of none.
func (s *tiers) at(client netip.Addr, unix bool) *tier {
	found, best := s.fallback, -1
	for _, t := range s.named {
		if n := t.Networks.Bits(client, unix); n > best {
			found, best = t, n
		}
	}
	return found
}

// Tiered reports whether requests without a proof may be of a tier.
func (m *Methods) Tiered() bool {
	return m.tiers != nil && (m.tiers.fallback != nil || len(m.tiers.named) > 0)
}

// Anonymous makes c one who has proved nothing.
func (m *Methods) Anonymous(c *Caller, client netip.Addr, unix bool) {
	*c = Caller{link: c.link}
	c.limited(m.tiers.at(client, unix))
}

// place puts a caller into a tier: the lower of those that its proofs name, else that of its address.
func (m *Methods) place(c *Caller, a *Asked) {
	if m.tiers == nil {
		c.limited(nil)
		return
	}
	var t *tier
	for _, name := range c.said {
		if name == nil {
			continue
		}
		if of := m.tiers.of(name); t == nil || of.lower(t) {
			t = of
		}
	}
	if t == nil {
		t = m.tiers.at(a.Client, a.Unix)
	}
	c.limited(t)
}

// limited gives a caller the limits of a tier, nil: of none, as far as its proofs do not say lower
// ones.
func (c *Caller) limited(t *tier) {
	c.tier = t
	l := shape.Limit{Rate: rate.Rate(c.Rate)}
	if t != nil {
		c.Quota = t.Quota.Lower(c.Quota)
		l.Weight = t.Weight
		if c.Rate == 0 || t.Rate.Below(l.Rate) {
			l.Rate = t.Rate
		}
		if c.Connections == 0 || t.Connections > 0 && t.Connections < c.Connections {
			c.Connections = t.Connections
		}
	}
	c.limit = l
}

// Slow lowers the rate of the caller.
func (c *Caller) Slow(r rate.Rate) { c.limit.Rate = rate.Least(c.limit.Rate, r) }

// Limit returns that of the caller in place of that of each client; nil: that.
func (c *Caller) Limit() *shape.Limit {
	if c.limit == (shape.Limit{}) {
		return nil
	}
	return &c.limit
}

// Tier returns the name of the caller's tier; empty: it is in none.
func (c *Caller) Tier() string {
	if c.tier == nil {
		return ""
	}
	return c.tier.name
}

// Rank returns how many tiers are below the caller's; 0 if it is in none.
func (c *Caller) Rank() int {
	if c.tier == nil {
		return 0
	}
	return c.tier.rank
}

// Requests returns how often the caller may ask, and the name of the rule; zero: there is none.
func (c *Caller) Requests() (admit.Rate, string) {
	if c.tier == nil {
		return admit.Rate{}, ""
	}
	return c.tier.Requests, c.tier.name
}

// Count counts a response.
func (c *Caller) Count() {
	if c.tier != nil {
		c.tier.responses.Add(1)
	}
}

// Ranks returns how many ranks callers may have, at least 1.
func (m *Methods) Ranks() int {
	if m.tiers == nil {
		return 1
	}
	return max(1, len(m.tiers.byName))
}

// HasTiers reports whether there are tiers.
func (m *Methods) HasTiers() bool { return m != nil && m.tiers != nil }

// TierResponses returns the tiers with the responses that were of them.
func (m *Methods) TierResponses() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, name := range slices.Sorted(maps.Keys(m.tiers.byName)) {
			if !yield(name, m.tiers.byName[name].responses.Load()) {
				return
			}
		}
	}
}
