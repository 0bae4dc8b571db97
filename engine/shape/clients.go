package shape

// client is what a tree knows about a client. The client has a node in each class in which it
// has been seen; they share its bucket.
type client struct {
	// What every grant looks at is together: with 10,000 clients it is memory that a grant
	// waits for.
	expires int64 // of the override; 0: never
	granted int64 // bytes
	window  window
	meter   meter

	id     ClientID
	shared *shared // nil with one loop

	nodes   *node // by sibling
	flows   int
	hungry  int32 // flows that have waited in their response
	engaged int32 // nodes that are engaged

	// Clients without flows are in a list by the time they were last seen.
	older, newer *client
}

// weight is what the client weighs among others, as long as it is not engaged.
func (c *client) weight() int64 { return c.meter.table.configured().weight() }

// directory finds the clients that a tree knows, and keeps the memory of those that it has
// forgotten for others.
type directory struct {
	clients     map[ClientID]*client
	idle        clientList // those without flows
	nodes       int        // of clients, and of clients within classes
	spareClient *client    // by newer
	spareNode   *node      // by sibling
}

// maxProbes bounds the search for a client that can be forgotten.
const maxProbes = 16

// addClient makes a client, and room for it. Without room it returns the place that such
// clients share; a client with a limit of its own always has its own place.
func (t *Tree) addClient(id ClientID) *client {
	o, expires := t.tableFor(id)
	if o.first != RowOverride {
		for t.nodes >= t.shaper.maxClients {
			if !t.forgetOne() {
				return t.overflow
			}
		}
	}
	c := t.newClient(id, o)
	c.expires = expires
	t.clients[id] = c
	t.idle.push(c)
	return c
}

// tableFor returns what is said about a client, and when its override ends; 0: never. It
// takes a lock only if something is said about any single client.
func (t *Tree) tableFor(id ClientID) (o table, expires int64) {
	if !t.named {
		return t.client, 0
	}
	s := t.shaper
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clientTable(id)
}

func (t *Tree) newClient(id ClientID, o table) *client {
	c := t.spare()
	c.id = id
	if t.shaper.loops > 1 {
		c.shared = t.shaper.attach(id)
	}
	c.meter.open(t, o, c.poolFor(t.shaper, &o))
	return c
}

// spare returns an empty client.
func (d *directory) spare() *client {
	c := d.spareClient
	if c == nil {
		return new(client)
	}
	d.spareClient = c.newer
	*c = client{}
	return c
}

// poolFor returns the pool of a client that needs one.
func (c *client) poolFor(s *Shaper, o *table) *pool {
	if c.shared == nil || !o.limits() {
		return nil
	}
	return s.poolOf(c.shared)
}

// refreshClient brings a client up to date with the configuration.
func (t *Tree) refreshClient(c *client) {
	o, expires := t.tableFor(c.id)
	c.expires = expires
	t.updateClient(c, o, false)
}

// updateClient brings into force what is said about a client; for fresh see meter.apply.
func (t *Tree) updateClient(c *client, o table, fresh bool) {
	m := &c.meter
	if !m.table.update(&o) {
		return
	}
	if c.shared == nil || m.pool != nil {
		m.apply(t, fresh)
	} else if p := c.poolFor(t.shaper, &m.table); p != nil {
		m.usePool(t, p, fresh)
	}
	for n := c.nodes; n != nil; n = n.sibling {
		if n.engageAt >= 0 {
			n.setStake(n.engagedStake())
		} else {
			n.setWeight(c.weight())
		}
		t.recheckUp(n)
	}
}

// endOverride restores the default limit of a client whose override has ended, and
// reports whether that was so.
func (c *client) endOverride(t *Tree) bool {
	if c.expires == 0 || t.now < c.expires {
		return false
	}
	t.shaper.expire(c.id, t.now)
	t.refresh()
	return true
}

