package shape

import "math"

// guaranteedRank is above all priorities.
const guaranteedRank = math.MaxInt

// choose returns the flow whose turn it is, its rank among classes, and the bytes
// per second that it can count on. The root is queued.
func (t *Tree) choose() (f *Flow, rank int, share int64) {
	above := t.root.split(infinite, 0)
	for _, class := range t.guaranteed {
		if class.state != queued {
			continue
		}
		if rank = class.rank(t); rank == guaranteedRank {
			f, share = t.descend(class, class.part(above))
			return f, rank, share
		}
	}
	class := t.root.pick().node
	f, share = t.descend(class, class.part(above))
	return f, class.priority, share
}

// rank returns the place of a class among the others. As long as anything is left of its
// guarantee it goes first, and may borrow the rest of a grant.
func (n *node) rank(t *Tree) int {
	if n.guarantee != nil && n.guarantee.try(t, 1) {
		return guaranteedRank
	}
	return n.priority
}

// descend returns the flow whose turn it is in a class.
func (t *Tree) descend(class *node, above int64) (f *Flow, share int64) {
	share = class.split(above, 0)
	client := class.pick().node
	share = client.split(client.part(share), 0)
	f = client.pick().flow
	return f, f.part(share)
}

// alone returns what f can count on if nobody waits beside it.
func (t *Tree) alone(f *Flow) int64 {
	client, class := f.client, f.client.parent
	share := class.part(t.root.split(infinite, class.weight))
	share = client.part(class.split(share, client.weight))
	return f.part(client.split(share, f.weight))
}

// queue makes f wait for the nodes above it.
func (t *Tree) queue(f *Flow) {
	f.beginQueue(t.now)
	t.engage(f)
	t.enqueue(&f.member)
}

// enqueue makes m wait for its turn, and with it its parents. If m goes before
// others, those that are parked for one of the others find out anew.
func (t *Tree) enqueue(m *member) {
	p := m.parent
	if p == nil {
		m.state = queued
		return
	}
	fresh := p.admit(m)
	if p.state == idle {
		t.enqueue(&p.member)
	}
	if !fresh {
		return
	}
	for ; p != nil; p = p.parent {
		if p.state == parked {
			t.unpark(&p.member)
		}
	}
}

// leave takes m, which is queued, out of the queue; its parents too if nothing
// waits below them any more.
func (t *Tree) leave(m *member) {
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
		t.stopParking(&p.member)
	} else {
		t.leave(&p.member)
	}
	p.meter.withdraw(t.now)
}

// park makes m, which is idle or queued, wait for its own bucket.
func (t *Tree) park(m *member, at int64) {
	if m.state == queued {
		t.leave(m)
	}
	m.state = parked
	t.parked.pushBack(m)
	if m.node != nil {
		m.node.since = t.now
	}
	if at != never {
		t.wheel.set(&m.timer, at)
	}
}

// stopParking makes m idle.
func (t *Tree) stopParking(m *member) {
	t.parked.remove(m)
	t.wheel.stop(&m.timer)
	if m.node != nil {
		m.node.parkedNs += t.now - m.node.since
	}
	m.state = idle
}

// unpark lets m find out anew whether its tokens are there.
func (t *Tree) unpark(m *member) {
	t.stopParking(m)
	if m.flow != nil {
		m.flow.hold(t, LevelConnection, t.now-m.flow.since)
		m.flow.beginQueue(t.now)
		m.flow.client.waited = t.now
	}
	t.enqueue(m)
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
