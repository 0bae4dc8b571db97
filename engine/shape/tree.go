package shape

import (
	"fmt"
	"slices"
)

// Tree is the part of a [Shaper] that belongs to one event loop. It is not safe for
// concurrent use. No method but Report allocates in the long run; Join does for
// clients that are new.
//
// The instants that its methods take are monotonic nanoseconds of one clock for
// all trees. If one is before another that was given earlier, time stands still.
type Tree struct {
	shaper *Shaper
	loop   int
	wheel  *wheel
	parked queue // members that wait for their own bucket

	now   int64
	sec   int64  // now in seconds, for windows
	epoch uint64 // of the configuration that is in force here

	root       *node
	rootMeter  meter
	classes    []*node // by Class.id; nil: not seen yet
	guaranteed []*node // classes that have a guarantee
	client     table   // of clients about which nothing else is said
	named      bool    // something is said about single clients

	connection Limit
	change     uint64             // counts the changes of connection
	changed    [changesKept]int64 // when they were noticed, the last ones

	clients     map[ClientID]*client
	idle        clientList // those without flows
	overflow    *client    // the place for clients that find none
	nodes       int        // of clients
	spareClient *client    // by newer
	spareNode   *node      // by sibling

	engaged   []*node
	nextSweep int64

	flows     int
	throttled [NumLevels]int64 // ns
	granted   [NumLevels]int64 // bytes that a limit of the level let pass
}

// changesKept is how many changes of the connection default a flow may sleep through
// without loss; see refreshFlow.
const changesKept = 8

// Tree returns the tree of a loop, from 0 to Config.Loops-1. It is called
// once for each; it panics if there is no such loop.
func (s *Shaper) Tree(loop int) *Tree {
	if loop < 0 || loop >= s.loops {
		panic(fmt.Sprintf("shape: no loop %d of %d", loop, s.loops))
	}
	t := &Tree{
		shaper:  s,
		loop:    loop,
		wheel:   newWheel(),
		clients: make(map[ClientID]*client),
	}
	t.root = newNode(LevelGlobal, nil, &t.rootMeter)
	return t
}

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

// readConfig takes over what the tree keeps of the configuration and returns the rest.
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

// refresh brings the nodes up to date and lets what is parked find out anew what it
// waits for. It takes time in proportion to the flows that wait, and to the clients if
// their default has changed; a change of one node costs that node only. Flows are
// brought up to date when they are looked at.
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

// follow brings one node up to date, unless all of its kind have been.
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
		if n := t.classes[ch.class.id]; n != nil {
			t.updateNode(n, t.shaper.classTable(ch.class), false)
		}
	}
}

// updateNode brings into force what is said about the root or a class; see updateClient.
func (t *Tree) updateNode(n *node, o table, fresh bool) {
	if n.meter.table.update(&o) {
		n.meter.apply(t, fresh)
		t.reconsider(n)
	}
}

// reconsider lets a node that is parked find out anew, and those above it: they may be
// parked for a grant of the size that it had.
func (t *Tree) reconsider(n *node) {
	for ; n != nil; n = n.parent {
		if n.state == parked {
			t.unpark(&n.member)
		}
	}
}

// refreshNodes brings the root and the classes up to date.
func (t *Tree) refreshNodes(c config) {
	t.updateNode(t.root, c.global, false)
	var waiting []*node
	for _, n := range t.classes {
		if n != nil && n.state == queued {
			t.leave(&n.member)
			waiting = append(waiting, n)
		}
	}
	t.setClasses(c.classes)
	for _, n := range waiting {
		t.enqueue(&n.member)
	}
	for m := t.parked.head; m != nil; m = t.parked.head {
		t.unpark(m)
	}
}

// setClasses gives the classes their limits. None is queued.
func (t *Tree) setClasses(tables []table) {
	t.guaranteed = t.guaranteed[:0]
	t.root.bands = t.root.bands[:0]
	for i, n := range t.classes {
		if n == nil {
			continue
		}
		if n.meter.table.update(&tables[i]) {
			n.meter.apply(t, false)
		}
		t.place(n, &tables[i])
	}
}

// place sorts a class by its priority and guarantee.
func (t *Tree) place(n *node, o *table) {
	l := o.limit
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
	g := table{said: said{limit: Limit{Rate: l.Guarantee}, epoch: o.epoch}}
	if n.guarantee == nil {
		n.guarantee = new(meter)
		n.guarantee.open(t, g, n.class.guarantee)
	} else if n.guarantee.table.update(&g) {
		n.guarantee.apply(t, false)
	}
	t.guaranteed = append(t.guaranteed, n)
}

// classNode returns the node of a class.
func (t *Tree) classNode(c *Class) *node {
	if c == nil {
		c = t.shaper.table.Load().rest
	}
	if c.id < len(t.classes) {
		if n := t.classes[c.id]; n != nil {
			return n
		}
	}
	return t.newClassNode(c)
}

