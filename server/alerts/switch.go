package alerts

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fserve/fserve/engine/shape"
)

// Profile is a set of limits that holds while a matching alert fires.
type Profile struct {
	Name   string
	Match  map[string]string // labels that the alert must carry
	Caps   shape.Caps
	Forget time.Duration // an alert that was not heard of for so long counts as ended
}

func (p *Profile) matches(labels map[string]string) bool {
	for name, value := range p.Match {
		if v, ok := labels[name]; !ok || v != value {
			return false
		}
	}
	return true
}

// Switch knows which alerts fire, and which profiles are in force for that reason. Its
// methods are safe for concurrent use.
//
// Messages may be repeated, and may come out of order. The labels identify an alert, the
// time of its begin an episode of it. A message about an older episode than the known one
// changes nothing.
type Switch struct {
	apply func(caps shape.Caps, profiles []string) error
	log   *slog.Logger

	mu       sync.Mutex
	profiles []Profile
	known    map[string]*episode // by identity
	active   []string            // names of profiles in force, in order
	caps     shape.Caps
	timer    *time.Timer
	stats    SwitchStats
	closed   bool
}

// episode is the last known episode of an alert.
type episode struct {
	labels map[string]string
	start  time.Time
	end    time.Time // zero: it fires
	heard  time.Time
}

func (e *episode) firing() bool { return e.end.IsZero() }

// remember is for how long the end of an episode is known, so that a late message from
// before the end does not bring the alert back.
const remember = time.Hour

// SwitchStats counts what a Switch was told.
type SwitchStats struct {
	Messages uint64
	Fired    uint64 // episodes that began
	Ended    uint64 // episodes that ended
	Stale    uint64 // alerts that were repeated or came too late
	Refused  uint64 // alerts that found no room
	Lost     uint64 // episodes that were not heard of any more
}

// NewSwitch returns a Switch without profiles. apply brings caps into force, those of the
// profiles that are named; it is called with a lock held and must not call the Switch.
func NewSwitch(apply func(caps shape.Caps, profiles []string) error, log *slog.Logger) *Switch {
	s := &Switch{apply: apply, log: log, known: make(map[string]*episode)}
	s.timer = time.AfterFunc(time.Hour, s.expire)
	s.timer.Stop()
	return s
}

// Close ends the Switch. The profiles in force stay, since the server ends, too.
func (s *Switch) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}

// SetProfiles replaces the profiles. Alerts that are known count for the new ones.
func (s *Switch) SetProfiles(list []Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.profiles = slices.Clone(list)
	s.review("profiles changed")
}

// Receive takes a posted message, and returns the names of the profiles that are in
// force then.
func (s *Switch) Receive(m *Message, who string) []string {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Messages++
	for i := range m.Alerts {
		s.hear(&m.Alerts[i], now)
	}
	s.review(who)
	return slices.Clone(s.active)
}

// hear updates the known episodes by one alert.
func (s *Switch) hear(a *Alert, now time.Time) {
	id := identity(a.Labels)
	e := s.known[id]
	if e == nil {
		if len(s.known) >= maxAlerts && !s.drop() {
			s.stats.Refused++
			s.log.Warn("alert not taken: too many fire", "alert", a.Labels[NameLabel])
			return
		}
		e = &episode{labels: a.Labels, start: a.StartsAt, heard: now}
		s.known[id] = e
		s.stats.Fired++
		if a.Status == Resolved {
			e.end = a.EndsAt
			s.stats.Ended++
		}
		return
	}
	switch {
	case a.StartsAt.Before(e.start):
		s.stats.Stale++
	case a.Status == Firing && e.firing():
		e.start, e.heard = a.StartsAt, now
		s.stats.Stale++
	case a.Status == Firing && a.StartsAt.Before(e.end):
		s.stats.Stale++
	case a.Status == Firing:
		e.start, e.end, e.heard = a.StartsAt, time.Time{}, now
		s.stats.Fired++
	case e.firing():
		e.start, e.end, e.heard = a.StartsAt, a.EndsAt, now
		s.stats.Ended++
	default:
		e.start, e.heard = a.StartsAt, now
		if a.EndsAt.After(e.end) {
			e.end = a.EndsAt
		}
		s.stats.Stale++
	}
}

