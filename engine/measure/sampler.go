package measure

import (
	"syscall"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/free"
	"github.com/fserve/fserve/internal/sys"
)

// Line is a connection as it is measured. Its methods are called on its loop.
type Line interface {
	// TCPInfo asks the kernel about the connection.
	TCPInfo(info *sys.TCPInfo) syscall.Errno
	// Pace tells the kernel how fast it may send, in bytes per second; 0: as fast as it can.
	Pace(rate int64)
	// Sending reports whether a response is under way.
	Sending() bool
}

// Sampler is a loop's part of adaptation. It samples the connections of each
// client together, at the client's place in a grid of instants that all loops
// share, so that work is spread over the loop's turns and rounds are of
// one length. At the end of each period come the path classes. It belongs to its loop.
type Sampler struct {
	shared *Adaptation // nil: nothing is adapted, ever
	tree   *shape.Tree
	groups map[shape.ClientID]*group
	parts  map[*shape.Class]*classPart
	away   []*node // that time goes on for though nobody serves them

	cells  [sampleCells][]*group
	slot   int64 // when the period under way began
	period int64 // ns
	cell   int   // that is due next; sampleCells: the classes are
	at     int   // in the cell, groups below it are yet to come; -1: it has not begun
	next   int64 // when something is due; never: nothing is

	ran     int64 // the last call of Run
	delayed int64 // ns by which the loop was late in all

	info   sys.TCPInfo
	deltas [maxSamples]adapt.Delta
	meters free.List[meter]
	idle   free.List[group]
	counts Counts
}

// Counts are a Sampler's counters since its start.
type Counts struct {
	Sampled   uint64 // times that the kernel was asked about a connection
	Unsampled uint64 // connections that could not be asked about
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

	maxFree = 1024 // meters, and groups

	// Never is an instant at which nothing is due.
	Never = int64(1) << 62
)

// group is a client as one loop serves it.
type group struct {
	id     shape.ClientID
	node   *node     // nil: clients are not adapted, or this one finds no room
	fixed  foundRate // what holds if node is nil
	meters []*meter
	cell   int
	index  int   // in the cell
	slot   int64 // that was sampled last
	at     int   // meters below it are yet to be sampled in this slot; -1: it has not begun
	since  int64 // of the last sampling, ns
	held   int64 // ns, as last seen
	late   int64 // Sampler.delayed, as last seen
	rests  int
	pace   int64 // for each connection, bytes/s
}

// classPart is a path class as one loop serves it.
type classPart struct {
	class  *shape.Class
	node   *node
	meters int
	conns  int   // sampled in this slot
	held   int64 // ns, as last seen
	late   int64 // Sampler.delayed, as last seen
	rests  int
}

// Tap is a connection's place in the measurement, kept with the connection. The zero value
// is of one that is not measured.
type Tap struct {
	meter *meter // nil: it is not measured now; unmeasurable: it cannot be
}

// unmeasurable stands for the meter of connections that the kernel tells too little of.
var unmeasurable = new(meter)

// On reports whether the connection is measured.
func (t *Tap) On() bool { return t.meter != nil && t.meter != unmeasurable }

// meter is what is measured of a connection while it is busy.
type meter struct {
	tap   *Tap
	line  Line
	group *group
	part  *classPart // nil: the class is not adapted
	index int        // in the group
	adapt.Meter
	pace int64 // as set, bytes/s; 0: not at all
	busy bool  // a response has begun since the last sample
}

// Init readies the loop's part. a is nil where nothing is adapted, ever.
func (s *Sampler) Init(a *Adaptation, tree *shape.Tree) {
	*s = Sampler{
		shared: a, tree: tree, next: Never, at: -1,
		groups: make(map[shape.ClientID]*group), parts: make(map[*shape.Class]*classPart),
	}
}

// Counts returns the counters.
func (s *Sampler) Counts() Counts { return s.counts }

// Due returns when Run is to be called, in monotonic ns; Never: not before Measure.
func (s *Sampler) Due() int64 { return s.next }

// On reports whether responses are to be measured.
func (s *Sampler) On() bool { return s.shared != nil && s.shared.on.Load() }

// Measure begins, or goes on, to measure a connection whose response counts for a
// client and a class, and applies what was found for both. The response has
// joined the tree.
func (s *Sampler) Measure(t *Tap, line Line, client []byte, class *shape.Class, now int64) {
	if !s.On() || t.meter == unmeasurable {
		return
	}
	if m := t.meter; m != nil && string(m.group.id) != string(client) {
		s.End(t, false, now)
	}
	if t.meter == nil {
		s.begin(t, line, client, now)
	}
	if !t.On() { // it cannot be measured, or not any more
		return
	}
	m := t.meter
	m.busy = true
	s.setPart(m, class, now)
	s.applyGroup(m.group, now)
	m.setPace()
}

// begin begins to measure a connection, if it can be: one that cannot be measured is not
// held.
func (s *Sampler) begin(t *Tap, line Line, client []byte, now int64) {
	if !s.ask(line) {
		t.meter = unmeasurable
		return
	}
	m := s.meters.Get()
	m.tap, m.line, t.meter = t, line, m
	m.Update((*adapt.Sample)(&s.info), now)
	g := s.groups[shape.ClientID(client)]
	if g == nil {
		g = s.enter(shape.ClientID(client), now)
	}
	m.group, m.index = g, len(g.meters)
	g.meters = append(g.meters, m)
	s.shared.count(1)
}

