package release

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Phase is how a release stands.
type Phase string

const (
	Progressing Phase = "progressing" // its steps go on
	Paused      Phase = "paused"      // it stays where a person has left it
	Complete    Phase = "complete"    // there is no step after this one
	RolledBack  Phase = "rolled-back" // nobody gets the canary, until a person acts
)

// Phases are all of them.
var Phases = []Phase{Progressing, Paused, Complete, RolledBack}

// Saved is what of a State outlives the process.
type Saved struct {
	Versions [NumVersions]Version `json:"versions"` // of which it is the state
	Phase    Phase                `json:"phase"`
	Step     int                  `json:"step"`   // from 0
	Weight   float64              `json:"weight"` // from 0 to 1
	Elapsed  time.Duration        `json:"elapsed"`
	Seen     uint64               `json:"responses"` // of the canary in this step
	Why      string               `json:"why,omitempty"`
}

// State is how far a release is. The releases of one configuration after another have the same State
// as long as their versions are the same. It is safe for concurrent use.
type State struct {
	split atomic.Pointer[split]

	// Overridden, Held and Tagged are the requests that had another version than by their share: by
	// an override, by what they had had before, by their tag.
	Overridden, Held, Tagged atomic.Uint64

	mu      sync.Mutex
	cfg     *Config // whose steps count
	saved   Saved
	base    uint64 // responses of the canary when the step began, less those seen by earlier processes
	last    int64  // monotonic ns of the last Tick; 0: none
	history history
}

// NewState returns the state of a release that begins.
func NewState(c *Config) *State {
	s := &State{saved: Saved{Versions: c.Versions()}}
	s.split.Store(&split{})
	s.cfg = c
	s.enter(0, 0)
	return s
}

// Restore goes on where another process has left a release of the same versions, and reports whether
// it is one.
func (s *State) Restore(was *Saved) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was.Versions != s.saved.Versions || was.Step < 0 || was.Weight < 0 || was.Weight > 1 || !slices.Contains(Phases, was.Phase) {
		return false
	}
	s.saved, s.base = *was, -was.Seen
	if n := len(s.history.samples); n > 0 {
		s.base += s.history.samples[n-1].counts[Canary].Responses
	}
	s.divide(was.Weight, 0)
	if was.Phase == RolledBack {
		s.rest()
	}
	s.follow(was)
	return true
}

// follow goes on by the steps of this configuration, which may be others than those of the one before.
func (s *State) follow(was *Saved) {
	steps := s.cfg.Steps
	if was.Step >= len(steps) || steps[was.Step].Weight != was.Weight {
		s.saved.Step, s.saved.Elapsed = s.nearest(was.Weight), 0
	}
	if was.Phase == RolledBack || was.Phase == Paused {
		return
	}
	if steps[s.saved.Step].Weight != was.Weight {
		s.enter(s.saved.Step, 0)
		return
	}
	s.saved.Phase = s.phaseAt(s.saved.Step)
}

// Saved returns what is to outlive the process.
func (s *State) Saved() Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved
}

// Weight returns the share of the canary, from 0 to 1.
func (s *State) Weight() float64 { return float64(s.split.Load().canary) / whole }

// Now returns the step at which the release is.
func (s *State) Now() Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Steps[s.saved.Step]
}

// nearest returns the step whose weight is the nearest to one.
func (s *State) nearest(weight float64) (step int) {
	for i, one := range s.cfg.Steps {
		if math.Abs(one.Weight-weight) < math.Abs(s.cfg.Steps[step].Weight-weight) {
			step = i
		}
	}
	return step
}

// enter begins a step.
func (s *State) enter(step int, now int64) {
	s.saved.Step, s.saved.Phase, s.saved.Why = step, s.phaseAt(step), ""
	s.weigh(s.cfg.Steps[step].Weight, now)
}

// phaseAt returns the phase of a step that goes on by itself.
func (s *State) phaseAt(step int) Phase {
	if step == len(s.cfg.Steps)-1 {
		return Complete
	}
	return Progressing
}

// weigh gives the canary another share, from which on everything is counted anew.
func (s *State) weigh(weight float64, now int64) {
	s.saved.Weight, s.saved.Elapsed, s.saved.Seen, s.base = weight, 0, 0, 0
	if n := len(s.history.samples); n > 0 {
		last := s.history.samples[n-1]
		s.base = last.counts[Canary].Responses
		s.history.restart(&last)
	}
	s.divide(weight, now)
}

// Adopt goes on by another configuration of the same versions: an edited schedule, at the step whose
// weight is the nearest.
func (s *State) Adopt(c *Config, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := slices.Equal(s.cfg.Steps, c.Steps)
	s.cfg = c
	if same {
		return
	}
	step := s.nearest(s.saved.Weight)
	switch {
	case s.saved.Phase == Progressing, s.saved.Phase == Complete:
		elapsed, same := s.saved.Elapsed, c.Steps[step].Weight == s.saved.Weight
		s.enter(step, now)
		if same {
			s.saved.Elapsed = elapsed
		}
	default:
		s.saved.Step = step
	}
}

// Change is what has happened to a release.
type Change struct {
	From, To float64 // the weight
	Phase    Phase
	Why      string // empty: its step was passed
}

// tickMost bounds what a tick adds to the time that a step has held: nobody was served while the machine
// slept.
const tickMost = 10 * time.Second

// Tick looks at what was counted until now (monotonic ns), and returns what that has changed; nil:
// nothing. lost says why the files of the canary cannot be had; nil: they can.
func (s *State) Tick(now int64, counts *[NumVersions]Counts, lost error) *Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := sample{now, *counts}
	if s.last == 0 {
		s.base += counts[Canary].Responses
		s.history.restart(&at)
	}
	passed := time.Duration(min(max(now-s.last, 0), int64(tickMost)))
	if s.last == 0 {
		passed = 0
	}
	s.last = now
	s.history.add(&at, s.cfg.Rollback.Window) // while it rests, too: what follows is compared from then on
	if s.saved.Phase == RolledBack || s.saved.Weight == 0 && s.saved.Phase == Complete {
		return nil
	}
	s.saved.Seen = counts[Canary].Responses - s.base
	why := ""
	if lost != nil {
		why = lost.Error()
	} else if s.saved.Weight > 0 {
		why = s.history.judge(&s.cfg.Rollback)
	}
	step := s.cfg.Steps[s.saved.Step]
	switch {
	case why != "":
		return s.rollBack(why, now)
	case s.saved.Phase != Progressing:
		return nil
	}
	s.saved.Elapsed += passed
	if step.Hold == 0 || s.saved.Elapsed < step.Hold || s.saved.Seen < uint64(step.Responses) {
		return nil
	}
	return s.changed("", func() { s.enter(s.saved.Step+1, now) })
}

// changed makes a change and returns it.
func (s *State) changed(why string, do func()) *Change {
	from := s.saved.Weight
	do()
	s.saved.Why = why
	return &Change{from, s.saved.Weight, s.saved.Phase, why}
}

func (s *State) rollBack(why string, now int64) *Change {
	return s.changed(why, func() {
		s.weigh(0, now)
		s.saved.Phase = RolledBack
		s.rest()
	})
}

// rest lets nobody get the canary by a list either.
func (s *State) rest() {
	rested := *s.split.Load()
	rested.rested = true
	s.split.Store(&rested)
}