func (t *Tree) newClassNode(c *Class) *node {
	// The class may be newer than what the tree knows.
	if c.id >= len(t.classes) {
		t.refresh()
	}
	o := t.shaper.classTable(c)
	n := newNode(LevelPath, t.root, new(meter))
	n.class = c
	n.meter.open(t, o, c.pool)
	t.classes[c.id] = n
	t.place(n, &o)
	return n
}

// Join begins a response of f in class c (nil: the default class) for a client. A flow
// that has rested keeps the state of its connection's bucket. Join ends a
// response that has not been ended.
func (t *Tree) Join(f *Flow, c *Class, id ClientID, now int64) {
	t.begin(f, now)
	t.enter(f, t.lookup(id), t.classNode(c))
}

// JoinBytes is Join for a name that is not a string; it is copied only if the client
// is new.
func (t *Tree) JoinBytes(f *Flow, c *Class, id []byte, now int64) {
	t.begin(f, now)
	cl := t.clients[ClientID(id)]
	if cl == nil {
		cl = t.admitClient(ClientID(id))
	}
	t.enter(f, cl, t.classNode(c))
}

func (t *Tree) begin(f *Flow, now int64) {
	t.clock(now)
	if f.client != nil {
		t.Rest(f, now)
	}
	f.flow, f.timer.member = f, &f.member
	f.override, f.stale = false, true
	f.granted, f.sent, f.held = 0, 0, [NumLevels]int64{}
	f.served, f.deficit = false, 0
	t.flows++
}

// SetLimit sets the connection's limit for this response, in place of the
// configured one; the zero value is the configured one. A limit that is not valid
// is not taken.
func (t *Tree) SetLimit(f *Flow, l Limit) {
	if l.validAt(LevelConnection) != nil {
		return
	}
	f.own, f.override, f.stale = l, l != Limit{}, true
	if f.state == parked {
		t.unpark(&f.member)
	}
}

// refreshFlow brings a flow's bucket up to date. A flow that is not looked at for a
// while finds out late that its limit has changed: what it had until the
// first change counts, and what it has accrued since the last.
func (t *Tree) refreshFlow(f *Flow) {
	if !f.stale && f.change == t.change {
		return
	}
	l := t.connection
	if f.override {
		l = f.own
	}
	switch missed := t.change - f.change; {
	case !f.begun, f.bucket.Rate == Unlimited && f.sent == 0:
		f.bucket.open(l, t.now)
	case f.bucket.is(l):
	case missed == 0:
		f.bucket.retune(l, t.now)
	default:
		if missed < changesKept {
			f.bucket.Advance(t.changed[(f.change+1)%changesKept])
		}
		last := t.changed[t.change%changesKept]
		f.bucket.Skip(last)
		f.bucket.retune(l, last)
	}
	f.begun, f.stale, f.change = true, false, t.change
	f.setWeight(l.weight())
}

// Take asks for up to want bytes for f. If nobody waits for the same tokens
// and they are there, it returns how many were granted. Otherwise it
// returns 0, and f waits until Next returns it with f.Granted() bytes. A flow has one
// grant at a time: with the next Take the last one counts as sent.
func (t *Tree) Take(f *Flow, want, now int64) int64 {
	t.clock(now)
	if f.client == nil || f.state != idle || want <= 0 {
		return 0
	}
	f.want, f.granted = want, 0
	t.endOverride(f.client.client)
	t.refreshFlow(f)
	client, class := f.client, f.client.parent
	n := t.size(f, t.alone(f))
	if at, ok := f.bucket.Ready(n, t.now); !ok {
		f.since = t.now
		t.engage(f)
		t.park(&f.member, at)
		return 0
	}
	if client.state != idle || class.state != idle || t.root.state != idle {
		t.queue(f)
		return 0
	}
	rank := class.rank(t)
	if short, at := t.short(client, n, rank); short != nil {
		t.queue(f)
		t.park(&short.member, at)
		return 0
	}
	t.charge(f, n, rank == guaranteedRank)
	return n
}

// size returns the grant for a flow that can count on share bytes per second of
// what is above it.
func (t *Tree) size(f *Flow, share int64) int64 {
	c := f.client
	return min(f.want, grantFor(min(share, f.bucket.Rate.Speed())),
		f.bucket.most, c.meter.bucket.most, c.parent.meter.bucket.most, t.rootMeter.bucket.most)
}

