package shape

// state is what a member does.
type state uint8

const (
	idle   state = iota // wants nothing
	queued              // waits for its turn in its parent
	parked              // waits for its own bucket
)

// member is something that a node schedules: a flow of a client, a client of a
// class, a class of the root. The root is one without a parent.
type member struct {
	parent *node
	flow   *Flow // exactly one of these two is what it is
	node   *node

	queue      *queue // the one it is in: fresh, old or parked; nil while idle
	next, prev *member
	timer      timer // set while parked, if it is known until when

	weight  int64 // 1 is oneWeight
	deficit int64 // bytes that it may still send in its turn; below 0: has sent too much
	stamp   int64 // parent.served when it last left its queues
	served  bool  // stamp means something
	state   state
}

// queue is a list of members.
type queue struct {
	head, tail *member
}

func (q *queue) pushBack(m *member) {
	m.queue, m.prev, m.next = q, q.tail, nil
	if q.tail == nil {
		q.head = m
	} else {
		q.tail.next = m
	}
	q.tail = m
}

func (q *queue) pushFront(m *member) {
	m.queue, m.prev, m.next = q, nil, q.head
	if q.head == nil {
		q.tail = m
	} else {
		q.head.prev = m
	}
	q.head = m
}

func (q *queue) remove(m *member) {
	if m.prev == nil {
		q.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		q.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.queue, m.next, m.prev = nil, nil, nil
}

// band is a deficit round robin: those that have not been served for a
// round, then the others.
type band struct {
	priority   int
	fresh, old queue
}

// node is the root, a class, or a client in a class. It is idle exactly if none
// of its members is queued.
type node struct {
	member
	level  Level
	meter  *meter
	bands  []*band // by falling priority; all but the root have one
	class  *Class  // of classes and clients
	client *client // of clients

	count   int   // queued members
	weights int64 // their weights
	peak    int64 // the most that weights has been in this round,
	before  int64 // and in the one before
	round   int64 // served when this round began
	quantum int64 // bytes of a turn with weight 1, as last computed
	served  int64 // bytes ever granted below: the clock of rounds

	since    int64 // parked since then, while it is
	parkedNs int64 // that it was parked until then

	// Classes.
	window      window
	granted     int64 // bytes
	guarantee   *meter
	priority    int
	limitWeight int64 // as configured; weight is the part of it on this loop
	engaged     int64 // of shares of clients, see engage.go

	// Clients.
	sibling  *node // the same client in the next class
	flows    int   // that have joined
	waited   int64 // instant at which a flow last had to wait
	hungry   int   // flows that have waited in their response
	engageAt int   // place among the tree's engaged nodes, -1: none
	share    int64 // what it counts for in class.engaged
}

func newNode(level Level, parent *node, m *meter) *node {
	n := &node{level: level, meter: m, quantum: minGrant, engageAt: -1}
	n.member = member{parent: parent, node: n, weight: oneWeight}
	n.timer.member = &n.member
	n.bands = []*band{new(band)}
	return n
}

// bandFor returns the band of a member.
func (n *node) bandFor(m *member) *band {
	if n.level != LevelGlobal {
		return n.bands[0]
	}
	for _, b := range n.bands {
		if b.priority == m.node.priority {
			return b
		}
	}
	return n.bands[len(n.bands)-1]
}

// admit queues m among the members, and reports whether it goes before those
// that have been served in this round.
//
// Who asks again at once is where it was, in the middle of its turn or at the
// end of the queue. Since a flow wants nothing while it sends, being idle says little: what
// counts is whether the others have got a round's worth of bytes meanwhile.
func (n *node) admit(m *member) (fresh bool) {
	b, turn := n.bandFor(m), m.turn(n.quantum)
	round := n.quantum * (n.weights + m.weight) / min(m.weight, oneWeight)
	recent := m.served && n.served-m.stamp < round
	n.count++
	n.weights += m.weight
	n.peak = max(n.peak, n.weights)
	m.state = queued
	switch {
	case !recent && n.level != LevelGlobal:
		m.deficit = turn
		b.fresh.pushBack(m)
		return true
	case m.deficit > 0:
		m.deficit = min(m.deficit, turn)
		b.old.pushFront(m)
	default:
		m.refill(n.quantum)
		b.old.pushBack(m)
	}
	return false
}

// turn is what m may send in a turn.
func (m *member) turn(quantum int64) int64 {
	return max(quantum*m.weight>>weightBits, 1)
}

// refill begins a turn. No debt is larger than a grant: that is at most a
// turn, or a quantum where the weight is below 1.
func (m *member) refill(quantum int64) {
	turn := m.turn(quantum)
	m.deficit = max(m.deficit, min(-turn, -quantum)) + turn
}

// dismiss takes m out of the queue.
func (n *node) dismiss(m *member) {
	m.queue.remove(m)
	m.state = idle
	m.stamp, m.served = n.served, true
	n.count--
	n.weights -= m.weight
}

// setWeight changes the weight of m.
func (m *member) setWeight(w int64) {
	if m.state == queued && m.parent != nil {
		m.parent.weights += w - m.weight
	}
	m.weight = w
}

// pick returns the member whose turn it is; nil if none is queued. It adds a
// quantum to those it passes over, so that with weights from 1 it ends in the second
// round at the latest.
func (n *node) pick() *member {
	for _, b := range n.bands {
		if m := b.pick(n.quantum); m != nil {
			return m
		}
	}
	return nil
}

func (b *band) pick(quantum int64) *member {
	for {
		m := b.fresh.head
		if m == nil {
			if m = b.old.head; m == nil {
				return nil
			}
		}
		if m.deficit > 0 {
			return m
		}
		m.queue.remove(m)
		m.refill(quantum)
		b.old.pushBack(m)
	}
}

// split returns what the members can count on, in bytes per second for a weight of 1, if
// the node can count on above and they weigh at least so much together. It sets
// the quantum by it.
//
// Members that are being sent are not queued, and will be again at once. So it
// is for the most that waited in this round or the last: a quantum that changed
// with every grant would favour some.
func (n *node) split(above, least int64) int64 {
	share := min(above, n.meter.speed())
	if n.served-n.round >= n.quantum*max(n.peak, n.before, oneWeight)>>weightBits {
		n.round, n.before, n.peak = n.served, n.peak, n.weights
	}
	if all := max(n.peak, n.before, least, 1); all != oneWeight && share != infinite {
		share = max(share<<weightBits/all, 1)
	}
	n.quantum = grantFor(share)
	return share
}

// part is what m can count on of a share per weight.
func (m *member) part(share int64) int64 {
	if share == infinite {
		return share
	}
	return share * m.weight >> weightBits
}

// parkedUntil returns the ns that n was parked, all told.
func (n *node) parkedUntil(now int64) int64 {
	if n.state == parked {
		return n.parkedNs + now - n.since
	}
	return n.parkedNs
}