// ask asks the kernel about a connection. A connection that cannot be asked,
// or of which too little is known, is not asked again.
func (s *Sampler) ask(line Line) bool {
	e := line.TCPInfo(&s.info)
	s.counts.Sampled++
	if e == 0 && s.info.Known&sys.TCPBytesAcked != 0 {
		return true
	}
	s.counts.Unsampled++
	return false
}

// End stops measuring a connection. What it did since the last sample counts, unless
// its descriptor is gone.
func (s *Sampler) End(t *Tap, gone bool, now int64) {
	if !t.On() {
		return
	}
	m := t.meter
	if !gone && s.On() {
		if d, ok := s.sample(m, now); ok {
			s.observe(m, d, now)
		}
	}
	s.drop(m, gone, now)
}

// drop forgets what was measured of a connection.
func (s *Sampler) drop(m *meter, gone bool, now int64) {
	if m.tap.meter == m {
		m.tap.meter = nil
	}
	if m.pace != 0 && !gone {
		m.line.Pace(0)
	}
	s.setPart(m, nil, now)
	g := m.group
	last := g.meters[len(g.meters)-1]
	g.meters[m.index], last.index = last, m.index
	g.meters[len(g.meters)-1] = nil
	g.meters = g.meters[:len(g.meters)-1]
	s.shared.count(-1)
	*m = meter{}
	s.meters.Put(m, maxFree)
}

// sample samples one connection.
func (s *Sampler) sample(m *meter, now int64) (d adapt.Delta, ok bool) {
	if !s.ask(m.line) {
		m.tap.meter = unmeasurable
		return d, false
	}
	d, ok = m.Update((*adapt.Sample)(&s.info), now)
	return d, ok && (d.Acked > 0 || d.Sent > 0)
}

// observe brings a single delta to the controllers.
func (s *Sampler) observe(m *meter, d adapt.Delta, now int64) {
	one := [1]adapt.Delta{d}
	m.group.node.observe(one[:], m.group.slot, now)
	if m.part != nil {
		m.part.node.observe(one[:], s.slot, now)
	}
}

// setPart sets the path class that a connection counts for.
func (s *Sampler) setPart(m *meter, class *shape.Class, now int64) {
	if m.part != nil {
		if m.part.class == class {
			return
		}
		m.part.meters--
		m.part = nil
	}
	if class == nil || s.shared.cfg.Load().Paths[class.Prefix()] == nil {
		return
	}
	p := s.parts[class]
	if p == nil {
		node := s.shared.enterPath(class.Prefix(), now)
		if node == nil {
			return
		}
		p = &classPart{class: class, node: node, held: s.tree.ClassHeld(class, now), late: s.delayed}
		s.parts[class] = p
		s.applyPart(p, node.found(), now)
	}
	p.meters++
	m.part = p
}

func (s *Sampler) applyPart(p *classPart, r foundRate, now int64) {
	s.tree.AdaptClass(p.class, r.rate, r.seq, now)
}

// enter begins to serve a client.
func (s *Sampler) enter(id shape.ClientID, now int64) *group {
	g := s.idle.Get()
	g.id = shape.ClientID(append([]byte(nil), id...)) // id is the caller's
	g.at, g.since = -1, now
	g.cell = cellOf(id)
	g.index = len(s.cells[g.cell])
	s.cells[g.cell] = append(s.cells[g.cell], g)
	s.groups[g.id] = g
	s.enterNode(g, now)
	g.held, g.late = s.tree.ClientHeld(g.id, now), s.delayed
	if s.next == Never {
		s.beginPeriod(now)
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

// enterNode finds the client's controller. Without room for one the
// client keeps to the rate that controllers begin with.
func (s *Sampler) enterNode(g *group, now int64) {
	p := s.shared.cfg.Load().Client
	if p == nil {
		return
	}
	if g.node = s.shared.enterClient(g.id, now); g.node == nil {
		g.fixed = foundRate{rate: shape.Rate(p.Config().Start), seq: 1}
	}
}

// leave forgets a client that has no connections any more.
func (s *Sampler) leave(g *group, now int64) {
	delete(s.groups, g.id)
	cell := s.cells[g.cell]
	last := cell[len(cell)-1]
	cell[g.index], last.index = last, g.index
	cell[len(cell)-1] = nil
	s.cells[g.cell] = cell[:len(cell)-1]
	s.leaveNode(g.node, now)
	*g = group{meters: g.meters[:0]}
	s.idle.Put(g, maxFree)
}

func (s *Sampler) leaveNode(n *node, now int64) {
	if n != nil && n.detach(now) {
		s.away = append(s.away, n)
	}
}

// applyGroup gives the client's bucket the rate that was found.
func (s *Sampler) applyGroup(g *group, now int64) {
	r := g.fixed
	if g.node != nil {
		r = g.node.found()
	}
	if r.seq == 0 {
		return
	}
	g.pace = r.pace
	s.tree.AdaptClient(g.id, r.rate, r.seq, now)
}

// setPace tells the kernel how fast a connection may send, if that has changed by
// more than a few per cent.
func (m *meter) setPace() {
	pace := m.group.pace
	d := pace - m.pace
	if d == 0 || pace != 0 && m.pace != 0 && max(d, -d)*32 < m.pace {
		return
	}
	m.pace = pace
	m.line.Pace(pace)
}
