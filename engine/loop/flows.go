package loop

import (
	"time"

	"github.com/fserve/fserve/engine/peer"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/free"
)

// flows is a loop's part of the tree of limits. Before each batch of sends a
// stream takes tokens for it from the tree; what is not sent goes back. A
// stream for which there are none waits until the tree names its flow.
type flows struct {
	tree   *shape.Tree // nil: nothing is shaped
	free   free.List[shape.Flow]
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

// whose is what a response is counted by.
type whose struct {
	client []byte // empty: the peer's address
	class  *shape.Class
	group  string
}

// forgetOverrides removes limits of clients whose time is over. One loop does it
// for all.
func (l *Loop) forgetOverrides() {
	if !l.cfg.Expire || l.flows.tree == nil || l.now < l.flows.forgetAt {
		return
	}
	l.flows.forgetAt = l.now + forgetEvery
	l.cfg.Shaper.Expire(l.now)
}

// runFlows lets the streams go on whose tokens have come.
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
		s := f.Owner.(*Stream)
		s.grant = f.Granted()
		l.stats.Waiting--
		s.conn.boundUnsent(s.grant)
		s.goOn()
		(*waiter)(s).recheck()
	}
}

// identify notes whose the response is. If anything is limited it gets its place
// in the tree at once; if not, when it takes more than one turn, so that what
// is sent at once costs nothing.
func (s *Stream) identify(r *Response) {
	c, l := s.conn, s.conn.loop
	s.whose.class, s.whose.group = r.Class, r.Group
	s.whose.client = append(s.whose.client[:0], r.Client...)
	own := r.Limit != shape.Limit{}
	if !own && r.ClientLimit == nil && !l.cfg.Shaper.Active() && !l.sampler.On() {
		l.flows.leave(&c.flow, l.now) // what it remembers of an earlier response counts no more
		return
	}
	s.join()
	s.flow.SetClientLimit(l.flows.tree, r.ClientLimit)
	if own {
		l.flows.tree.SetLimit(s.flow, r.Limit)
	}
}

// joinLate gives a response its place in the tree that has none yet.
func (s *Stream) joinLate() {
	if s.conn.loop.flows.tree != nil && s.flow == nil {
		s.join()
	}
}

// join gives the response its place in the tree.
func (s *Stream) join() {
	c, l := s.conn, s.conn.loop
	s.flow, c.flow = c.flow, nil
	if s.flow == nil {
		s.flow = l.flows.free.Get()
	}
	s.flow.Owner = s
	client := s.whose.client
	if len(client) == 0 {
		l.flows.client = peer.AppendClient(l.flows.client[:0], c.RemoteAddr().Addr(), c.OnUnix())
		client = l.flows.client
	}
	l.flows.tree.JoinBytes(s.flow, s.whose.class, client, l.now)
	l.sampler.Measure(&c.tap, (*measured)(c), client, s.whose.class, l.now)
}

// takeWhole takes tokens for a response in memory and reports whether there
// were enough for all of it.
func (s *Stream) takeWhole(n int64) bool {
	s.left = n
	return s.take() && s.grant >= n
}

// take takes tokens for what comes next. Without any the stream waits for its
// flow to be named, however long that takes: the peer is not to blame.
func (s *Stream) take() bool {
	l := s.conn.loop
	s.grant = l.flows.tree.Take(s.flow, max(s.left, s.at.left()), l.now) // a source may have said less
	if s.grant > 0 {
		return true
	}
	s.phase = awaitingTokens
	l.stats.Waiting++
	s.conn.deadline = 0
	s.conn.letGo() // nothing follows at once
	return false
}

// refund gives back what was granted and cannot be sent now.
func (s *Stream) refund() {
	if s.flow != nil && s.grant > 0 {
		l := s.conn.loop
		l.flows.tree.Refund(s.flow, s.grant, l.now)
	}
	s.grant = 0
}

// rest takes the response out of the tree. What a limit of connections has to remember
// stays with the connection.
func (s *Stream) rest() {
	c, l := s.conn, s.conn.loop
	s.refund()
	if s.phase == awaitingTokens {
		l.stats.Waiting--
	}
	l.flows.tree.Rest(s.flow, l.now)
	s.outcome.Held = s.flow.Held()
	c.flow, s.flow = s.flow, nil
	if !c.flow.Limited() {
		l.flows.leave(&c.flow, l.now)
	}
}

// leave takes a flow out of the tree for good.
func (p *flows) leave(f **shape.Flow, now int64) {
	if *f == nil {
		return
	}
	p.tree.Leave(*f, now)
	p.free.Put(*f, maxFreeFlows)
	*f = nil
}
