package shape

import "slices"

// start opens the meters when the first instant is known.
func (t *Tree) start() {
	c := t.readConfig()
	t.rootMeter.open(t, c.global, t.shaper.pool)
	t.overflow = t.newClient("", t.client)
	t.setClasses(c.classes)
}

// config is what a tree needs of the Shaper's configuration, and what in it is new.
type config struct {
	global  table
	classes []table // if nodes have changed

	nodes, clients, connection bool     // have changed
	some                       []change // beside those
}

// readConfig keeps what the tree needs again and again of the configuration, and returns
// the rest.
func (t *Tree) readConfig() config {
	s := t.shaper
	s.mu.Lock()
	defer s.mu.Unlock()
	old := t.epoch
	t.epoch = s.epoch.Load()
	t.connection, _ = s.connection.inForce()
	t.client, t.named = s.at(s.client), len(s.overrides)+len(s.shares) > 0
	lost := s.changes.dropped > old
	c := config{
		global:     s.at(s.global),
		nodes:      s.changes.nodes > old || lost,
		clients:    s.changes.clients > old || lost,
		connection: s.changes.connection > old,
	}
	for _, change := range s.changes.log {
		if change.epoch > old {
			c.some = append(c.some, change)
		}
	}
	if !c.nodes {
		return c
	}
	for _, class := range s.classes {
		c.classes = append(c.classes, s.at(class.table))
	}
	if more := len(s.classes) - len(t.classes); more > 0 {
		t.classes = append(t.classes, make([]*node, more)...)
	}
	return c
}

// clock moves time on and notices changes of the configuration.
func (t *Tree) clock(now int64) {
	if now > t.now {
		t.now, t.sec = now, now/second
	}
	switch e := t.shaper.epoch.Load(); {
	case e == t.epoch:
	case t.epoch == 0:
		t.start()
	default:
		t.refresh()
	}
}

// refresh brings the nodes up to date with the configuration. A change that is not of one
// node takes time in proportion to the members that are parked, since each finds out
// anew what it waits for, and to the clients if their default has changed. A change
// of one node costs that node only. Flows are brought up to date by their next Take
// or Next.
func (t *Tree) refresh() {
	c := t.readConfig()
	if c.connection {
		t.change++
		t.changed[t.change%changesKept] = t.now
	}
	if c.clients {
		t.refreshClient(t.overflow)
		for _, client := range t.clients {
			t.refreshClient(client)
		}
	}
	if c.nodes {
		t.refreshNodes(c)
	}
	for _, change := range c.some {
		t.follow(change, &c)
	}
}

// follow brings the node of a change up to date, unless all of its kind have been.
func (t *Tree) follow(ch change, c *config) {
	switch {
	case ch.level == LevelClient:
		if client := t.clients[ch.client]; client != nil && !c.clients {
			t.refreshClient(client)
		}
	case c.nodes:
	case ch.level == LevelGlobal:
		t.updateNode(t.root, c.global, false)
	default:
		if n := t.knownClass(ch.class); n != nil {
			t.updateNode(n, t.shaper.classTable(ch.class), false)
		}
	}
}

// updateNode brings into force what is said about the root or a class; for fresh see
// meter.apply.
func (t *Tree) updateNode(n *node, o table, fresh bool) {
	if n.meter.update(t, &o, fresh) {
		t.recheckUp(n)
	}
}

// refreshNodes brings the root and the classes up to date.
func (t *Tree) refreshNodes(c config) {
	t.updateNode(t.root, c.global, false)
	var waiting []*node
	for _, n := range t.classes {
		if n != nil && n.state == queued {
			t.dequeue(&n.member)
			waiting = append(waiting, n)
		}
	}
	if t.setClasses(c.classes) {
		t.overflow.refreshInner(t)
		for _, client := range t.clients {
			client.refreshInner(t)
		}
	}
	for _, n := range waiting {
		t.enqueue(&n.member)
	}
	for m := t.parked.head; m != nil; m = t.parked.head {
		t.unpark(m)
	}
	for _, n := range t.classes {
		if n != nil {
			n.leaveTree(t)
		}
	}
}

// setClasses brings into force what is said about the classes, and reports whether there is
// news of clients within them. None of them is queued.
func (t *Tree) setClasses(tables []table) (within bool) {
	t.guaranteed = t.guaranteed[:0]
	t.root.bands = t.root.bands[:0]
	for i, n := range t.classes {
		if n == nil {
			continue
		}
		within = within || n.meter.table.configured().Client != tables[i].configured().Client
		n.meter.update(t, &tables[i], false)
		n.place(t, &tables[i])
	}
	return within
}

// place puts a class among the others, by its priority and guarantee.
func (n *node) place(t *Tree, o *table) {
	l := o.configured()
	if n.clients == nil || n.clients.limit.Rate != l.Client {
		n.clients = &table{said: said{limit: &Limit{Rate: l.Client}, epoch: o.epoch}}
	}
	n.limitWeight, n.priority = l.weight(), l.Priority
	n.setWeight(n.limitWeight)
	i, found := slices.BinarySearchFunc(t.root.bands, n.priority, func(b *band, p int) int { return p - b.priority })
	if !found {
		t.root.bands = slices.Insert(t.root.bands, i, &band{priority: n.priority})
	}
	if l.Guarantee == 0 {
		if n.guarantee != nil {
			n.guarantee.giveBack(t)
			n.guarantee = nil
		}
		return
	}
	g := table{said: said{limit: &Limit{Rate: l.Guarantee}, epoch: o.epoch}}
	if n.guarantee == nil {
		n.guarantee = new(meter)
		n.guarantee.open(t, g, n.class.guarantee)
	} else {
		n.guarantee.update(t, &g, false)
	}
	t.guaranteed = append(t.guaranteed, n)
}

// knownClass returns the node of a class; nil: the tree has none.
func (t *Tree) knownClass(c *Class) *node {
	if c.id < len(t.classes) {
		if n := t.classes[c.id]; n != nil && n.class == c {
			return n
		}
	}
	return nil
}

// classNode returns the node of a class, for a response that begins: that of the default
// class if c is nil or has been removed.
func (t *Tree) classNode(c *Class) *node {
	if c != nil {
		if n := t.knownClass(c); n != nil {
			return n
		}
		if n := t.newClassNode(c); n != nil {
			return n
		}
	}
	rest := t.shaper.table.Load().rest
	if n := t.knownClass(rest); n != nil {
		return n
	}
	return t.newClassNode(rest)
}

func (t *Tree) newClassNode(c *Class) *node {
	if c.id >= len(t.classes) { // it is newer than what the tree knows
		t.refresh()
	}
	o, ok := c.enter(t.shaper)
	if !ok {
		return nil
	}
	n := newNode(LevelPath, t.root, new(meter))
	n.class = c
	n.meter.open(t, o, c.pool)
	t.classes[c.id] = n
	n.place(t, &o)
	return n
}

// leaveTree has the tree forget a class that has been removed, unless responses of it are
// under way. Nodes of clients that rest may still name it as their parent.
func (n *node) leaveTree(t *Tree) {
	if n.flows > 0 || !n.class.removed.Load() {
		return
	}
	t.guaranteed = slices.DeleteFunc(t.guaranteed, func(g *node) bool { return g == n })
	n.meter.giveBack(t)
	if n.guarantee != nil {
		n.guarantee.giveBack(t)
	}
	n.gone = true
	t.classes[n.class.id] = nil
	n.class.leave(t.shaper, t.loop)
}
