package shape

// A path class may limit each of its clients. The flows of such a client are members of one
// more node, which stands between them and the client's node and has a bucket of its own.
// While a flow is free, because Limit.After of its response has not passed, it is a
// member of the client's node: nobody whom the limit holds is in its way.

// inner is the node of those flows of a client in a class that the limit of clients within
// the class holds.
type inner struct {
	node
	own    meter
	shared *sharedPool // nil with one loop
}

// isInner reports whether n is an inner node.
func (n *node) isInner() bool { return n.parent != nil && n.parent.level == LevelClient }

// addInner makes the node within its class of a client. A fresh one has the tokens of a new
// bucket, another one none.
func (n *node) addInner(t *Tree, fresh bool) {
	w := new(inner)
	w.init(LevelClient, n, &w.own, []*band{new(band)})
	w.class, w.client = n.class, n.client
	n.inner = w
	t.nodes++
	o := *n.parent.clients
	var p *pool
	if n.client.shared != nil {
		w.shared = n.client.shared.attachClass(t.shaper, n.class)
		p = &w.shared.pool
	}
	if fresh {
		w.own.open(t, o, p)
		return
	}
	w.own.open(t, table{}, nil) // unlimited until now
	if p == nil {
		w.own.update(t, &o, false)
		return
	}
	w.own.table = o
	w.own.usePool(t, p, false)
}

// refreshInner brings the nodes of a client within classes up to date.
func (c *client) refreshInner(t *Tree) {
	for n := c.nodes; n != nil; n = n.sibling {
		o := n.parent.clients
		switch {
		case n.inner != nil:
			n.inner.own.update(t, o, false)
		case n.flows > 0 && o.limits():
			n.addInner(t, false)
		}
	}
}

// dropInner forgets the node within its class of a client that has one.
func (n *node) dropInner(t *Tree) {
	w := n.inner
	if w == nil {
		return
	}
	w.own.giveBack(t)
	if w.shared != nil {
		n.client.shared.detachClass(t.shaper, w.shared, t.loop)
	}
	n.inner = nil
	t.nodes--
}

// rested reports whether what a client may use within the class is there in full.
func (n *node) rested(t *Tree) bool { return n.inner == nil || n.inner.own.rested(t) }

// settle finds out whether f is free and what its class lets its connection have, and
// returns the node whose member it is to be.
func (f *Flow) settle() *node {
	n := f.client
	l := n.parent.meter.table.configured()
	f.free = f.sent < l.After
	class := l.Connection
	if f.free {
		class = Unlimited
	}
	if class != f.class {
		f.class, f.stale = class, true
	}
	if w := n.inner; w != nil && !f.free && w.own.limited() {
		return &w.node
	}
	return n
}

// moveTo makes f, which is idle, a member of n.
func (f *Flow) moveTo(n *node) {
	if f.parent != n {
		f.parent, f.served, f.deficit = n, false, 0
	}
}

// sharedPool is the pool of a client within a class, and how many trees use it.
type sharedPool struct {
	pool
	class *Class
	refs  int // guarded by Shaper.mu
}

// attachClass returns the pool of a client within a class, for one more tree.
func (sh *shared) attachClass(s *Shaper, c *Class) *sharedPool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := sh.within[c]
	if p == nil {
		if sh.within == nil {
			sh.within = make(map[*Class]*sharedPool)
		}
		p = &sharedPool{class: c}
		sh.within[c] = p
	}
	p.refs++
	return p
}

// detachClass undoes attachClass.
func (sh *shared) detachClass(s *Shaper, p *sharedPool, loop int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.forget(loop)
	if p.refs--; p.refs == 0 {
		delete(sh.within, p.class)
	}
}
