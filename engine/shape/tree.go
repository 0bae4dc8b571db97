package shape

import "fmt"

// Tree is the part of a [Shaper] that belongs to one event loop. It is not safe for
// concurrent use. Only Report, a change of the configuration, and Join for a new client
// allocate.
//
// The instants that its methods take are monotonic nanoseconds of one clock for
// all trees. If one is before another that was given earlier, time stands still.
type Tree struct {
	shaper *Shaper
	epoch  uint64 // of the configuration that is in force here

	scheduler
	sec int64 // now in seconds, for windows

	root       *node
	rootMeter  meter
	classes    []*node // by Class.id; nil: not seen yet
	guaranteed []*node // classes that have a guarantee
	client     table   // of a client about which nothing else is said
	named      bool    // something is said about single clients

	connection Limit
	change     uint64             // counts the changes of connection
	changed    [changesKept]int64 // when the last ones were noticed

	directory
	overflow *client // the place for clients that find none

	engaged   []*node
	nextSweep int64

	flows   int
	granted [NumLevels]int64 // bytes that a limit of the level let pass
}

// changesKept is how many changes of the connection default a flow may rest through
// without a loss of tokens; see Flow.refresh.
const changesKept = 8

// Tree returns the tree of a loop, from 0 to Config.Loops-1. It is called
// once for each; it panics if there is no such loop.
func (s *Shaper) Tree(loop int) *Tree {
	if loop < 0 || loop >= s.loops {
		panic(fmt.Sprintf("shape: no loop %d of %d", loop, s.loops))
	}
	t := &Tree{
		shaper:    s,
		scheduler: scheduler{loop: loop, wheel: newWheel()},
		directory: directory{clients: make(map[ClientID]*client)},
	}
	t.root = newNode(LevelGlobal, nil, &t.rootMeter)
	return t
}

// Join begins a response of f in class c (nil: the default class) for a client. The flow
// keeps its connection's bucket from the last response, and Join ends that response if
// nobody has.
func (t *Tree) Join(f *Flow, c *Class, id ClientID, now int64) {
	t.begin(f, now)
	cl := t.clients[id]
	if cl == nil {
		cl = t.addClient(id)
	}
	t.enter(f, cl, t.classNode(c))
}

