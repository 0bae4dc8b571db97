package loop

import (
	"math"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
)

// simLimits are the limits of a simulated loop, and a second opinion on them: what
// has been granted is added up after each turn of the loop, by the world's clock, and
// compared with what a bucket of that rate and burst lets pass.
type simLimits struct {
	m       *simulation
	shaper  *shape.Shaper
	own     bool // some responses have a limit of their own
	nodes   map[string]*shadow
	conns   map[aio.Token]*shadow
	conn    shape.Limit
	pending []func() // changes that the loop is yet to notice
	held    int      // responses that had to wait
	retuned int
}

// shadow is what a node may have passed.
type shadow struct {
	limit   shape.Limit
	after   int64   // what passes of each response before the limit begins
	level   float64 // bytes that are missing from the burst
	last    int64   // instant of the last turn
	ended   int64   // bytes of responses that are over
	now     int64   // and of those under way, with what is granted to them
	charged int64   // the sum of both after the last turn
}

// simPrefixes are the path classes; files have names of one letter.
var simPrefixes = []string{"/a", "/b"}

// limit draws limits for the world and how they change. Something is limited always,
// so that no response is outside of the tree.
func (m *simulation) limit() {
	s := &simLimits{m: m, nodes: make(map[string]*shadow), conns: make(map[aio.Token]*shadow), own: m.rnd.IntN(6) == 0}
	s.conn = s.draw(true)
	cfg := shape.Config{
		Global: s.draw(true), Client: s.draw(true), Connection: s.conn,
		Changed: s.wake,
	}
	anchor := shape.LevelGlobal
	switch m.rnd.IntN(3) {
	case 0:
		cfg.Global = s.draw(false)
	case 1:
		cfg.Client, anchor = s.draw(false), shape.LevelClient
	case 2:
		cfg.Connection, anchor = s.draw(false), shape.LevelConnection
		s.conn = cfg.Connection
	}
	for _, p := range simPrefixes {
		l := s.draw(true)
		s.within(p, &l)
		cfg.Paths = append(cfg.Paths, shape.PathLimit{Prefix: p, Limit: l})
		s.nodes[p] = &shadow{limit: l}
	}
	s.nodes["global"] = &shadow{limit: cfg.Global}
	for _, c := range simNames {
		s.nodes[c] = &shadow{limit: cfg.Client}
	}
	var err error
	if s.shaper, err = shape.New(cfg); err != nil {
		m.bad("limits: %v", err)
		return
	}
	m.limits = s
	for range m.rnd.IntN(4) {
		s.change(anchor)
	}
	if m.rnd.IntN(2) == 0 {
		m.adaptRates()
	}
}

// within perhaps limits clients and connections within a class.
func (s *simLimits) within(prefix string, l *shape.Limit) {
	if s.m.rnd.IntN(2) == 0 {
		return
	}
	l.Client, l.Connection, l.After = s.draw(true).Rate, s.draw(true).Rate, s.m.rnd.Int64N(5000)
	if l.Client == shape.Unlimited && l.Connection == shape.Unlimited {
		l.After = 0
	}
	for _, c := range simNames {
		// Its burst is a grant, which is 24 KiB or 20 ms of the rate at most, and 20 ms more.
		limit := shape.Limit{Rate: l.Client, Burst: 24<<10 + int64(l.Client)/25}
		s.nodes[prefix+" "+c] = &shadow{limit: limit, after: l.After}
	}
}

// simNames are what clients are counted by.
var simNames = []string{"x", "y"}

// wake does what Engine.wakeLoops does.
func (s *simLimits) wake() {
	if s.m.loop != nil {
		s.m.loop.post(func(*Loop) {})
	}
}

// draw draws a limit.
func (s *simLimits) draw(none bool) shape.Limit {
	r := s.m.rnd
	l := shape.Limit{Burst: 800 + r.Int64N([]int64{1000, 5000, 100_000}[r.IntN(3)]), Weight: r.IntN(4)}
	l.Rate = shape.Rate(1e4 * math.Pow(10, 3*r.Float64()))
	if none && r.IntN(2) == 0 {
		l.Rate = shape.Unlimited
	}
	return l
}

// change lets a limit change in the midst of the run, perhaps to a pause that ends
// long after any time-out. Bursts stay: a flow notices a change when it is looked at,
// and so may miss a smaller one.
func (s *simLimits) change(anchor shape.Level) {
	r := s.m.rnd
	level := shape.Level(1 + r.IntN(shape.NumLevels-1))
	rate := s.draw(level != anchor).Rate
	at := s.m.soon()
	if r.IntN(3) == 0 {
		s.m.w.At(at, func() { s.set(level, shape.Paused) })
		at += time.Duration(r.Int64N(int64(20 * time.Second)))
	}
	s.m.w.At(at, func() { s.set(level, rate) })
}

// set changes the rate of a level: of one path, and of one client.
func (s *simLimits) set(level shape.Level, rate shape.Rate) {
	if s.m.loop == nil {
		return
	}
	s.retuned++
	var err error
	switch level {
	case shape.LevelGlobal:
		_, err = s.shaper.SetGlobal(s.later("global", rate))
	case shape.LevelPath:
		_, _, err = s.shaper.SetPath(simPrefixes[0], s.later(simPrefixes[0], rate))
	case shape.LevelClient:
		_, _, err = s.shaper.SetClient(shape.ClientID(simNames[0]), s.later(simNames[0], rate), 0)
	default:
		l := s.conn
		l.Rate = rate
		_, err = s.shaper.SetConnectionDefault(l)
		s.pending = append(s.pending, func() {
			s.conn = l
			for _, n := range s.conns {
				n.retune(rate)
			}
		})
	}
	if err != nil {
		s.m.bad("a change of the limits: %v", err)
	}
}

