package shape

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ideal is a token bucket in rational numbers: what a node may pass. That it never goes
// below zero is the same as that in every window w at most rate*w + burst pass.
type ideal struct {
	rate   Rate
	burst  int64
	tokens *big.Rat
	at     int64
}

func newIdeal(l Limit, now int64) *ideal {
	return &ideal{rate: l.Rate, burst: l.burst(), tokens: big.NewRat(l.start(), 1), at: now}
}

func (b *ideal) cap() {
	if most := big.NewRat(b.burst, 1); b.rate > 0 && b.tokens.Cmp(most) > 0 {
		b.tokens = most
	}
}

func (b *ideal) advance(now int64) {
	if now <= b.at {
		return
	}
	if b.rate > 0 {
		gain := big.NewRat(now-b.at, 1)
		gain.Mul(gain, big.NewRat(int64(b.rate), second))
		b.tokens = new(big.Rat).Add(b.tokens, gain)
	}
	b.at = now
	b.cap()
}

// retune keeps what is there, but for what was unlimited.
func (b *ideal) retune(l Limit, now int64) {
	b.advance(now)
	if b.rate == Unlimited {
		b.tokens = new(big.Rat)
	}
	b.rate, b.burst = l.Rate, l.burst()
	b.cap()
}

// take reports whether n may pass.
func (b *ideal) take(n, now int64) bool {
	b.advance(now)
	switch b.rate {
	case Unlimited:
		return true
	case Paused:
		return false
	}
	b.tokens = new(big.Rat).Sub(b.tokens, big.NewRat(n, 1))
	return b.tokens.Sign() >= 0
}

func (b *ideal) refund(n, now int64) {
	b.advance(now)
	b.tokens = new(big.Rat).Add(b.tokens, big.NewRat(n, 1))
	b.cap()
}

// machine is the state machine that rapid drives: one tree beside the ideal buckets of
// all its nodes.
type machine struct {
	s   *Shaper
	t   *Tree
	now int64 // what the tree is told
	max int64 // the latest that it was told

	global, connection, client Limit
	classes                    map[string]Limit
	clientLimits               map[ClientID]Limit
	shares                     map[string]Rate  // by the name of the node
	former                     map[*member]wait // what was parked when a limit above it changed

	ideal map[string]*ideal
	flows []*modelFlow
	dirty bool // the configuration has changed since the tree was last called
}

type modelFlow struct {
	Flow
	name    string
	joined  bool
	class   string
	client  ClientID
	place   ClientID // the client that it is counted by, which may be the shared one
	own     Limit
	custom  bool
	granted int64 // of the last grant, not given back
	sent    int64 // in this response
	within  Rate  // what its class last let a connection have
	charged []*ideal
}

var (
	modelPaths   = []string{"/a/", "/b/", "/a/b/"}
	modelClients = []ClientID{"x", "y", "z"}
)

func limits(withPath bool) *rapid.Generator[Limit] {
	rates := []Rate{Unlimited, Unlimited, Paused, 1, 999, 50_000, 1 << 20, 77_777_777, 100e9}
	bursts := []int64{0, 0, 1, 1000, 1 << 20}
	return rapid.Custom(func(t *rapid.T) Limit {
		l := Limit{
			Rate:   rapid.SampledFrom(rates).Draw(t, "rate"),
			Burst:  rapid.SampledFrom(bursts).Draw(t, "burst"),
			Weight: rapid.SampledFrom([]int{0, 1, 2, 7, MaxWeight}).Draw(t, "weight"),
		}
		if withPath {
			l.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
			if l.Rate != Paused && rapid.Bool().Draw(t, "guaranteed") {
				l.Guarantee = l.Rate/2 + 1
				if l.Rate == Unlimited {
					l.Guarantee = 100_000
				}
			}
			l.Client = rapid.SampledFrom(rates).Draw(t, "client")
			l.Connection = rapid.SampledFrom(rates).Draw(t, "connection")
			if l.within() {
				l.After = rapid.SampledFrom([]int64{0, 1, 5000, 1 << 20}).Draw(t, "after")
			}
		}
		return l
	})
}

