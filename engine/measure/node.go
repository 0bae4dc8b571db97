package measure

import (
	"sync"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
)

// node is a client, or a path class, whose rate is found: its controller, and
// what the loops that serve it have brought for the round under way.
//
// The loops sample a client at the same instants of a common grid. The last of
// them ends the round; if one does not come, the next instant does.
type node struct {
	owner *Adaptation
	level shape.Level
	name  string

	mu        sync.Mutex
	ctl       adapt.Controller
	off       bool // there is no policy: nothing holds
	members   int  // loops that serve it
	posted    int  // of them, those that have brought what they had for the slot
	slot      int64
	usage     adapt.Usage // of each the most of any loop
	conns     int         // brought for the slot
	lastConns int         // brought for the last one
	rate      foundRate
	steered   bool
	awaySince int64 // ns
}

// foundRate is a target as loops apply it.
type foundRate struct {
	rate shape.Rate
	seq  uint64
	pace int64 // for each connection, bytes/s; 0: not paced
}

func newNode(a *Adaptation, level shape.Level, name string, p *adapt.Policy) *node {
	n := &node{owner: a, level: level, name: name}
	n.ctl.Init(p)
	n.publish()
	return n
}

// publish makes the controller's target known. The caller holds mu, or is alone.
func (n *node) publish() {
	r := foundRate{rate: shape.Rate(n.ctl.Target()), seq: n.rate.seq, pace: n.ctl.PacingRate(n.lastConns)}
	if n.off {
		r.rate, r.pace = shape.Unlimited, 0
	}
	if r.rate != n.rate.rate || r.seq == 0 {
		r.seq++
	}
	n.rate = r
}

// setPolicy replaces the policy; nil: nothing holds the node any more.
func (n *node) setPolicy(p *adapt.Policy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off = p == nil
	if p != nil {
		n.ctl.SetPolicy(p, !n.steered)
	}
	n.publish()
}

func (n *node) steer(s Steer) (was, is adapt.State, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was = n.ctl.State()
	if n.off {
		return was, was, ErrNotAdapted
	}
	if s.Floor != 0 || s.Ceiling != 0 {
		low, high := was.Min, was.Max
		if s.Floor != 0 {
			low = s.Floor
		}
		if s.Ceiling != 0 {
			high = s.Ceiling
		}
		if err := n.ctl.SetBounds(low, high); err != nil {
			return was, was, err
		}
		n.steered = true
	}
	if s.Target != 0 {
		n.ctl.SetTarget(s.Target)
	}
	n.publish()
	return was, n.ctl.State(), nil
}

// attach counts a loop that begins to serve the node. Who comes back after a
// while begins a new round: what is measured is not of the time away.
func (n *node) attach(now int64) {
	n.mu.Lock()
	if n.members++; n.members > 1 {
		n.mu.Unlock()
		return
	}
	n.posted, n.usage, n.conns = 0, adapt.Usage{}, 0
	event := n.ctl.Tick(adapt.Usage{}, now)
	n.publish()
	n.mu.Unlock()
	n.tell(event)
}

// detach is the opposite of attach. It reports whether time must go on for the node
// while nobody serves it; see tickAway.
func (n *node) detach(now int64) (restless bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members--
	n.awaySince = now
	return n.members == 0 && !n.ctl.Quiet()
}

// tickAway lets time go on for a node that nobody serves, until the breaker is
// quiet. It reports false when that is so, or somebody serves it.
func (n *node) tickAway(now int64) (again bool) {
	n.mu.Lock()
	if n.members > 0 {
		n.mu.Unlock()
		return false
	}
	event := n.ctl.Tick(adapt.Usage{}, now)
	n.publish()
	again = !n.ctl.Quiet()
	n.mu.Unlock()
	n.tell(event)
	return again
}

// forgettable reports whether the node has been away for so long and nothing that
// holds it would be forgotten.
func (n *node) forgettable(now, away int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.members == 0 && !n.steered && n.ctl.Quiet() && now-n.awaySince >= away
}

// observe brings what has happened on some connections up to a slot.
func (n *node) observe(deltas []adapt.Delta, slot, now int64) {
	if n == nil || len(deltas) == 0 {
		return
	}
	n.mu.Lock()
	late := n.begin(slot, now)
	for i := range deltas {
		n.ctl.Observe(deltas[i])
	}
	n.mu.Unlock()
	n.tell(late)
}

// begin ends the round before the slot if somebody who was waited for did not
// come. The caller holds mu.
func (n *node) begin(slot, now int64) (late adapt.Event) {
	if n.posted > 0 && slot > n.slot {
		late = n.tick(now)
	}
	n.slot = max(n.slot, slot)
	return late
}

// finish says that a loop has brought all that it had for a slot, how long
// the node's own tokens were waited for on it, and by how much it was late. It returns the
// rate to apply.
func (n *node) finish(slot int64, u adapt.Usage, conns int, now int64) foundRate {
	n.mu.Lock()
	late := n.begin(slot, now)
	n.posted++
	n.usage = adapt.Usage{Held: max(n.usage.Held, u.Held), Delayed: max(n.usage.Delayed, u.Delayed)}
	n.conns += conns
	var event adapt.Event
	if n.posted >= n.members {
		event = n.tick(now)
	}
	rate := n.rate
	n.mu.Unlock()
	n.tell(late)
	n.tell(event)
	return rate
}

// found returns the rate in force.
func (n *node) found() foundRate {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rate
}

// tick ends the round. The caller holds mu.
func (n *node) tick(now int64) adapt.Event {
	event := n.ctl.Tick(n.usage, now)
	n.lastConns = n.conns
	n.posted, n.usage, n.conns = 0, adapt.Usage{}, 0
	n.publish()
	return event
}

func (n *node) tell(e adapt.Event) {
	if e.Kind != adapt.None && n.owner.event != nil {
		n.owner.event(Event{n.level, n.name, e})
	}
}

func (n *node) report() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return State{n.name, n.lastConns, n.steered, n.ctl.State()}
}
