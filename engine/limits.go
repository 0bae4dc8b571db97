package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// openShaper makes what the loops share.
func (e *Engine) openShaper() (err error) {
	if e.cfg.Limits == nil {
		return nil
	}
	cfg := *e.cfg.Limits
	cfg.Loops, cfg.Changed = max(e.cfg.Loops, e.guestTree()+1), e.wakeLoops
	if e.cfg.Adapt != nil {
		e.adaptation = measure.New(*e.cfg.Adapt, e.cfg.OnAdapt)
	}
	e.shaper, err = shape.New(cfg)
	return err
}

// Limits returns the limits, which may be changed while responses are under way;
// they feel it at once. nil: the engine was made without.
func (e *Engine) Limits() *shape.Shaper { return e.shaper }

// LimitClient gives a client a limit of its own in place of Limits.Client, for ttl; 0: for ever. Its
// connections feel it at once, those of other servers too. It is safe for concurrent use.
func (e *Engine) LimitClient(client string, l shape.Limit, ttl time.Duration) error {
	if e.shaper == nil {
		return errors.New("engine: made without limits: Config.Limits is nil")
	}
	if ttl < 0 {
		return fmt.Errorf("engine: limit of client %s: it has ended %v ago", client, -ttl)
	}
	expires := int64(0)
	if ttl > 0 {
		expires = sys.Nanotime() + int64(ttl)
	}
	_, _, err := e.shaper.SetClient(shape.ClientID(client), l, expires)
	return err
}

// Adaptation returns what finds the rates of clients; nil: the engine was made without.
func (e *Engine) Adaptation() *measure.Adaptation { return e.adaptation }

func (e *Engine) wakeLoops() {
	e.each(func(r *loop.Runner) { r.Post(func(*loop.Loop) {}) })
	if e.guests != nil {
		e.guests.Notice()
	}
}

// guestTree returns the index of the tree of those that are not served by loops,
// -1 if there is none.
func (e *Engine) guestTree() int {
	if e.cfg.Loops > 0 && !e.cfg.Guests {
		return -1
	}
	return e.cfg.Loops
}

// LimitsReport returns what the limits are doing, of all loops together: each
// path class, and of the clients those with limits of their own and the
// busiest. It asks each loop and waits for the answers; ok is false if the
// engine was made without limits.
func (e *Engine) LimitsReport(busiest int) (r shape.Report, ok bool) {
	if e.shaper == nil {
		return r, false
	}
	e.guests.Report(&r)
	e.surveying.Lock()
	defer e.surveying.Unlock()
	for i, l := range e.started() {
		if i == len(e.surveys) {
			e.surveys = append(e.surveys, new(shape.Survey))
		}
		l.Survey(e.surveys[i], &r)
	}
	r.Keep(busiest)
	r.Clients, r.Classes = slices.Clone(r.Clients), slices.Clone(r.Classes)
	for _, s := range e.surveys {
		s.Reset()
	}
	return r, true
}