// JoinBytes is Join for a name that is not a string; it is copied only if the client
// is new.
func (t *Tree) JoinBytes(f *Flow, c *Class, id []byte, now int64) {
	t.begin(f, now)
	cl := t.clients[ClientID(id)]
	if cl == nil {
		cl = t.addClient(ClientID(id))
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

// SetLimit gives this response a limit of its own, in place of the connection's and of the
// cap on that. The zero value stands for those two. A limit that is not valid changes
// nothing.
func (t *Tree) SetLimit(f *Flow, l Limit) {
	if l.ValidateAt(LevelConnection) != nil {
		return
	}
	f.own, f.override, f.stale = l, l != Limit{}, true
	if f.state == parked {
		t.unpark(&f.member)
	}
}

// refresh brings a flow's bucket up to date. A flow may have rested through several changes of
// its limit: the tokens until the first of them count, and those since the last.
func (f *Flow) refresh(t *Tree) {
	if !f.stale && f.change == t.change {
		return
	}
	l := t.connection.atMost(f.class)
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

// Take asks for up to want bytes for f. If the tokens are there and no other flow waits for
// them, it returns how many bytes are granted. Otherwise it returns 0, and f waits until
// Next returns it with f.Granted() bytes. A flow has one grant at a time: the next Take
// counts the last one as sent.
func (t *Tree) Take(f *Flow, want, now int64) int64 {
	t.clock(now)
	if f.client == nil || f.state != idle || want <= 0 {
		return 0
	}
	f.want, f.granted = want, 0
	f.client.client.endOverride(t)
	f.moveTo(f.settle())
	f.refresh(t)
	client, class := f.client, f.client.parent
	n := f.size(f.alone())
	if at, ok := f.bucket.Ready(n, t.now); !ok {
		f.since = t.now
		t.engage(f)
		t.park(&f.member, at)
		return 0
	}
	if f.parent.state != idle || client.state != idle || class.state != idle || t.root.state != idle {
		f.await(t)
		return 0
	}
	rank := class.rank(t)
	if short, at := f.parent.short(t, n, rank); short != nil {
		f.await(t)
		t.park(&short.member, at)
		return 0
	}
	f.charge(t, n, rank == guaranteedRank)
	return n
}

// size returns the grant for a flow whose share of what is above it is so many bytes per
// second.
func (f *Flow) size(share int64) int64 {
	n := min(f.want, grantFor(min(share, f.bucket.Rate.Speed())), f.bucket.most)
	for p := f.parent; p != nil; p = p.parent {
		n = min(n, p.meter.bucket.most)
	}
	if f.free {
		n = min(n, f.client.parent.meter.table.configured().After-f.sent)
	}
	return n
}

// short returns the lowest node from the parent of a flow up that has less than it needs
// now, and when to ask again; nil if there is none.
func (n *node) short(t *Tree, need int64, rank int) (short *node, at int64) {
	for p := n; p != nil; p = p.parent {
		if !p.meter.limited() {
			continue
		}
		if at, ok := p.meter.ready(t, need, p, rank); !ok {
			if p.client != nil && p.client.expires != 0 {
				at = min(at, p.client.expires)
			}
			return p, at
		}
	}
	return nil, 0
}

// charge subtracts a grant of n bytes at every level. What a class gets for its guarantee
// does not count in its turn.
func (f *Flow) charge(t *Tree, n int64, guaranteed bool) {
	client, class := f.client, f.client.parent
	f.granted = n
	f.sent += n
	f.book(t, n)
	if f.bucket.Rate != Unlimited {
		f.bucket.Tokens -= n
	}
	if w := f.parent; w != client {
		w.meter.spend(n, t.now)
		w.deficit -= n
		w.served += n
		w.stamp, w.member.served = client.served+n, true
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
	f.stamp, f.served = f.parent.served, true
	client.stamp, client.member.served = class.served, true
}

// book counts n bytes for reports; below 0: bytes that come back.
func (f *Flow) book(t *Tree, n int64) {
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
	for p := f.parent; p != nil; p = p.parent {
		if p.meter.limited() && (p != client || f.parent == client) { // a level counts once
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
	f.book(t, -n)
	f.bucket.Advance(t.now)
	f.bucket.Refund(n)
	f.deficit += n
	for p := f.parent; p != nil; p = p.parent {
		p.deficit += n
		p.meter.refund(t, n)
		if p.guarantee != nil {
			p.guarantee.repay(n)
		}
		if p.meter.limited() {
			t.recheck(p)
		}
	}
}

// Rest ends the response of f and keeps its connection's bucket: f leaves the queues, its
// client and its class. The caller has refunded what was not sent.
func (t *Tree) Rest(f *Flow, now int64) {
	t.clock(now)
	if f.client == nil {
		return
	}
	switch f.state {
	case queued:
		f.endQueue(&t.scheduler)
		t.dequeue(&f.member)
		for p := f.parent; p != nil; p = p.parent {
			t.recheck(p) // perhaps it was parked for f
		}
	case parked:
		f.hold(&t.scheduler, LevelConnection, t.now-f.since)
		t.stopParking(&f.member)
	}
	f.granted = 0
	t.flows--
	t.exit(f)
}

// Leave ends the connection of f, also while f waits. f is then as new.
func (t *Tree) Leave(f *Flow, now int64) {
	t.Rest(f, now)
	*f = Flow{}
}

// Next returns a flow that has waited and that may send f.Granted() bytes now, charged as by
// Take; nil: there is none.
func (t *Tree) Next(now int64) *Flow {
	t.clock(now)
	t.wake()
	for t.root.state == queued {
		f, rank, share := t.choose()
		if f.client.client.endOverride(t) {
			continue
		}
		if p := f.settle(); p != f.parent { // its class has another limit
			f.endQueue(&t.scheduler)
			t.dequeue(&f.member)
			f.moveTo(p)
			f.await(t)
			continue
		}
		f.refresh(t)
		n := f.size(share)
		if at, ok := f.bucket.Ready(n, t.now); !ok {
			f.endQueue(&t.scheduler)
			f.since = t.now
			t.park(&f.member, at)
			continue
		}
		if short, at := f.parent.short(t, n, rank); short != nil {
			t.park(&short.member, at)
			continue
		}
		f.endQueue(&t.scheduler)
		t.dequeue(&f.member)
		f.charge(t, n, rank == guaranteedRank)
		return f
	}
	return nil
}

// Due returns the instant when Next may have a flow; -1: not before another call of the
// tree. An instant that is not after the last one given means now.
func (t *Tree) Due() int64 {
	if t.root.state == queued || t.epoch != 0 && t.shaper.epoch.Load() != t.epoch {
		return t.now
	}
	return t.wheel.due()
}