func newMachine(rt *rapid.T) *machine {
	m := &machine{
		now:          5 * sec,
		classes:      make(map[string]Limit),
		clientLimits: make(map[ClientID]Limit),
		shares:       make(map[string]Rate),
		former:       make(map[*member]wait),
		ideal:        make(map[string]*ideal),
	}
	m.global = limits(false).Draw(rt, "global")
	m.client = limits(false).Draw(rt, "client")
	m.connection = limits(false).Draw(rt, "connection")
	cfg := Config{Global: m.global, Client: m.client, Connection: m.connection, MaxClients: 2}
	s, err := New(cfg)
	if err != nil {
		rt.Fatal(err)
	}
	m.s, m.t = s, s.Tree(0)
	return m
}

// sync is called before each call of the tree: it brings the ideal buckets
// to the configuration that the tree will find.
func (m *machine) sync() {
	m.max = max(m.max, m.now)
	defer func() {
		m.bucket("g")
		m.bucket("c") // shared by clients that find no place
	}()
	if !m.dirty {
		return
	}
	m.dirty = false
	for name, b := range m.ideal {
		b.retune(m.limitOf(name), m.max)
	}
	for _, f := range m.flows { // whose client had no limit in its class begins with nothing
		if name := f.inClass(); f.joined && m.ideal[name] == nil && m.limitOf(name).limits() {
			m.ideal[name] = newIdeal(Limit{}, m.max)
			m.ideal[name].retune(m.limitOf(name), m.max)
		}
	}
}

// inClass names the bucket of f's client in f's class.
func (f *modelFlow) inClass() string { return "w" + f.class + " " + string(f.place) }

// settle notes what f's class lets a connection have, before f is served.
func (m *machine) settle(f *modelFlow) {
	l := m.classes[f.class]
	if f.sent < l.After {
		l.Connection = Unlimited
	}
	if l.Connection == f.within {
		return
	}
	f.within = l.Connection
	if b := m.ideal[f.name]; b == nil {
	} else if b.rate == Unlimited && f.sent == 0 {
		m.ideal[f.name] = newIdeal(m.flowLimit(f), m.max)
	} else {
		b.retune(m.flowLimit(f), m.max)
	}
}

// limitOf returns the limit of a node by its name, of which the share may be the least.
func (m *machine) limitOf(name string) Limit {
	l := m.configured(name)
	if share := m.shares[name]; share != Unlimited && (l.Rate == Unlimited || share < l.Rate) {
		l.Rate = share
	}
	return l
}

// configured returns the limit without the share; a connection's is looked up by flow.
func (m *machine) configured(name string) Limit {
	switch name[0] {
	case 'g':
		return m.global
	case 'p':
		return m.classes[name[1:]]
	case 'w':
		prefix, _, _ := strings.Cut(name[1:], " ")
		return Limit{Rate: m.classes[prefix].Client}
	case 'c':
		if l, ok := m.clientLimits[ClientID(name[1:])]; ok {
			return l
		}
		return m.client
	}
	for _, f := range m.flows {
		if f.name == name {
			return m.flowLimit(f)
		}
	}
	panic("no node " + name)
}

func (m *machine) flowLimit(f *modelFlow) Limit {
	if f.custom {
		return f.own
	}
	return m.connection.atMost(f.within)
}

// chain returns the ideal buckets that f is charged to.
func (m *machine) chain(f *modelFlow) []*ideal {
	chain := []*ideal{m.bucket("g"), m.bucket("p" + f.class), m.bucket("c" + string(f.place)), m.bucket(f.name)}
	if f.sent >= m.classes[f.class].After && m.classes[f.class].Client != Unlimited {
		chain = append(chain, m.bucket(f.inClass()))
	}
	return chain
}

