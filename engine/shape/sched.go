package shape

import "math"

// guaranteedRank is above all priorities.
const guaranteedRank = math.MaxInt

// scheduler moves the members of a tree between the queues of their parents, where they
// wait for a turn, and the wheel, where they wait for tokens.
type scheduler struct {
	loop      int
	now       int64
	wheel     *wheel
	parked    queue            // members that wait for their own bucket
	throttled [NumLevels]int64 // ns that responses were held, by level
}

// choose returns the flow whose turn it is, the rank of its class, and its share in bytes
// per second. The root is queued.
func (t *Tree) choose() (f *Flow, rank int, share int64) {
	above := t.root.split(infinite, 0)
	for _, class := range t.guaranteed {
		if class.state != queued {
			continue
		}
		if rank = class.rank(t); rank == guaranteedRank {
			f, share = class.descend(class.part(above))
			return f, rank, share
		}
	}
	class := t.root.pick().node
	f, share = class.descend(class.part(above))
	return f, class.priority, share
}

// rank returns the place of a class among the others. A class goes first while anything is
// left of its guarantee, and may borrow the rest of a grant.
func (n *node) rank(t *Tree) int {
	if n.guarantee != nil && n.guarantee.try(t, 1) {
		return guaranteedRank
	}
	return n.priority
}

// descend returns the flow whose turn it is in a class that can count on above, and the
// share of the flow.
func (n *node) descend(above int64) (f *Flow, share int64) {
	share = n.split(above, 0)
	client := n.pick().node
	share = client.split(client.part(share), 0)
	m := client.pick()
	if m.flow == nil {
		share = m.node.split(m.part(share), 0)
		m = m.node.pick()
	}
	return m.flow, m.part(share)
}

// alone returns the share of f while nobody waits beside it.
func (f *Flow) alone() int64 {
	client, class := f.client, f.client.parent
	share := class.part(class.parent.split(infinite, class.weight))
	share = client.part(class.split(share, client.weight))
	if w := f.parent; w != client {
		share = w.part(client.split(share, w.weight))
		return f.part(w.split(share, f.weight))
	}
	return f.part(client.split(share, f.weight))
}

// await makes f wait for the nodes above it.
func (f *Flow) await(t *Tree) {
	f.beginQueue(t.now)
	t.engage(f)
	t.enqueue(&f.member)
}

// enqueue makes m wait for its turn, and its idle parents for theirs. If m goes before
// others, parents that are parked for one of the others find out anew.
func (s *scheduler) enqueue(m *member) {
	p := m.parent
	if p == nil {
		m.state = queued
		return
	}
	fresh := p.insert(m)
	if p.state == idle {
		s.enqueue(&p.member)
	}
	if !fresh {
		return
	}
	s.recheckUp(p)
}

// dequeue makes m idle, which is queued, and with it the parents for whom nobody waits any
// more.
func (s *scheduler) dequeue(m *member) {
	p := m.parent
	if p == nil {
		m.state = idle
		return
	}
	p.dismiss(m)
	if p.count > 0 {
		return
	}
	if p.state == parked {
		s.stopParking(&p.member)
	} else {
		s.dequeue(&p.member)
	}
	p.meter.withdraw(s)
}

// park makes m, which is idle or queued, wait for its own bucket.
func (s *scheduler) park(m *member, at int64) {
	if m.state == queued {
		s.dequeue(m)
	}
	m.state = parked
	s.parked.pushBack(m)
	if m.node != nil {
		m.node.since = s.now
	}
	if at != never {
		s.wheel.set(&m.timer, at)
	}
}

// stopParking makes m idle.
func (s *scheduler) stopParking(m *member) {
	s.parked.remove(m)
	s.wheel.stop(&m.timer)
	if m.node != nil {
		m.node.parkedNs += s.now - m.node.since
	}
	m.state = idle
}

// unpark lets m find out anew whether its tokens are there.
func (s *scheduler) unpark(m *member) {
	s.stopParking(m)
	if m.flow != nil {
		m.flow.hold(s, LevelConnection, s.now-m.flow.since)
		m.flow.beginQueue(s.now)
		m.flow.client.waited = s.now
	}
	s.enqueue(m)
}

// recheck lets a node that is parked find out anew; of a client, all its nodes.
func (s *scheduler) recheck(n *node) {
	if n.level == LevelClient && !n.isInner() {
		n = n.client.nodes
	}
	for ; n != nil; n = n.sibling {
		if n.state == parked {
			s.unpark(&n.member)
		}
	}
}

// recheckUp lets a node that is parked find out anew, and those above it: they may be
// parked for a grant of the size that it had.
func (s *scheduler) recheckUp(n *node) {
	for ; n != nil; n = n.parent {
		if n.state == parked {
			s.unpark(&n.member)
		}
	}
}

// wake handles the timers that have run out.
func (t *Tree) wake() {
	for tm := t.wheel.pop(t.now); tm != nil; tm = t.wheel.pop(t.now) {
		if tm.meter != nil {
			tm.meter.leaseEnds(t)
		} else {
			t.unpark(tm.member)
		}
	}
	if t.shaper.loops > 1 {
		t.sweep()
	}
}