// later returns the limit of a node with another rate, which the shadow has when the
// loop has noticed.
func (s *simLimits) later(name string, rate shape.Rate) shape.Limit {
	n := s.nodes[name]
	l := n.limit
	l.Rate = rate
	s.pending = append(s.pending, func() { n.retune(rate) })
	return l
}

func (n *shadow) retune(rate shape.Rate) {
	if n.limit.Rate == shape.Unlimited {
		n.level = 0 // what is new begins with its burst; what is not, with less
	}
	n.limit.Rate = rate
}

// label says whose a response with these files is.
func (s *simLimits) label(sc *simConn, resp *Response, files []*openfile.File) {
	sc.client.label = simNames[sc.client.start/1000%int64(len(simNames))]
	resp.Client = []byte(sc.client.label)
	path := "/"
	if len(files) > 0 {
		path += files[0].Key()
	}
	resp.Class = s.shaper.Class([]byte(path))
	sc.client.prefix = resp.Class.Prefix()
	if s.own && s.m.rnd.IntN(3) == 0 {
		resp.Limit = s.draw(false)
	}
}

// turn is called after each turn of the loop.
func (s *simLimits) turn() {
	now := s.m.loop.now
	for _, n := range s.nodes {
		n.drain(now)
	}
	for _, n := range s.conns {
		n.drain(now)
	}
	for _, f := range s.pending {
		f()
	}
	s.pending = s.pending[:0]
	s.addUp()
	for name, n := range s.nodes {
		s.check(name, n)
	}
	for _, n := range s.conns {
		if !s.own {
			s.check("connection", n)
		}
	}
}

// drain lets the time until now pass.
func (n *shadow) drain(now int64) {
	if n.limit.Rate > 0 && n.last > 0 {
		n.level = max(0, n.level-float64(n.limit.Rate)*float64(now-n.last)/1e9)
	}
	n.last, n.now = now, 0
}

// addUp counts what is under way.
func (s *simLimits) addUp() {
	l := s.m.loop
	for slot := range min(len(l.conns.gens), len(s.m.clients)+2) {
		c := l.conns.at(uint32(slot))
		if c.stream == nil || c.stream.phase == told {
			continue
		}
		for _, n := range s.of(c) {
			n.now += max(c.stream.outcome.Total()+max(c.stream.grant, 0)-n.after, 0)
		}
	}
}

// ended counts a response that is over.
func (s *simLimits) ended(c *Conn, o *outcome.Outcome) {
	for _, n := range s.of(c) {
		n.ended += max(o.Total()-n.after, 0)
	}
	for level, ns := range o.Held {
		if ns < 0 || ns > o.Duration {
			s.m.bad("a response of %d ns was held for %d ns by %v", o.Duration, ns, shape.Level(level))
		}
	}
	if o.Held != ([shape.NumLevels]int64{}) {
		s.held++
	}
}

// of returns the nodes that a connection's response is charged to.
func (s *simLimits) of(c *Conn) []*shadow {
	sc := c.Data.(*simConn)
	own := s.conns[c.token]
	if own == nil {
		own = &shadow{limit: s.conn, last: s.m.loop.now}
		s.conns[c.token] = own
	}
	nodes := []*shadow{own, s.nodes["global"], s.nodes[sc.client.label]}
	if p := s.nodes[sc.client.prefix]; p != nil {
		nodes = append(nodes, p)
	}
	if p := s.nodes[sc.client.prefix+" "+sc.client.label]; p != nil {
		nodes = append(nodes, p)
	}
	return nodes
}

// check compares what a node has passed with what it may have.
func (s *simLimits) check(name string, n *shadow) {
	charged := n.ended + n.now
	more := charged - n.charged
	n.charged = charged
	switch n.limit.Rate {
	case shape.Unlimited:
		return
	case shape.Paused:
		if more > 0 {
			s.m.bad("%s: %d bytes were granted during a pause", name, more)
		}
	}
	n.level = max(0, n.level+float64(more)) // what is given back makes no credit
	if n.level > float64(n.limit.Burst)+1 {
		s.m.bad("%s: %.0f bytes more than %v allows for, burst %d", name, n.level-float64(n.limit.Burst), n.limit.Rate, n.limit.Burst)
	}
}

// end checks that nobody is left in the tree, and that what was not sent was given
// back.
func (s *simLimits) end() {
	var r shape.Report
	s.m.loop.flows.tree.Report(s.m.loop.now, 0, &r)
	if r.Flows != 0 {
		s.m.bad("%d flows are left in the tree", r.Flows)
	}
	var sent int64
	for _, n := range s.m.session.sent {
		sent += n
	}
	if r.Global.Granted != sent {
		s.m.bad("%d bytes were granted and not given back, %d were sent", r.Global.Granted, sent)
	}
	if st := &s.m.loop.stats; st.Waiting != 0 || st.Sending != 0 {
		s.m.bad("at the end %d responses are sent, %d wait", st.Sending, st.Waiting)
	}
}