// bucket returns the ideal bucket of a node, making it when it is first seen.
func (m *machine) bucket(name string) *ideal {
	b := m.ideal[name]
	if b == nil {
		b = newIdeal(m.limitOf(name), m.max)
		m.ideal[name] = b
	}
	return b
}

func (m *machine) charge(rt *rapid.T, f *modelFlow, n int64) {
	if n <= 0 {
		rt.Fatalf("%s: granted %d", f.name, n)
	}
	f.charged = m.chain(f)
	for i, b := range f.charged {
		if !b.take(n, m.max) {
			rt.Fatalf("%s: a grant of %d leaves level %d at %v", f.name, n, i+1, b.tokens.FloatString(6))
		}
	}
	f.granted = n
	if after := m.classes[f.class].After; f.sent < after && f.sent+n > after {
		rt.Fatalf("%s: a grant of %d goes beyond %d, after which its class limits it", f.name, n, after)
	}
	f.sent += n
}

func (m *machine) pickFlow(rt *rapid.T, ok func(*modelFlow) bool) *modelFlow {
	var some []*modelFlow
	for _, f := range m.flows {
		if ok(f) {
			some = append(some, f)
		}
	}
	if len(some) == 0 {
		rt.Skip("none")
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(rt, "flow")]
}

func joined(f *modelFlow) bool { return f.joined }

func (m *machine) join(rt *rapid.T) {
	var f *modelFlow
	if len(m.flows) < 12 && rapid.Bool().Draw(rt, "new") {
		f = &modelFlow{name: fmt.Sprintf("f%d", len(m.flows))}
		m.flows = append(m.flows, f)
	} else {
		f = m.pickFlow(rt, func(f *modelFlow) bool { return !f.joined })
	}
	m.sync()
	path := rapid.SampledFrom(slices.Concat(modelPaths, []string{"/"})).Draw(rt, "path")
	c := m.s.Class([]byte(path))
	f.class, f.client = c.Prefix(), rapid.SampledFrom(modelClients).Draw(rt, "client")
	f.joined, f.custom, f.granted, f.sent = true, false, 0, 0
	before := maps.Clone(m.t.clients)
	m.t.Join(&f.Flow, c, f.client, m.now)
	m.forgotten(rt, before)
	f.place = f.Flow.client.client.id
	m.bucket("g")
	m.bucket("p" + f.class)
	m.bucket("c" + string(f.place))
	if m.classes[f.class].Client != Unlimited {
		m.bucket(f.inClass())
	}
	if rapid.Bool().Draw(rt, "own") {
		if l := limits(false).Draw(rt, "limit"); l != (Limit{}) {
			f.own, f.custom = l, true
			m.t.SetLimit(&f.Flow, l)
		}
	}
	if b := m.ideal[f.name]; b != nil {
		f.settle()
		f.refresh(m.t)
		m.settle(f)
		if l := m.flowLimit(f); b.rate == Unlimited {
			m.ideal[f.name] = newIdeal(l, m.max)
		} else {
			b.retune(l, m.max)
		}
	}
}

// forgotten checks that clients who have been forgotten had their whole burst. Those
// who are new begin with no more.
func (m *machine) forgotten(rt *rapid.T, before map[ClientID]*client) {
	for id := range before {
		if b := m.bucket("c" + string(id)); m.t.clients[id] == nil && b.rate != Unlimited {
			if b.advance(m.max); b.tokens.Cmp(big.NewRat(b.burst, 1)) < 0 {
				rt.Fatalf("client %s is forgotten with %v of %d", id, b.tokens.FloatString(3), b.burst)
			}
		}
	}
	for id := range m.t.clients {
		if before[id] == nil {
			m.ideal["c"+string(id)] = newIdeal(m.limitOf("c"+string(id)), m.max)
		}
	}
}

