package engine

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
)

// sampler is a loop's part of adaptation. It samples the connections of each
// client together, at the client's place in a grid of instants that all loops
// share, so that work is spread over the loop's turns and rounds are of
// one length. At the end of each period come the path classes.
type sampler struct {
	shared *Adaptation // nil: nothing is adapted, ever
	groups map[shape.ClientID]*group
	parts  map[*shape.Class]*classPart
	away   []*adaptNode // that time goes on for though nobody serves them

	cells  [sampleCells][]*group
	slot   int64 // when the period under way began
	period int64 // ns
	cell   int   // that is due next; sampleCells: the classes are
	at     int   // in the cell, groups below it are yet to come; -1: it has not begun
	next   int64 // when something is due; never: nothing is

	info      sys.TCPInfo
	deltas    [maxSamples]adapt.Delta
	freeTaps  []*tap
	freeGroup []*group
}

const (
	sampleCells = 32
	// maxSamples bounds the connections that are sampled in one turn of the loop:
	// some 0.1 ms.
	maxSamples = 96
	// groupCost is what else is done for a client, in samples.
	groupCost = 2

	// groupRests is for how many periods a client that is not being sent anything
	// keeps its place.
	groupRests = 20

	maxFreeTaps = 1024

	never = int64(1) << 62 // an instant
)

// group is a client as one loop serves it.
type group struct {
	id    shape.ClientID
	node  *adaptNode // nil: clients are not adapted, or this one finds no room
	fixed foundRate  // what holds if node is nil
	taps  []*tap
	cell  int
	index int   // in the cell
	slot  int64 // that was sampled last
	at    int   // taps below it are yet to be sampled in this slot; -1: it has not begun
	since int64 // of the last sampling, ns
	held  int64 // ns, as last seen
	rests int
	pace  int64 // for each connection, bytes/s
}

// classPart is a path class as one loop serves it.
type classPart struct {
	class *shape.Class
	node  *adaptNode
	taps  int
	conns int   // sampled in this slot
	held  int64 // ns, as last seen
	rests int
}

// tap is what is measured of a connection while it is busy.
type tap struct {
	conn  *Conn
	group *group
	part  *classPart // nil: the class is not adapted
	index int        // in the group
	meter adapt.Meter
	pace  int64 // as set, bytes/s; 0: not at all
	busy  bool  // a response has begun since the last sample
}

// openSampler readies the loop's part.
func (l *Loop) openSampler(a *Adaptation) {
	l.sampler = sampler{
		shared: a, next: never, at: -1,
		groups: make(map[shape.ClientID]*group), parts: make(map[*shape.Class]*classPart),
	}
}

// adapts reports whether responses are to be measured.
func (l *Loop) adapts() bool { return l.sampler.shared != nil && l.sampler.shared.on.Load() }

// measure begins, or goes on, to measure a connection whose response counts for a
// client and a class, and applies what was found for both. The response has
// joined the tree.
func (l *Loop) measure(c *Conn, client []byte, class *shape.Class) {
	if !l.adapts() || c.unmeasured {
		return
	}
	if t := c.tap; t != nil && string(t.group.id) != string(client) {
		l.endTap(c)
	}
	if c.tap == nil && !l.beginTap(c, client) {
		return
	}
	t := c.tap
	t.busy = true
	l.setPart(t, class)
	l.applyGroup(t.group)
	l.setPace(t)
}

// beginTap begins to measure a connection, if it can be: who cannot be measured is not
// held.
func (l *Loop) beginTap(c *Conn, client []byte) bool {
	s := &l.sampler
	if !l.tcpInfo(c) {
		return false
	}
	first := sampleOf(&s.info)
	t := s.newTap()
	t.conn, c.tap = c, t
	t.meter.Update(&first, l.now)
	g := s.groups[shape.ClientID(client)]
	if g == nil {
		g = l.newGroup(shape.ClientID(client))
	}
	t.group, t.index = g, len(g.taps)
	g.taps = append(g.taps, t)
	s.shared.count(1)
	return true
}