// drop forgets the episode that ended first. It reports false if all fire.
func (s *Switch) drop() bool {
	first := ""
	for id, e := range s.known {
		if !e.firing() && (first == "" || e.heard.Before(s.known[first].heard)) {
			first = id
		}
	}
	if first == "" {
		return false
	}
	delete(s.known, first)
	return true
}

// review puts the profiles into force that match a firing alert, and no others.
func (s *Switch) review(why string) {
	now := time.Now()
	next := time.Duration(-1)
	later := func(d time.Duration) {
		if next < 0 || d < next {
			next = d
		}
	}
	active := make(map[string]bool)
	for id, e := range s.known {
		left := s.left(e, now)
		if left <= 0 {
			if e.firing() {
				s.stats.Lost++
				s.log.Warn("alert is not heard of any more: it counts as ended", "alert", e.labels[NameLabel])
			}
			delete(s.known, id)
			continue
		}
		later(left)
		for i := range s.profiles {
			if p := &s.profiles[i]; e.firing() && p.matches(e.labels) && now.Sub(e.heard) < p.Forget {
				active[p.Name] = true
			}
		}
	}
	s.enforce(active, why)
	if next >= 0 && !s.closed {
		s.timer.Reset(next)
	}
}

// left returns for how long an episode does not change by itself. If that is not
// positive, the episode is to be forgotten.
func (s *Switch) left(e *episode, now time.Time) time.Duration {
	if !e.firing() {
		return e.heard.Add(remember).Sub(now)
	}
	// For the profile that forgets last it must be known; one that forgets
	// earlier is looked at then.
	longest, soonest := time.Duration(0), time.Duration(-1)
	for i := range s.profiles {
		p := &s.profiles[i]
		if !p.matches(e.labels) {
			continue
		}
		left := e.heard.Add(p.Forget).Sub(now)
		longest = max(longest, left)
		if left > 0 && (soonest < 0 || left < soonest) {
			soonest = left
		}
	}
	if longest == 0 && soonest < 0 { // no profile: for those that may come
		return e.heard.Add(24 * time.Hour).Sub(now)
	}
	return soonest
}

// enforce makes exactly the named profiles hold.
func (s *Switch) enforce(active map[string]bool, why string) {
	var caps shape.Caps
	var names []string
	for i := range s.profiles {
		if p := &s.profiles[i]; active[p.Name] {
			names = append(names, p.Name)
			caps = caps.Lower(p.Caps)
		}
	}
	if caps != s.caps || !slices.Equal(names, s.active) {
		if err := s.apply(caps, names); err != nil {
			s.log.Error("profiles not changed", "err", err)
			return
		}
	}
	if !slices.Equal(names, s.active) {
		s.log.Warn("profiles in force", "was", s.active, "is", names, "who", why)
	}
	s.active, s.caps = names, caps
}

// expire forgets alerts that were not heard of for long.
func (s *Switch) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.review("an alert was not heard of any more")
	}
}

// SwitchState is what is in force.
type SwitchState struct {
	Profiles []ProfileState
	Caps     shape.Caps
	Firing   int // alerts
	SwitchStats
}

// ProfileState is a profile and whether it is in force.
type ProfileState struct {
	Profile
	Active bool
}

// State returns what is in force.
func (s *Switch) State() SwitchState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SwitchState{Caps: s.caps, SwitchStats: s.stats}
	for _, e := range s.known {
		if e.firing() {
			st.Firing++
		}
	}
	for _, p := range s.profiles {
		st.Profiles = append(st.Profiles, ProfileState{p, slices.Contains(s.active, p.Name)})
	}
	return st
}

// Known is an alert that a Switch knows of, for Learn of another one.
type Known struct {
	Labels            map[string]string
	Start, End, Heard time.Time // End is zero while it fires
}

// Known returns the alerts that are known.
func (s *Switch) Known() []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Known, 0, len(s.known))
	for _, e := range s.known {
		list = append(list, Known{e.labels, e.start, e.end, e.heard})
	}
	return list
}

// Learn takes over what another Switch knows, where it has heard of an alert later, and
// puts the profiles into force that this means.
func (s *Switch) Learn(list []Known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range list[:min(len(list), maxAlerts)] {
		id := identity(k.Labels)
		if e := s.known[id]; e == nil || e.heard.Before(k.Heard) {
			s.known[id] = &episode{k.Labels, k.Start, k.End, k.Heard}
		}
	}
	s.review("predecessor")
}
