package shape

// state is what a member waits for.
type state uint8

const (
	idle   state = iota // nothing
	queued              // its turn, in a queue of its parent
	parked              // tokens of its own bucket
)

// member is what a node schedules: a flow of a client, or those of its flows that its class
// holds; a client of a class, a class of the root. The root is a member without a parent.
type member struct {
	parent *node
	flow   *Flow // what the member is; nil: a node
	node   *node

	queue      *queue // it is in: fresh, old or parked; nil while idle
	next, prev *member
	timer      timer // set while parked, unless nobody knows until when

	weight  int64 // 1 is oneWeight
	deficit int64 // bytes that it may still send in its turn; below 0: it has sent too many
	stamp   int64 // parent.served when it was last served
	served  bool  // it has been served: stamp is set
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

// band is a deficit round robin. Members that have not been served for a round go before
// the others.
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
	peak    int64 // the most that weights has been in this round
	before  int64 // and in the round before
	round   int64 // served when this round began
	quantum int64 // bytes of a turn with weight 1, as last computed
	served  int64 // bytes ever granted below: the clock of rounds

	since    int64 // the instant of parking, while parked
	parkedNs int64 // for how long it had been parked before

	// Classes.
	window      window
	granted     int64  // bytes
	clients     *table // of each client within it
	guarantee   *meter
	priority    int
	limitWeight int64 // as configured; weight is the part of it on this loop
	engaged     int64 // stakes of its clients, see engage.go
	gone        bool  // the tree has forgotten it

	flows int // that have joined; not of the root

	// Clients.
	sibling  *node  // the same client in the next class
	inner    *inner // of the flows that the class holds; nil: none
	waited   int64  // instant at which a flow last had to wait
	hungry   int    // flows that have waited in their response
	engageAt int    // place among the tree's engaged nodes, -1: none
	stake    int64  // what it counts for in class.engaged; 0: it is not engaged
}

func newNode(level Level, parent *node, m *meter) *node {
	n := new(node)
	n.init(level, parent, m, []*band{new(band)})
	return n
}

func (n *node) init(level Level, parent *node, m *meter, bands []*band) {
	*n = node{level: level, meter: m, bands: bands, quantum: minGrant, engageAt: -1}
	n.member = member{parent: parent, node: n, weight: oneWeight}
	n.timer.member = &n.member
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

// insert queues m among the members, and reports whether it goes before those
// that have been served in this round.
//
// A member that asks again at once goes back to where it was, in the middle of its turn or
// at the end of the queue. A flow is idle while it sends, so idleness tells little of
// absence: a member was away if the others have got a round's worth of bytes meanwhile.
func (n *node) insert(m *member) (fresh bool) {
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

// refill begins a turn. A debt is at most a grant, which is at most a turn, or a quantum
// where the weight is below 1.
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

// pick returns the member whose turn it is; nil if none is queued. It refills the members
// that it passes over. With weights from 1 it ends in the second round at the latest.
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

// split returns the share of the members for a weight of 1, in bytes per second, and sets
// the quantum by it. The node itself can count on above; the members weigh at least so
// much together.
//
// Members that are being sent are not queued, and will be again at once. So the share is
// for the most that waited in this round or the last: a quantum that changed with
// every grant would favour some.
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

// part is the share of m, of the share for a weight of 1.
func (m *member) part(share int64) int64 {
	if share == infinite {
		return share
	}
	return share * m.weight >> weightBits
}

// parkedUntil returns for how many ns n has been parked in all.
func (n *node) parkedUntil(now int64) int64 {
	if n.state == parked {
		return n.parkedNs + now - n.since
	}
	return n.parkedNs
}