// nodeIn returns the node of a client in a class.
func (c *client) nodeIn(t *Tree, class *node) *node {
	for n := c.nodes; n != nil; n = n.sibling {
		if n.parent == class {
			return n
		}
	}
	for p := &c.nodes; *p != nil; {
		if n := *p; n.parent.gone {
			*p = n.sibling
			n.free(t)
		} else {
			p = &n.sibling
		}
	}
	n := t.spareNode
	if n == nil {
		n = newNode(LevelClient, class, &c.meter)
	} else {
		t.spareNode = n.sibling
		*n.bands[0] = band{}
		n.init(LevelClient, class, &c.meter, n.bands)
	}
	n.class, n.client, n.weight = class.class, c, c.weight()
	n.sibling, c.nodes = c.nodes, n
	t.nodes++
	return n
}

// enter counts a flow that begins a response.
func (t *Tree) enter(f *Flow, c *client, class *node) {
	if c.flows == 0 && c != t.overflow {
		t.idle.remove(c)
	}
	c.flows++
	f.client = c.nodeIn(t, class)
	f.client.flows++
	class.flows++
	if f.client.inner == nil && class.clients.limits() {
		f.client.addInner(t, true)
	}
	f.moveTo(f.client)
}

// exit counts a flow whose response is over.
func (t *Tree) exit(f *Flow) {
	n := f.client
	c, class := n.client, n.parent
	if f.hungry {
		f.hungry = false
		n.hungry--
		c.hungry--
	}
	f.client, f.parent = nil, nil
	c.flows--
	if n.flows--; n.flows == 0 {
		n.disengage(t)
		if t.nodes > t.shaper.maxClients && c.nodes.sibling != nil && n.rested(t) {
			n.drop(t)
		}
	}
	if c.flows == 0 && c != t.overflow {
		t.idle.push(c)
	}
	if class.flows--; class.flows == 0 {
		class.leaveTree(t)
	}
}

// drop forgets one node of a client that has several.
func (n *node) drop(t *Tree) {
	p := &n.client.nodes
	for *p != n {
		p = &(*p).sibling
	}
	*p = n.sibling
	n.free(t)
}

func (n *node) free(t *Tree) {
	n.dropInner(t)
	n.client, n.parent, n.meter = nil, nil, nil
	n.sibling, t.spareNode = t.spareNode, n
	t.nodes--
}

// forgetOne forgets one client that has its whole burst again, of those least recently
// seen. It reports false if there is none among the first few.
func (t *Tree) forgetOne() bool {
	for range maxProbes {
		c := t.idle.oldest
		if c == nil {
			return false
		}
		t.idle.remove(c)
		c.endOverride(t)
		if c.rested(t) {
			t.forget(c)
			return true
		}
		t.idle.push(c)
	}
	return false
}

// rested reports whether all that the client may use is there in full.
func (c *client) rested(t *Tree) bool {
	for n := c.nodes; n != nil; n = n.sibling {
		if !n.rested(t) {
			return false
		}
	}
	return c.meter.rested(t)
}

// forget drops a client without flows that is in no list.
func (t *Tree) forget(c *client) {
	delete(t.clients, c.id)
	t.wheel.stop(&c.meter.timer)
	for n := c.nodes; n != nil; {
		next := n.sibling
		n.free(t)
		n = next
	}
	if c.shared != nil {
		t.shaper.detach(c.shared, t.loop)
	}
	*c = client{}
	c.newer, t.spareClient = t.spareClient, c
}

// clientList is a list of clients by the time they were last seen.
type clientList struct {
	oldest, newest *client
}

func (l *clientList) push(c *client) {
	c.older, c.newer = l.newest, nil
	if l.newest == nil {
		l.oldest = c
	} else {
		l.newest.newer = c
	}
	l.newest = c
}

func (l *clientList) remove(c *client) {
	if c.older == nil {
		l.oldest = c.newer
	} else {
		c.older.newer = c.newer
	}
	if c.newer == nil {
		l.newest = c.older
	} else {
		c.newer.older = c.older
	}
	c.older, c.newer = nil, nil
}
