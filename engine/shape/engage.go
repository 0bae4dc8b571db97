package shape

// With several loops, pools divide a node's tokens by what is backlogged on each loop. A
// client that has had to wait on a loop is engaged there. It counts there for its weight
// divided by the number of loops on which it is engaged, so a client gains nothing by
// spreading its connections. A flow that is being sent waits for nothing at that
// instant. Engagement therefore outlasts the wait: until the client's last response is
// over, or until it has not waited for a while.

const (
	sweepEvery  = 100 * tick
	engagedSpan = 100 * tick
)

// engage notes that f has to wait.
func (t *Tree) engage(f *Flow) {
	n := f.client
	n.waited = t.now
	if t.shaper.loops == 1 {
		return
	}
	if !f.hungry {
		f.hungry = true
		n.hungry++
		n.client.hungry++
	}
	if n.engageAt >= 0 {
		return
	}
	n.engageAt = len(t.engaged)
	t.engaged = append(t.engaged, n)
	if n.client.engaged++; n.client.engaged == 1 {
		n.client.shared.loops.Add(1)
	}
	n.setStake(n.engagedStake())
}

// engagedStake is what a client counts for among the trees.
func (n *node) engagedStake() int64 {
	return max(n.client.weight()/max(n.client.shared.loops.Load(), 1), 1)
}

// setStake sets what a client counts for, here and among the trees. A client with 0 is
// not engaged.
func (n *node) setStake(stake int64) {
	if stake > 0 {
		n.setWeight(stake)
	} else {
		n.setWeight(n.client.weight())
	}
	if d := stake - n.stake; d != 0 {
		n.stake = stake
		n.parent.engaged += d
		n.class.engaged.Add(d)
	}
}

// disengage undoes engage, for all flows of the node.
func (n *node) disengage(t *Tree) {
	if n.engageAt < 0 {
		return
	}
	last := t.engaged[len(t.engaged)-1]
	t.engaged[n.engageAt], last.engageAt = last, n.engageAt
	t.engaged[len(t.engaged)-1] = nil
	t.engaged = t.engaged[:len(t.engaged)-1]
	n.engageAt = -1
	n.setStake(0)
	if n.client.engaged--; n.client.engaged == 0 {
		n.client.shared.loops.Add(-1)
	}
}

// sweep brings up to date what the engaged clients count for, and disengages those that
// have not waited for a while.
func (t *Tree) sweep() {
	if t.now < t.nextSweep {
		return
	}
	t.nextSweep = t.now + sweepEvery
	for i := len(t.engaged) - 1; i >= 0; i-- {
		if n := t.engaged[i]; n.count == 0 && t.now-n.waited > engagedSpan {
			n.disengage(t)
		} else {
			n.setStake(n.engagedStake())
		}
	}
	t.weighClasses()
}

// claim returns the claim of a tree on its node, for a flow of the given rank.
func (n *node) claim(t *Tree, rank int) claim {
	c := claim{weight: oneWeight, rank: rank}
	switch n.level {
	case LevelGlobal:
		if sum := t.weighClasses(); sum > 0 {
			c.weight = sum
		}
	case LevelPath:
		if n.engaged > 0 {
			c.weight = n.engaged
		}
	case LevelClient:
		c.weight = oneWeight * int64(max(n.client.hungry, 1))
	}
	return c
}

// weighClasses brings the weights of the classes up to date, and returns their sum. A class
// counts on a loop for the part of its clients that are engaged there.
func (t *Tree) weighClasses() (sum int64) {
	for _, n := range t.classes {
		if n == nil || n.engaged == 0 {
			continue
		}
		part := n.limitWeight * n.engaged / max(n.class.engaged.Load(), n.engaged)
		n.setWeight(max(part, 1))
		sum += n.weight
	}
	return sum
}
