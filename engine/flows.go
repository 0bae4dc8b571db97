package engine

import (
	"slices"
	"time"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/mover"
)

// flows is a loop's part of the tree of limits. Before each batch of sends a
// transfer takes tokens for it from the tree; what is not sent goes back. A
// transfer for which there are none waits until the tree names its flow.
type flows struct {
	tree   *shape.Tree // nil: nothing is shaped
	free   []*shape.Flow
	client []byte // scratch

	forgetAt int64 // when limits of clients that have ended are looked for
}

const (
	// flowsBatch bounds the flows whose turn comes in one turn of the loop, so
	// that thousands that are due together do not hold up everybody else.
	flowsBatch = 64

	maxFreeFlows = 1024

	// forgetEvery is how often limits of clients that have ended are looked for:
	// those of clients that are seen end by themselves.
	forgetEvery = int64(time.Minute)
)

// openShaper makes what the loops share.
func (e *Engine) openShaper() (err error) {
	if e.cfg.Limits == nil {
		return nil
	}
	cfg := *e.cfg.Limits
	cfg.Loops, cfg.Changed = max(e.cfg.Loops, e.guestTree()+1), e.wakeLoops
	if e.cfg.Adapt != nil {
		e.adaptation = measure.New(*e.cfg.Adapt, e.cfg.OnAdapt)
	}
	e.shaper, err = shape.New(cfg)
	return err
}

// Limits returns the limits, which may be changed while responses are under way;
// they feel it at once. nil: the engine was made without.
func (e *Engine) Limits() *shape.Shaper { return e.shaper }

func (e *Engine) wakeLoops() {
	e.each(func(l *Loop) { l.post(func(*Loop) {}) })
	if e.guests != nil {
		e.guests.Notice()
	}
}

// guestTree returns the index of the tree of those that are not served by loops,
// -1 if there is none.
func (e *Engine) guestTree() int {
	if e.cfg.Loops > 0 && !e.cfg.Guests {
		return -1
	}
	return e.cfg.Loops
}

// LimitsReport returns what the limits are doing, of all loops together: each
// path class, and of the clients those with limits of their own and the
// busiest. It asks each loop and waits for the answers; ok is false if the
// engine was made without limits.
func (e *Engine) LimitsReport(busiest int) (r shape.Report, ok bool) {
	if e.shaper == nil {
		return r, false
	}
	var loops []*Loop
	e.each(func(l *Loop) { loops = append(loops, l) })
	e.guests.Report(&r)
	e.surveying.Lock()
	defer e.surveying.Unlock()
	for i, l := range loops {
		if i == len(e.surveys) {
			e.surveys = append(e.surveys, new(shape.Survey))
		}
		l.survey(e.surveys[i], &r)
	}
	r.Keep(busiest)
	r.Clients, r.Classes = slices.Clone(r.Clients), slices.Clone(r.Classes)
	for _, s := range e.surveys {
		s.Reset()
	}
	return r, true
}

// surveyStep is how many clients are looked at in one turn of the loop: some half a
// millisecond's worth, since hardly any is in the core's cache.
const surveyStep = 1024

// survey adds to r what the loop's tree is doing, which it asks in as many turns as
// it takes. A loop that has ended adds nothing.
func (l *Loop) survey(s *shape.Survey, r *shape.Report) {
	whole := make(chan bool, 1)
	var step func(*Loop)
	step = func(l *Loop) { // it asks for its next turn itself, without waiting for the caller's
		if !s.Step(l.flows.tree, l.now, surveyStep) {
			whole <- true
		} else if !l.post(step) {
			whole <- false
		}
	}
	if !l.post(step) || !<-whole {
		return
	}
	s.AddTo(r)
}

// forgetOverrides removes limits of clients whose time is over. One loop does it
// for all.
func (l *Loop) forgetOverrides() {
	if l.flows.tree == nil || l.index != 0 || l.now < l.flows.forgetAt {
		return
	}
	l.flows.forgetAt = l.now + forgetEvery
	l.engine.shaper.Expire(l.now)
}

// Shaped reports whether responses are subject to limits, or may become so, so
// that a session has to say whose they are.
func (l *Loop) Shaped() bool { return l.flows.tree != nil }

// Limits is Engine.Limits.
func (l *Loop) Limits() *shape.Shaper { return l.engine.shaper }

// whose is what a response is counted by.
type whose struct {
	client []byte // empty: the peer's address
	class  *shape.Class
}

