package admin

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// change is what was changed of a node by HTTP: how its limit differs from what the
// configuration says, or bounds of the rate that is found.
type change struct {
	shape.Node
	Was   maybeLimit    // configured
	Is    maybeLimit    // now
	Ends  time.Time     // when Next holds; zero: never
	Next  maybeLimit    // of what is no client
	Steer measure.Steer // in place of the limits
}

// maybeLimit is a limit, if there is one.
type maybeLimit struct {
	shape.Limit
	There bool
}

// Changes returns what was changed by HTTP, as JSON for Inherit of a successor. configured are
// the limits of the configuration. It may be called after Close.
func (a *Admin) Changes(configured *shape.Config) ([]byte, error) {
	if a.limits.shaper == nil {
		return []byte("[]"), nil
	}
	return json.Marshal(append(a.limits.changes(configured), a.steered()...))
}

func (l *limits) changes(configured *shape.Config) []change {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, set, list := sys.Nanotime(), l.shaper.Limits(), []change{}
	was, is := configuredLimits(configured), configuredLimits(&shape.Config{Global: set.Global, Client: set.Client, Connection: set.Connection, Paths: set.Paths})
	for n := range was {
		if _, there := is[n]; !there {
			is[n] = maybeLimit{}
		}
	}
	for n, limit := range is {
		c := change{Node: n, Was: was[n], Is: limit}
		if t := l.temporary[n]; t != nil && t.set == limit.Limit {
			c.Ends, c.Next = t.ends, maybeLimit{t.base, !t.made}
		}
		if c.Was != c.Is || !c.Ends.IsZero() && c.Was != c.Next {
			list = append(list, c)
		}
	}
	for _, o := range set.Clients {
		c := change{Node: shape.Node{Level: shape.LevelClient, Name: string(o.ID)}, Is: maybeLimit{o.Limit, true}}
		if o.Expires != 0 {
			c.Ends = time.Now().Add(time.Duration(o.Expires - now))
		}
		list = append(list, c)
	}
	return list
}

// configuredLimits returns the limits of a configuration by their nodes.
func configuredLimits(c *shape.Config) map[shape.Node]maybeLimit {
	m := map[shape.Node]maybeLimit{
		{Level: shape.LevelGlobal}: {c.Global, true}, {Level: shape.LevelConnection}: {c.Connection, true}, {Level: shape.LevelClient}: {c.Client, true},
	}
	for _, p := range c.Paths {
		m[shape.Node{Level: shape.LevelPath, Name: p.Prefix}] = maybeLimit{p.Limit, true}
	}
	return m
}

// steered returns the bounds of rates that were set.
func (a *Admin) steered() (list []change) {
	ad := a.adaptation()
	if ad == nil {
		return nil
	}
	r := ad.Report(0)
	for level, states := range map[shape.Level][]measure.State{shape.LevelClient: r.Clients, shape.LevelPath: r.Paths} {
		for i := range states {
			if s := &states[i]; s.Steered {
				list = append(list, change{Node: shape.Node{Level: level, Name: s.Name}, Steer: measure.Steer{Target: s.Target, Floor: s.Min, Ceiling: s.Max}})
			}
		}
	}
	return list
}

// predecessor is who makes the changes of Inherit, for the log.
const predecessor = "predecessor"

// Inherit makes the Changes of the process before. What its configuration said
// otherwise than that of this process, configured, is as the latter says. Of several calls
// each brings what has changed since the last one.
func (a *Admin) Inherit(changes []byte, configured *shape.Config) error {
	var list []change
	if err := json.Unmarshal(changes, &list); err != nil {
		return fmt.Errorf("changes of the predecessor: %w", err)
	}
	if a.limits.shaper == nil {
		if len(list) > 0 {
			a.log.Warn("changes of the predecessor are lost: this process was made without limits", "changes", len(list))
		}
		return nil
	}
	limits, bounds := make(map[shape.Node]change, len(list)), make(map[shape.Node]measure.Steer)
	for i := range list {
		if c := &list[i]; c.Steer == (measure.Steer{}) {
			limits[c.Node] = *c
		} else {
			bounds[c.Node] = c.Steer
		}
	}
	a.limits.inherit(limits, configuredLimits(configured))
	a.inheritBounds(bounds)
	return nil
}

// inheritBounds sets bounds of rates that it has not set yet.
func (a *Admin) inheritBounds(bounds map[shape.Node]measure.Steer) {
	a.limits.mu.Lock()
	defer a.limits.mu.Unlock()
	for n, s := range bounds {
		if before := a.limits.bounds[n]; before.Floor == s.Floor && before.Ceiling == s.Ceiling {
			continue
		}
		if _, p := a.steer(predecessor, n, s); p != nil {
			a.log.Warn("bounds of the predecessor are lost", "what", n.String(), "err", p)
		}
	}
	a.limits.bounds = bounds
}

// inherit makes the changes that it has not made yet, and undoes those that are not among
// them any more.
func (l *limits) inherit(list map[shape.Node]change, configured map[shape.Node]maybeLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, c := range list {
		before, done := l.inherited[n]
		switch {
		case done && before.same(&c):
		case c.Was != configured[n]:
			l.log.Warn("limit not inherited: the configuration has changed it", "what", n.String())
		default:
			l.redo(&c)
		}
	}
	for n, c := range l.inherited {
		if _, still := list[n]; !still && c.Was == configured[n] {
			l.redo(&change{Node: n, Is: c.Was})
		}
	}
	l.inherited = list
}

// same reports whether two changes are one. That of a client knows its end to a moment only.
func (c *change) same(o *change) bool {
	a, b := *c, *o
	a.Ends, b.Ends = time.Time{}, time.Time{}
	return a == b && c.Ends.IsZero() == o.Ends.IsZero() && c.Ends.Sub(o.Ends).Abs() < time.Second
}

// redo makes a change that another process has made. The caller holds mu.
func (l *limits) redo(c *change) {
	is, o := c.Is, order{}
	if !c.Ends.IsZero() {
		if o.ttl = time.Until(c.Ends); o.ttl <= 0 {
			is, o.ttl = c.Next, 0
		}
	}
	o.limit = is.Limit
	var was shape.Limit
	var existed bool
	var err error
	switch {
	case is.There:
		was, existed, err = l.apply(c.Node, o)
	case c.Level == shape.LevelPath:
		l.shaper.RemovePath(c.Name)
	default:
		l.shaper.RemoveClient(shape.ClientID(c.Name))
	}
	if err != nil {
		l.log.Error("limit not inherited", "what", c.Node.String(), "err", err)
		return
	}
	l.plan(c.Node, o, was, existed)
	if t := l.temporary[c.Node]; t != nil {
		t.base, t.made = c.Next.Limit, !c.Next.There
	}
	var view *limitView
	if is.There {
		view = viewLimit(o.limit, l.ends(c.Node))
	}
	l.log.Info("limit inherited", "who", predecessor, "what", c.Node.String(), "is", view.String())
}
