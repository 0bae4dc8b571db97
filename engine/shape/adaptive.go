package shape

// AdaptClient sets the rate that was found for a client: RowFound of its table; Unlimited:
// none. What is being sent to the client on this loop feels it at once. With several loops
// each is told; of two rates the one with the higher seq counts. The call costs this
// client only, and wakes nobody. It does nothing if the tree does not know the client: it
// comes after Join.
func (t *Tree) AdaptClient(id ClientID, rate Rate, seq uint64, now int64) {
	t.clock(now)
	if c := t.clients[id]; c != nil {
		t.updateClient(c, c.meter.table.with(rate, seq), c.granted == 0)
	}
}

// SetClientLimit gives the client of f, which has joined, the limit that its responses bring, in place of
// the default for clients; nil: that. Without a rate it leaves that of the default. A limit that an
// operator has set counts before it (SetClient), and of several that responses bring the last one.
// With several loops each is told by its own responses. A limit that is not valid changes nothing; l is copied.
func (f *Flow) SetClientLimit(t *Tree, l *Limit) {
	if f.client == nil || f.client.client == t.overflow {
		return
	}
	c := f.client.client
	old := c.meter.table.brought
	if old == l || old != nil && l != nil && *old == *l || l != nil && l.ValidateAt(LevelClient) != nil {
		return
	}
	o := c.meter.table
	o.brought, o.order = nil, max(o.order+1, uint64(max(t.now, 0)))
	if l != nil {
		brought := *l
		o.brought = &brought
		t.shaper.brought.Store(true)
	}
	t.updateClient(c, o, c.granted == 0)
}

// AdaptClass is AdaptClient for a path class that a response of the tree has joined.
func (t *Tree) AdaptClass(class *Class, rate Rate, seq uint64, now int64) {
	t.clock(now)
	if n := t.knownClass(class); n != nil {
		t.updateNode(n, n.meter.table.with(rate, seq), n.granted == 0)
	}
}

// ClientHeld returns for how many ns responses of a client have waited on this loop for the
// rate that was found for it, each class for itself. The sum stands still while another
// row is lower.
func (t *Tree) ClientHeld(id ClientID, now int64) (held int64) {
	t.clock(now)
	c := t.clients[id]
	if c == nil {
		return 0
	}
	for n := c.nodes; n != nil; n = n.sibling {
		held += n.parkedUntil(t.now)
	}
	return c.meter.heldBy(held)
}

// ClassHeld is ClientHeld for a path class.
func (t *Tree) ClassHeld(class *Class, now int64) int64 {
	t.clock(now)
	n := t.knownClass(class)
	if n == nil {
		return 0
	}
	return n.meter.heldBy(n.parkedUntil(t.now))
}

// heldBy counts the time for which a node was parked since the last call, if the rate that
// was found is what holds. parked is for how long the node was parked in all.
func (m *meter) heldBy(parked int64) int64 {
	if d := parked - m.parkedSeen; d > 0 {
		if _, by := m.table.inForce(); by == RowFound {
			m.heldFound += d
		}
	}
	m.parkedSeen = parked
	return m.heldFound
}
