// Package breaker decides which requests a server that has too much to do refuses: those of the lowest
// tiers first, and more of them the longer it lasts. It is pure: time and what was measured are
// arguments. Responses under way are none of its business.
package breaker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what is too much. The zero value is never.
type Config struct {
	// LoopLag is how late the slowest event loop may be. 0: it is not looked at.
	LoopLag time.Duration
	// Descriptors and Memory are which parts, of 1, of those that the process may have may be in use. 0:
	// they are not looked at.
	Descriptors, Memory float64
	// Profiles are profiles of limits that refuse as if there were too much to do while they are in force.
	Profiles []string
}

// Watches reports whether there is anything to look at.
func (c *Config) Watches() bool {
	return c.LoopLag > 0 || c.Descriptors > 0 || c.Memory > 0 || len(c.Profiles) > 0
}

// Validate reports what is wrong with a Config.
func (c *Config) Validate() error {
	if c.LoopLag < 0 {
		return errors.New("the lag of a loop is negative")
	}
	for name, part := range map[string]float64{"descriptors": c.Descriptors, "memory": c.Memory} {
		if part < 0 || part > 1 {
			return fmt.Errorf("%s: %v is no part between 0 and 1", name, part)
		}
	}
	return nil
}

// Readings are what was measured at a time.
type Readings struct {
	LoopLag             time.Duration
	Descriptors, Memory float64 // parts in use; 0: not known
}

// State is that of a Breaker.
type State uint8

const (
	Closed    State  = iota // nobody is refused
	Open                    // tiers are refused
	HalfOpen                // one in ten of them is let in, to see whether that is borne
	NumStates = iota        // how many there are
)

func (s State) String() string { return [...]string{"closed", "open", "half-open"}[s] }

const (
	// Every is how often a breaker wants readings.
	Every = 100 * time.Millisecond
	// trip is how many readings in a row have to be over.
	trip = 3
	// step is after how long one more tier is refused, if that is still so, and rest for how long it must not
	// be so before fewer are.
	step = time.Second
	rest = 5 * time.Second
	// ofHighest is of how many requests of the highest tier one is answered when that is refused too, and
	// ofRefused likewise when half-open.
	ofHighest = 5
	ofRefused = 10
)

// Breaker is one of a server. It is safe for concurrent use.
type Breaker struct {
	now     atomic.Uint64 // a phase; 0: closed, or there is none
	asked   atomic.Uint64 // of those that may be let in
	refused atomic.Uint64
	until   atomic.Int64 // about when fewer are refused, in monotonic ns

	mu       sync.Mutex
	cfg      Config
	tiers    int      // how many there are, at least 1
	why      string   // the last reason to open
	high     int      // readings in a row that were over
	profiles []string // those in force
	since    int64    // when the state or the number of refused tiers has changed
	good     int64    // since when nothing is over

	order Order
}

// Set puts a Config into force, for so many tiers. What is refused meanwhile goes on.
func (b *Breaker) Set(c Config, tiers int, now int64) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg, b.tiers, b.high = c, max(1, tiers), 0
	at := b.get()
	switch {
	case b.order.Forced && at.state == Open:
		return b.put(Open, b.tiers, now, b.why)
	case !b.order.Forced && !c.Watches():
		return b.put(Closed, 0, now, "nothing is watched")
	}
	return b.put(at.state, min(at.refused, b.tiers), now, b.why)
}

// Change is one of a Breaker, for the log.
type Change struct {
	From, To State
	Refused  int // tiers, from the lowest on
	Why      string
}

// phase is a state with how many tiers there are and are refused.
type phase struct {
	state          State
	refused, tiers int
}

func (p phase) pack() uint64 {
	if p.state == Closed {
		return 0
	}
	return uint64(p.tiers)<<32 | uint64(p.refused)<<8 | uint64(p.state) //nolint:gosec // numbers of tiers
}

func (b *Breaker) get() phase {
	v := b.now.Load()
	return phase{State(v & 0xff), int(v >> 8 & 0xffffff), int(v >> 32)} //nolint:gosec // see pack
}

// put changes the state. It returns nil if that is as it was.
func (b *Breaker) put(s State, refused int, now int64, why string) *Change {
	was := b.get()
	if s == Closed {
		refused = 0
	}
	b.why = why
	b.now.Store(phase{s, refused, b.tiers}.pack())
	if s == was.state && refused == was.refused {
		return nil
	}
	b.since, b.high = now, 0
	return &Change{was.state, s, refused, why}
}

// Note takes readings, each Every.
func (b *Breaker) Note(now int64, r *Readings) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.order.Forced {
		return b.expire(now)
	}
	at := b.get()
	why := b.over(r)
	if why != "" {
		b.good = now
		b.high++
	} else {
		b.high = 0
	}
	b.until.Store(b.good + int64(rest))
	switch bad := b.high >= trip; {
	case bad && at.state != Open:
		return b.put(Open, max(1, at.refused), now, why)
	case bad && now-b.since >= int64(step):
		return b.put(Open, min(at.refused+1, b.tiers), now, why)
	case at.state == Closed || now-max(b.good, b.since) < int64(rest):
		return nil
	case at.state == Open:
		return b.put(HalfOpen, at.refused, now, "borne for a while")
	case at.refused > 1:
		return b.put(HalfOpen, at.refused-1, now, "borne for a while")
	default:
		return b.put(Closed, 0, now, "borne for a while")
	}
}

// over returns what is too much; empty: nothing is.
func (b *Breaker) over(r *Readings) string {
	c := &b.cfg
	for _, name := range b.profiles {
		if slices.Contains(c.Profiles, name) {
			return "profile " + name
		}
	}
	switch {
	case c.Descriptors > 0 && r.Descriptors > c.Descriptors:
		return fmt.Sprintf("descriptors: %.0f%%", 100*r.Descriptors)
	case c.Memory > 0 && r.Memory > c.Memory:
		return fmt.Sprintf("memory: %.0f%%", 100*r.Memory)
	case c.LoopLag > 0 && r.LoopLag > c.LoopLag:
		return fmt.Sprintf("loop lag: %v", r.LoopLag.Round(time.Millisecond))
	}
	return ""
}

// InForce says which profiles of limits are.
func (b *Breaker) InForce(profiles []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.profiles = slices.Clone(profiles)
}

// Refuses reports whether there is anybody to refuse: one load, for each request.
func (b *Breaker) Refuses() bool { return b.now.Load() != 0 }

// Admit reports whether a request is answered whose tier is the rank-th from the lowest. wait is how many
// ns later another one may be.
func (b *Breaker) Admit(rank int, now int64) (wait int64, ok bool) {
	at := b.get()
	if rank >= at.refused {
		return 0, true
	}
	one := uint64(0)
	switch {
	case at.state == HalfOpen:
		one = ofRefused
	case rank == at.tiers-1:
		one = ofHighest
	}
	if one > 0 && b.asked.Add(1)%one == 0 {
		return 0, true
	}
	b.refused.Add(1)
	return max(b.until.Load()-now, int64(time.Second)), false
}

// Refused returns how many requests were refused.
func (b *Breaker) Refused() uint64 { return b.refused.Load() }