// short returns the lowest node from the client up that has less than n tokens
// now, and when to ask again; nil if there is none.
func (t *Tree) short(client *node, n int64, rank int) (short *node, at int64) {
	for p := client; p != nil; p = p.parent {
		if !p.meter.limited() {
			continue
		}
		if at, ok := p.meter.ready(t, n, p, rank); !ok {
			if p.client != nil && p.client.expires != 0 {
				at = min(at, p.client.expires)
			}
			return p, at
		}
	}
	return nil, 0
}

// charge books a grant of n bytes at every level. What a class gets for its
// guarantee is not counted in its turn.
func (t *Tree) charge(f *Flow, n int64, guaranteed bool) {
	client, class := f.client, f.client.parent
	f.granted = n
	f.sent += n
	t.book(f, n)
	if f.bucket.Rate != Unlimited {
		f.bucket.Tokens -= n
	}
	client.meter.spend(n, t.now)
	class.meter.spend(n, t.now)
	t.rootMeter.spend(n, t.now)
	if class.guarantee != nil {
		class.guarantee.borrow(t, n)
	}
	f.deficit -= n
	client.deficit -= n
	if !guaranteed {
		class.deficit -= n
	}
	client.served += n
	class.served += n
	t.root.served += n
	f.stamp, f.served = client.served, true
	client.stamp, client.member.served = class.served, true
}

// book counts n bytes, below 0 for what is given back, for those who look.
func (t *Tree) book(f *Flow, n int64) {
	client, class := f.client, f.client.parent
	client.client.window.add(t.sec, n)
	client.client.granted += n
	class.window.add(t.sec, n)
	class.granted += n
	t.root.window.add(t.sec, n)
	t.root.granted += n
	if f.bucket.Rate != Unlimited {
		t.granted[LevelConnection] += n
	}
	for p := client; p != nil; p = p.parent {
		if p.meter.limited() {
			t.granted[p.level] += n
		}
	}
}

// Refund gives back n bytes of the last grant that were not sent, at every level. It
// never makes credit: no bucket gets above its burst, and no more is given back
// than was granted.
func (t *Tree) Refund(f *Flow, n, now int64) {
	t.clock(now)
	n = min(n, f.granted)
	if f.client == nil || n <= 0 {
		return
	}
	f.granted -= n
	f.sent -= n
	t.book(f, -n)
	f.bucket.Advance(t.now)
	f.bucket.Refund(n)
	f.deficit += n
	for p := f.client; p != nil; p = p.parent {
		p.deficit += n
		p.meter.refund(t, n)
		if p.guarantee != nil {
			p.guarantee.repay(n)
		}
		if p.meter.limited() {
			t.retry(p)
		}
	}
}

// retry lets a node that waits for its bucket find out anew; of a client, all its nodes.
func (t *Tree) retry(n *node) {
	if n.level == LevelClient {
		n = n.client.nodes
	}
	for ; n != nil; n = n.sibling {
		if n.state == parked {
			t.unpark(&n.member)
		}
	}
}

// Rest ends the response of f and keeps its connection: f leaves the queues, its
// client and its class. A grant that was not sent must have been given back.
func (t *Tree) Rest(f *Flow, now int64) {
	t.clock(now)
	if f.client == nil {
		return
	}
	switch f.state {
	case queued:
		f.endQueue(t)
		t.leave(&f.member)
		for p := f.client; p != nil; p = p.parent {
			t.retry(p) // perhaps it was parked for f
		}
	case parked:
		f.hold(t, LevelConnection, t.now-f.since)
		t.stopParking(&f.member)
	}
	f.granted = 0
	t.flows--
	t.exit(f)
}

// Leave ends the connection of f, also while it waits. f is then as new.
func (t *Tree) Leave(f *Flow, now int64) {
	t.Rest(f, now)
	*f = Flow{}
}

// Next returns a flow that has waited and whose grant is there: f.Granted()
// bytes, charged as by Take. It returns nil if there is none now.
func (t *Tree) Next(now int64) *Flow {
	t.clock(now)
	t.wake()
	for t.root.state == queued {
		f, rank, share := t.choose()
		if t.endOverride(f.client.client) {
			continue
		}
		t.refreshFlow(f)
		n := t.size(f, share)
		if at, ok := f.bucket.Ready(n, t.now); !ok {
			f.endQueue(t)
			f.since = t.now
			t.park(&f.member, at)
			continue
		}
		if short, at := t.short(f.client, n, rank); short != nil {
			t.park(&short.member, at)
			continue
		}
		f.endQueue(t)
		t.leave(&f.member)
		t.charge(f, n, rank == guaranteedRank)
		return f
	}
	return nil
}

// Due returns the instant when Next may have something, -1 if nothing is
// under way that time alone would bring on. A result that is not after the last
// instant given means now.
func (t *Tree) Due() int64 {
	if t.root.state == queued || t.epoch != 0 && t.shaper.epoch.Load() != t.epoch {
		return t.now
	}
	return t.wheel.due()
}