func (m *machine) take(rt *rapid.T) {
	f := m.pickFlow(rt, joined)
	if f.Waiting() {
		rt.Skip("waits")
	}
	m.sync()
	want := rapid.SampledFrom([]int64{1, 100, 5000, 1 << 20, 1 << 40}).Draw(rt, "want")
	f.granted = 0
	m.settle(f)
	m.chain(f)
	n := m.t.Take(&f.Flow, want, m.now)
	if n > want {
		rt.Fatalf("granted %d of %d", n, want)
	}
	if n > 0 {
		m.charge(rt, f, n)
	} else if !f.Waiting() {
		rt.Fatal("neither granted nor waiting")
	}
}

func (m *machine) next(rt *rapid.T) {
	m.sync()
	for range 50 {
		f := m.t.Next(m.now)
		if f == nil {
			m.conserving(rt)
			return
		}
		mf := m.flows[slices.IndexFunc(m.flows, func(o *modelFlow) bool { return &o.Flow == f })]
		if !mf.joined {
			rt.Fatal("Next returned a flow that has left")
		}
		m.settle(mf)
		m.charge(rt, mf, f.Granted())
	}
}

// conserving checks, after Next had nothing, that every flow that waits does so for a
// bucket that lacks its grant.
func (m *machine) conserving(rt *rapid.T) {
	for _, f := range m.flows {
		if !f.joined || !f.Waiting() {
			continue
		}
		blocked := f.state == parked
		for n := f.parent; n != nil; n = n.parent {
			blocked = blocked || n.state == parked
		}
		if !blocked {
			rt.Fatalf("%s waits for nothing", f.name)
		}
	}
	for p := m.t.parked.head; p != nil; p = p.next {
		if p.timer.slot != nil && p.timer.at*tick <= m.max+tick {
			continue // there is no finer timer
		}
		b, need := m.lacks(p)
		if was := m.former[p]; was.since == p.parkedSince() {
			need = max(need, was.need)
		}
		if b.Rate == Unlimited || b.Rate > 0 && b.Tokens >= need {
			rt.Fatalf("parked with %d tokens at %v, for %d", b.Tokens, b.Rate, need)
		}
	}
}

// wait is what a parked member waits for, since when.
type wait struct{ since, need int64 }

// noteParked is called before a change that looks at one node and those above it: what
// is parked below goes on waiting for the grant that it could have.
func (m *machine) noteParked() {
	for p := m.t.parked.head; p != nil; p = p.next {
		_, need := m.lacks(p)
		now := wait{p.parkedSince(), need}
		if was := m.former[p]; was.since == now.since {
			now.need = max(now.need, was.need)
		}
		m.former[p] = now
	}
}

func (m *member) parkedSince() int64 {
	if m.flow != nil {
		return m.flow.since
	}
	return m.node.since
}

// lacks returns the bucket that a parked member waits for, and the largest grant
// that it may be waiting for.
func (m *machine) lacks(p *member) (b *bucket, need int64) {
	if p.flow != nil {
		return &p.flow.bucket, m.largest(p.flow)
	}
	for _, f := range m.flows {
		for n := f.parent; n != nil; n = n.parent {
			if n == p.node && f.state == queued {
				need = max(need, m.largest(&f.Flow))
			}
		}
	}
	return &p.node.meter.bucket, need
}

// largest returns the largest grant of a flow, whatever its share: one just below
// slowRate has larger ones than one above.
func (m *machine) largest(f *Flow) int64 {
	return max(f.size(infinite), f.size(slowRate-1))
}

func (m *machine) refund(rt *rapid.T) {
	f := m.pickFlow(rt, func(f *modelFlow) bool { return f.joined && f.granted > 0 })
	m.sync()
	n := rapid.Int64Range(1, 2*f.granted).Draw(rt, "n")
	m.t.Refund(&f.Flow, n, m.now)
	n = min(n, f.granted)
	f.granted -= n
	f.sent -= n
	for _, b := range f.charged {
		b.refund(n, m.max)
	}
	if f.Granted() != f.granted {
		rt.Fatalf("granted %d, want %d", f.Granted(), f.granted)
	}
}