// tcpInfo asks the kernel about a connection. A connection that cannot be asked,
// or of which too little is known, is not asked again.
func (l *Loop) tcpInfo(c *Conn) bool {
	e := l.askTCP(c, &l.sampler.info)
	l.stats.Sampled++
	if e == 0 && l.sampler.info.Known&sys.TCPBytesAcked != 0 {
		return true
	}
	l.stats.Unsampled++
	c.unmeasured = true
	return false
}

// sampleOf is what the controllers take; the bits of Known are the same.
func sampleOf(i *sys.TCPInfo) adapt.Sample {
	return adapt.Sample{
		BytesAcked: i.BytesAcked, BytesSent: i.BytesSent, BytesRetrans: i.BytesRetrans, TotalRetrans: i.TotalRetrans,
		DSACKDups: i.DSACKDups, Delivered: i.Delivered, DeliveredCE: i.DeliveredCE,
		RTT: i.RTT, MinRTT: i.MinRTT, DeliveryRate: i.DeliveryRate, AppLimited: i.AppLimited,
		NotSent: i.NotSent, MSS: i.SndMSS,
		BusyTime: i.BusyTime, RwndLimited: i.RwndLimited, SndbufLimited: i.SndbufLimited,
		Known: adapt.Fields(i.Known),
	}
}

// Socket is what an Adopted is besides if what it stands in front of is a TCP
// connection, which is then measured in place of the descriptor that was adopted.
type Socket interface {
	// Control is that of a syscall.RawConn, which fails once the connection is closed.
	Control(f func(fd uintptr)) error
}

// askTCP is Loop.askTCP for real sockets.
func askTCP(c *Conn, info *sys.TCPInfo) (e syscall.Errno) {
	if c.adopted == nil {
		return sys.GetTCPInfo(c.fd, info)
	}
	s, ok := c.adopted.(Socket)
	if !ok {
		return unix.EOPNOTSUPP
	}
	if s.Control(func(fd uintptr) { e = sys.GetTCPInfo(int32(fd), info) }) != nil {
		return unix.EBADF
	}
	return e
}

// paceTCP is Loop.paceTCP for real sockets. rate 0 takes the pace away. A kernel that
// cannot do it leaves the grants in one piece.
//
// Within one machine there is no queue to spare. Without fq at the interface the kernel
// paces by a timer for each connection, and goes on with it when the rate is taken
// away (sk_pacing_status): at the speed of loopback a third of the CPU time.
func paceTCP(c *Conn, rate int64) {
	if c.local {
		return
	}
	v := uint64(rate)
	if rate == 0 {
		v = ^uint64(0)
	}
	if c.adopted == nil {
		_ = sys.SetMaxPacingRate(c.fd, v)
		return
	}
	if s, ok := c.adopted.(Socket); ok {
		_ = s.Control(func(fd uintptr) { _ = sys.SetMaxPacingRate(int32(fd), v) })
	}
}

// endTap stops measuring a connection. What it did since the last sample counts.
func (l *Loop) endTap(c *Conn) {
	t, s := c.tap, &l.sampler
	if t == nil {
		return
	}
	c.tap = nil
	if c.state != connClosing && !c.unmeasured && l.adapts() {
		if d, ok := l.sampleTap(c, t); ok {
			l.observe(t, d)
		}
	}
	if t.pace != 0 && c.state != connClosing {
		l.paceTCP(c, 0)
	}
	l.setPart(t, nil)
	g := t.group
	last := g.taps[len(g.taps)-1]
	g.taps[t.index], last.index = last, t.index
	g.taps[len(g.taps)-1] = nil
	g.taps = g.taps[:len(g.taps)-1]
	s.shared.count(-1)
	*t = tap{}
	if len(s.freeTaps) < maxFreeTaps {
		s.freeTaps = append(s.freeTaps, t)
	}
}

// sampleTap samples one connection.
func (l *Loop) sampleTap(c *Conn, t *tap) (d adapt.Delta, ok bool) {
	if !l.tcpInfo(c) {
		return d, false
	}
	sample := sampleOf(&l.sampler.info)
	d, ok = t.meter.Update(&sample, l.now)
	return d, ok && (d.Acked > 0 || d.Sent > 0)
}

// observe brings a single delta to the controllers.
func (l *Loop) observe(t *tap, d adapt.Delta) {
	one := [1]adapt.Delta{d}
	t.group.node.observe(one[:], t.group.slot, l.now)
	if t.part != nil {
		t.part.node.observe(one[:], l.sampler.slot, l.now)
	}
}