// identify notes whose the response is. If anything is limited it gets its place
// in the tree at once; if not, when it takes more than one turn, so that what
// is sent at once costs nothing.
func (l *Loop) identify(c *Conn, t *transfer, r *Response) {
	t.whose.class = r.Class
	t.whose.client = append(t.whose.client[:0], r.Client...)
	own := r.Limit != shape.Limit{}
	if !own && !l.engine.shaper.Active() && !l.sampler.On() {
		l.leaveFlow(c) // what it remembers of an earlier response counts no more
		return
	}
	l.join(c, t)
	if own {
		l.flows.tree.SetLimit(c.flow, r.Limit)
	}
}

// joinLate gives a response its place in the tree that has none yet.
func (l *Loop) joinLate(c *Conn, t *transfer) {
	if l.flows.tree != nil && c.flow == nil {
		l.join(c, t)
	}
}

// join gives the connection's response its place in the tree.
func (l *Loop) join(c *Conn, t *transfer) {
	if c.flow == nil {
		c.flow = l.flows.get()
		c.flow.Owner = c
	}
	client := t.whose.client
	if len(client) == 0 {
		l.flows.client = peer.AppendClient(l.flows.client[:0], c.RemoteAddr().Addr())
		client = l.flows.client
	}
	l.flows.tree.JoinBytes(c.flow, t.whose.class, client, l.now)
	l.sampler.Measure(&c.tap, (*line)(c), client, t.whose.class, l.now)
}

// takeWhole takes tokens for a response in memory and reports whether there
// were enough for all of it.
func (l *Loop) takeWhole(c *Conn, t *transfer, n int64) bool {
	t.left = n
	ok := l.take(c, t) && t.grant >= n
	return ok
}

// take takes tokens for what comes next. Without any the transfer waits for its
// flow to be named, however long that takes: the peer is not to blame.
func (l *Loop) take(c *Conn, t *transfer) bool {
	t.grant = l.flows.tree.Take(c.flow, t.left, l.now)
	if t.grant > 0 {
		return true
	}
	t.waiting = true
	l.stats.Waiting++
	c.deadline = 0
	if c.corked || t.more { // nothing follows at once
		l.driver.Push(c.token)
	}
	return false
}

// refund gives back what was granted and cannot be sent now.
func (l *Loop) refund(c *Conn, t *transfer) {
	if c.flow != nil && t.grant > 0 {
		l.flows.tree.Refund(c.flow, t.grant, l.now)
	}
	t.grant = 0
}

// runFlows lets the flows go on whose tokens have come.
func (l *Loop) runFlows() {
	tree := l.flows.tree
	if tree == nil {
		return
	}
	for range flowsBatch {
		f := tree.Next(l.now)
		if f == nil {
			return
		}
		c := f.Owner.(*Conn)
		c.out.grant, c.out.waiting = f.Granted(), false
		l.stats.Waiting--
		c.deadline = l.now + l.sendTimeout
		l.keepUnsent(c)
		l.wake(c)
	}
}

// keepUnsent bounds what the kernel may hold of a connection without having sent
// it, by its grants. Where these have grown, the old bound would be what holds the
// connection up, and not the limit.
func (l *Loop) keepUnsent(c *Conn) {
	n := int32(max(2*c.out.grant, mover.MinUnsent))
	if c.lowat && n <= c.unsent+c.unsent/4 && n >= c.unsent/4 {
		return
	}
	c.lowat, c.unsent = true, n
	l.limitUnsent(c.fd, n)
}

// rest takes the connection out of the tree until its next response. Only what its
// own limit has to remember is kept.
func (l *Loop) rest(c *Conn, t *transfer) {
	l.refund(c, t)
	if t.waiting {
		t.waiting = false
		l.stats.Waiting--
	}
	l.flows.tree.Rest(c.flow, l.now)
	t.outcome.Held = c.flow.Held()
	if !c.flow.Limited() {
		l.leaveFlow(c)
	}
}

// leaveFlow takes the connection out of the tree for good.
func (l *Loop) leaveFlow(c *Conn) {
	if c.flow == nil {
		return
	}
	l.flows.tree.Leave(c.flow, l.now)
	l.flows.put(c.flow)
	c.flow = nil
}

func (p *flows) get() *shape.Flow {
	n := len(p.free)
	if n == 0 {
		return new(shape.Flow)
	}
	f := p.free[n-1]
	p.free = p.free[:n-1]
	return f
}

func (p *flows) put(f *shape.Flow) {
	if len(p.free) < maxFreeFlows {
		p.free = append(p.free, f)
	}
}