func (m *machine) rest(rt *rapid.T) {
	f := m.pickFlow(rt, joined)
	m.sync()
	m.t.Rest(&f.Flow, m.now)
	f.joined = false
}

func (m *machine) leave(rt *rapid.T) {
	f := m.pickFlow(rt, joined)
	m.sync()
	m.t.Leave(&f.Flow, m.now)
	f.joined = false
	delete(m.ideal, f.name)
}

func (m *machine) tune(rt *rapid.T) {
	what := rapid.SampledFrom([]string{"global", "client", "connection", "path", "remove", "one", "restore", "share"}).Draw(rt, "what")
	path := rapid.SampledFrom(modelPaths).Draw(rt, "path")
	id := rapid.SampledFrom(modelClients).Draw(rt, "id")
	l := limits(what == "path").Draw(rt, "limit")
	if l.Rate > 0 && l.Guarantee > l.Rate {
		l.Guarantee = 0
	}
	if what == "one" || what == "restore" || what == "share" {
		m.noteParked()
	}
	var err error
	switch what {
	case "global":
		_, err = m.s.SetGlobal(l)
		m.global = l
	case "client":
		_, err = m.s.SetClientDefault(l)
		m.client = l
	case "connection":
		_, err = m.s.SetConnectionDefault(l)
		m.connection = l
	case "path":
		_, _, err = m.s.SetPath(path, l)
		m.classes[path] = l
	case "remove":
		m.s.RemovePath(path)
		delete(m.classes, path)
		delete(m.shares, "p"+path)
	case "one":
		_, _, err = m.s.SetClient(id, l, 0)
		m.clientLimits[id] = l
	case "restore":
		m.s.RemoveClient(id)
		delete(m.clientLimits, id)
	case "share":
		err = m.setShare(rt, path, id, l.Rate)
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.dirty = true
	m.sync()
	m.t.clock(m.now) // notices
	for _, f := range m.flows {
		if !f.begun {
			continue
		}
		// Now, not when it is next looked at: what comes of that has a test of its own.
		fresh := f.bucket.Rate == Unlimited && f.Flow.sent == 0
		if f.joined {
			f.settle()
			m.settle(f)
		}
		f.refresh(m.t)
		if fresh {
			m.ideal[f.name] = newIdeal(m.flowLimit(f), m.max)
		}
	}
}

// setShare sets the share of the whole, of a path class if it is there, or of a client.
func (m *machine) setShare(rt *rapid.T, path string, id ClientID, r Rate) error {
	sh := Share{Node{LevelGlobal, ""}, r}
	name := "g"
	switch _, there := m.classes[path]; rapid.IntRange(0, 2).Draw(rt, "level") {
	case 0:
	case 1:
		if there {
			sh.Node, name = Node{LevelPath, path}, "p"+path
		}
	default:
		sh.Node, name = Node{LevelClient, string(id)}, "c"+string(id)
	}
	m.shares[name] = r
	return m.s.SetShares(sh)
}

func (m *machine) pass(rt *rapid.T) {
	m.now += rapid.SampledFrom([]int64{0, 1, 999, ms, 7*ms + 13, 400 * ms, 61 * sec, 40 * 24 * 3600 * sec, -5 * ms, -3 * sec}).Draw(rt, "ns")
}

// wait lets time pass until something is due.
func (m *machine) wait(*rapid.T) {
	if due := m.t.Due(); due > m.now && due < m.now+3600*sec {
		m.now = due
	}
}

// check verifies the structure.
func (m *machine) check(rt *rapid.T) {
	t := m.t
	flows := make(map[*node]int)
	for _, f := range m.flows {
		if !f.joined {
			if f.state != idle || f.queue != nil || f.timer.slot != nil || f.Flow.client != nil {
				rt.Fatalf("%s has left and is still in the tree", f.name)
			}
			continue
		}
		flows[f.Flow.client]++
		checkMember(rt, &f.member)
	}
	checkNode(rt, t.root)
	known := make(map[string]bool)
	for _, c := range t.classes {
		if c != nil {
			checkNode(rt, c)
			known[c.class.prefix] = true
		}
	}
	for _, path := range modelPaths {
		if _, there := m.classes[path]; !there && !known[path] { // if it comes back it is new
			delete(m.ideal, "p"+path)
		}
	}
	nodes, places := 0, make(map[string]bool)
	clients := slices.Collect(maps.Values(t.clients))
	for _, c := range append(clients, t.overflow) {
		if c == nil {
			continue
		}
		sum := 0
		for n := c.nodes; n != nil; n = n.sibling {
			checkNode(rt, n)
			if n.flows != flows[n] {
				rt.Fatalf("client %s: counts %d flows, has %d", c.id, n.flows, flows[n])
			}
			sum += n.flows
			nodes++
			if w := n.inner; w != nil {
				checkNode(rt, &w.node)
				nodes++
				places["w"+n.class.prefix+" "+string(c.id)] = places["w"+n.class.prefix+" "+string(c.id)] || !n.parent.gone
			}
		}
		if sum != c.flows {
			rt.Fatalf("client %s: counts %d flows, has %d", c.id, c.flows, sum)
		}
	}
	if nodes != t.nodes {
		rt.Fatalf("counts %d nodes, has %d", t.nodes, nodes)
	}
	m.dropped(rt, places)
}

// dropped checks that clients whose place within a class is gone had their whole burst.
func (m *machine) dropped(rt *rapid.T, places map[string]bool) {
	for name, b := range m.ideal {
		if name[0] != 'w' || places[name] {
			continue
		}
		if b.advance(m.max); m.limitOf(name).limits() && b.rate != Unlimited && b.tokens.Cmp(big.NewRat(b.burst, 1)) < 0 {
			rt.Fatalf("client %s is dropped with %v of %d", name, b.tokens.FloatString(3), b.burst)
		}
		delete(m.ideal, name)
	}
}

func checkMember(rt *rapid.T, m *member) {
	if (m.state == idle) != (m.queue == nil) {
		rt.Fatalf("state %d, in a queue %v", m.state, m.queue != nil)
	}
	if m.timer.slot != nil && m.state != parked {
		rt.Fatalf("a timer is set in state %d", m.state)
	}
}

func checkNode(rt *rapid.T, n *node) {
	count, weights := 0, int64(0)
	for _, b := range n.bands {
		for _, q := range []*queue{&b.fresh, &b.old} {
			for m := q.head; m != nil; m = m.next {
				count++
				weights += m.weight
				if m.state != queued || m.queue != q || m.parent != n {
					rt.Fatalf("%v: a member in state %d is queued", n.level, m.state)
				}
			}
		}
	}
	if count != n.count || weights != n.weights {
		rt.Fatalf("%v: counts %d members of weight %d, has %d of %d", n.level, n.count, n.weights, count, weights)
	}
	if (n.count == 0) != (n.state == idle) {
		rt.Fatalf("%v: state %d with %d members", n.level, n.state, n.count)
	}
	if n.parent != nil {
		checkMember(rt, &n.member)
	}
}

func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"join":    m.join,
			"take":    m.take,
			"take2":   m.take,
			"next":    m.next,
			"refund":  m.refund,
			"rest":    m.rest,
			"leave":   m.leave,
			"tune":    m.tune,
			"pass":    m.pass,
			"wait":    m.wait,
			"waiting": func(rt *rapid.T) { m.wait(rt); m.next(rt) },
		})
	})
}