// setPart sets the path class that a connection counts for.
func (l *Loop) setPart(t *tap, class *shape.Class) {
	if t.part != nil {
		if t.part.class == class {
			return
		}
		t.part.taps--
		t.part = nil
	}
	if class == nil || l.sampler.shared.cfg.Load().Paths[class.Prefix()] == nil {
		return
	}
	p := l.sampler.parts[class]
	if p == nil {
		node := l.sampler.shared.enterPath(class.Prefix(), l.now)
		if node == nil {
			return
		}
		p = &classPart{class: class, node: node, held: l.flows.tree.ClassHeld(class, l.now)}
		l.sampler.parts[class] = p
		l.applyPart(p, node.found())
	}
	p.taps++
	t.part = p
}

func (l *Loop) applyPart(p *classPart, r foundRate) {
	l.flows.tree.AdaptClass(p.class, r.rate, r.seq, l.now)
}

func (s *sampler) newTap() *tap {
	n := len(s.freeTaps)
	if n == 0 {
		return new(tap)
	}
	t := s.freeTaps[n-1]
	s.freeTaps = s.freeTaps[:n-1]
	return t
}

// newGroup begins to serve a client.
func (l *Loop) newGroup(id shape.ClientID) *group {
	s := &l.sampler
	g := s.newGroup()
	g.id = shape.ClientID(append([]byte(nil), id...)) // id is the caller's
	g.at, g.since = -1, l.now
	g.cell = cellOf(id)
	g.index = len(s.cells[g.cell])
	s.cells[g.cell] = append(s.cells[g.cell], g)
	s.groups[g.id] = g
	l.enterGroup(g)
	g.held = l.flows.tree.ClientHeld(g.id, l.now)
	if s.next == never {
		s.begin(l.now)
	}
	return g
}

// cellOf is the place of a client in the grid, the same on all loops (FNV-1a).
func cellOf(id shape.ClientID) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % sampleCells)
}

// enterGroup finds the client's controller. Without room for one the
// client keeps to the rate that controllers begin with.
func (l *Loop) enterGroup(g *group) {
	a := l.sampler.shared
	p := a.cfg.Load().Client
	if p == nil {
		return
	}
	if g.node = a.enterClient(g.id, l.now); g.node == nil {
		g.fixed = foundRate{rate: shape.Rate(p.Config().Start), seq: 1}
	}
}

func (s *sampler) newGroup() *group {
	n := len(s.freeGroup)
	if n == 0 {
		return new(group)
	}
	g := s.freeGroup[n-1]
	s.freeGroup = s.freeGroup[:n-1]
	return g
}

// endGroup forgets a client that has no connections any more.
func (l *Loop) endGroup(g *group) {
	s := &l.sampler
	delete(s.groups, g.id)
	cell := s.cells[g.cell]
	last := cell[len(cell)-1]
	cell[g.index], last.index = last, g.index
	cell[len(cell)-1] = nil
	s.cells[g.cell] = cell[:len(cell)-1]
	l.leaveNode(g.node)
	*g = group{taps: g.taps[:0]}
	if len(s.freeGroup) < maxFreeTaps {
		s.freeGroup = append(s.freeGroup, g)
	}
}

func (l *Loop) leaveNode(n *adaptNode) {
	if n != nil && n.leave(l.now) {
		l.sampler.away = append(l.sampler.away, n)
	}
}

// applyGroup gives the client's bucket the rate that was found.
func (l *Loop) applyGroup(g *group) {
	r := g.fixed
	if g.node != nil {
		r = g.node.found()
	}
	if r.seq == 0 {
		return
	}
	g.pace = r.pace
	l.flows.tree.AdaptClient(g.id, r.rate, r.seq, l.now)
}

// setPace tells the kernel how fast a connection may send, if that has changed by
// more than a few per cent.
func (l *Loop) setPace(t *tap) {
	pace := t.group.pace
	d := pace - t.pace
	if d == 0 || pace != 0 && t.pace != 0 && max(d, -d)*32 < t.pace {
		return
	}
	t.pace = pace
	l.paceTCP(t.conn, t.pace)
}
