package release

import "errors"

// Errors of what a person asks for.
var (
	ErrComplete   = errors.New("it is at its last step")
	ErrRolledBack = errors.New("it was rolled back: resume begins it anew")
	ErrNotPaused  = errors.New("it is not paused")
	ErrAction     = errors.New("one of promote, finish, pause, resume and rollback is needed")
)

// Action is what a person may do with a release.
type Action string

const (
	Promote  Action = "promote"  // to the next step
	Finish   Action = "finish"   // to the last step
	Pause    Action = "pause"    // it stays where it is; a rollback is still possible
	Resume   Action = "resume"   // its steps go on; after a rollback from the first
	Withdraw Action = "rollback" // nobody gets the canary any more
)

// Do does what a person asks for, who says why.
func (s *State) Do(a Action, why string, now int64) (*Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	phase, last := s.saved.Phase, len(s.cfg.Steps)-1
	switch a {
	case Promote, Finish:
		to := last
		if a == Promote {
			to = s.saved.Step + 1
		}
		if phase == RolledBack {
			return nil, ErrRolledBack
		} else if s.saved.Step == last && s.saved.Weight == s.cfg.Steps[last].Weight {
			return nil, ErrComplete
		}
		return s.changed(why, func() { s.enter(min(to, last), now) }), nil
	case Pause:
		if phase == RolledBack {
			return nil, ErrRolledBack
		}
		return s.changed(why, func() { s.saved.Phase = Paused }), nil
	case Resume:
		if phase == RolledBack {
			return s.changed(why, func() { s.enter(0, now) }), nil
		} else if phase != Paused {
			return nil, ErrNotPaused
		}
		return s.changed(why, func() { s.enter(s.nearest(s.saved.Weight), now) }), nil
	}
	if a != Withdraw {
		return nil, ErrAction
	}
	return s.rollBack(why, now), nil
}

// Weigh gives the canary a share by hand, at which it stays.
func (s *State) Weigh(weight float64, why string, now int64) *Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed(why, func() {
		s.weigh(weight, now)
		s.saved.Phase, s.saved.Step = Paused, s.nearest(weight)
	})
}
