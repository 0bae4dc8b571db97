package shape

import (
	"cmp"
	"math"
	"slices"
)

// Report is what one tree, or several together, are doing.
type Report struct {
	Global  NodeReport
	Classes []NodeReport // by prefix; the default class first
	Clients []NodeReport // the busiest first
	Others  NodeReport   // clients that are not in Clients, together

	ClientCount int // clients that are known
	Flows       int // responses under way

	// Throttled is for how many ns responses were held, by the level that was short;
	// LevelNone: the loop itself was late. A wait counts when it ends.
	Throttled [NumLevels]int64
	// Granted is how many bytes passed a limit of the level; LevelNone: all bytes.
	Granted [NumLevels]int64
}

// NodeReport is what passes a node.
type NodeReport struct {
	Name    string // prefix or client
	Limit   Rate   // in force
	By      Row    // the row that says so
	Burst   int64  // bytes
	Custom  bool   // of clients: has a limit of its own
	Tokens  int64  // bytes; with several loops, what is on lease here
	Flows   int    // responses under way
	Waiting int    // members that wait for their turn: classes, clients or flows
	Parked  bool   // waits for tokens of its own

	Granted int64 // bytes so far
	Rate10  int64 // bytes per second over the last ten whole seconds
	Rate1   int64 // over the last one
}

// Report fills r for the instant now: all classes, clients with limits of their own and at
// most busiest others. It overwrites r. It takes time in proportion to the number of
// clients; a [Survey] takes it in parts.
func (t *Tree) Report(now int64, busiest int, r *Report) {
	s := Survey{report: Report{Classes: r.Classes[:0], Clients: r.Clients[:0]}}
	for s.Step(t, now, math.MaxInt) {
	}
	*r = s.report
	r.Keep(busiest)
}

// Survey makes a Report in parts, between which a loop with many clients does its work. The
// zero value is ready. A client that comes or goes meanwhile may be missing; none is in
// it twice.
type Survey struct {
	report  Report
	begun   bool
	clients []*client // that are to be looked at
	memory  []*client // of which clients is a part
	classes []int     // index in report.Classes by Class.id
}

// Reset readies a survey for another time and keeps its memory. Reports that AddTo has
// added to are not valid any more.
func (s *Survey) Reset() {
	if n := len(s.memory); cap(s.memory) > 4*max(n, 1024) { // there were far more clients once
		*s = Survey{}
		return
	}
	clear(s.memory)
	clear(s.report.Clients[:cap(s.report.Clients)])
	s.report = Report{Classes: s.report.Classes[:0], Clients: s.report.Clients[:0]}
	s.begun, s.clients, s.memory = false, nil, s.memory[:0]
}

// Step looks at n more clients of the tree and reports whether there are more. The tree must
// be the same for all steps; Step is called on its goroutine.
func (s *Survey) Step(t *Tree, now int64, n int) (more bool) {
	t.clock(now)
	if !s.begun {
		s.begin(t)
	}
	n = min(n, len(s.clients))
	for _, c := range s.clients[:n] {
		if c.id == "" && t.clients[""] != c { // forgotten meanwhile; memory that serves another client tells of that
			continue
		}
		s.report.Clients = append(s.report.Clients, c.report(t))
		s.countFlows(c)
	}
	s.clients = s.clients[n:]
	return len(s.clients) > 0
}

// AddTo adds what was found to r. It is called once, after the last Step, on any goroutine.
// The clients of r are in no order until Keep is called, and r may refer to the survey's
// memory.
func (s *Survey) AddTo(r *Report) {
	if len(r.Clients) == 0 && len(r.Classes) == 0 && r.Flows == 0 && r.Granted[LevelNone] == 0 {
		*r = s.report
		return
	}
	r.add(&s.report)
}

// begin looks at everything but the clients.
func (s *Survey) begin(t *Tree) {
	r := &s.report
	r.ClientCount, r.Flows, r.Throttled, r.Granted = len(t.clients), t.flows, t.throttled, t.granted
	r.Granted[LevelNone] = t.root.granted
	r.Global = t.root.report(t, "")
	r.Global.Flows = t.flows
	s.classes = make([]int, len(t.classes))
	for i, n := range t.classes {
		s.classes[i] = -1
		if n != nil {
			s.classes[i] = len(r.Classes)
			r.Classes = append(r.Classes, n.report(t, n.class.prefix))
		}
	}
	if o := t.overflow.report(t); o.Granted > 0 {
		r.Others.add(o)
	}
	s.countFlows(t.overflow)
	s.begun = true
	s.memory = slices.Grow(s.memory, len(t.clients))
	for _, c := range t.clients {
		s.memory = append(s.memory, c)
	}
	s.clients = s.memory
	r.Clients = slices.Grow(r.Clients, len(t.clients))
}

// countFlows adds the responses of a client to those of their classes, but for classes
// that have come since the first step.
func (s *Survey) countFlows(c *client) {
	for n := c.nodes; n != nil; n = n.sibling {
		if id := n.class.id; id < len(s.classes) && s.classes[id] >= 0 {
			if r := &s.report.Classes[s.classes[id]]; r.Name == n.class.prefix {
				r.Flows += n.flows
			}
		}
	}
}

func (n *node) report(t *Tree, name string) NodeReport {
	c := NodeReport{
		Name: name, Waiting: n.count, Parked: n.state == parked, Granted: n.granted,
	}
	c.meter(t, n.meter)
	c.Rate10, c.Rate1 = n.window.rates(t.sec)
	return c
}

func (c *client) report(t *Tree) NodeReport {
	r := NodeReport{Name: string(c.id), Custom: c.meter.table.first == RowOverride, Flows: c.flows, Granted: c.granted}
	for n := c.nodes; n != nil; n = n.sibling {
		r.Waiting += n.count
		r.Parked = r.Parked || n.state == parked
		if w := n.inner; w != nil {
			r.Waiting += w.count
			if w.state == queued { // it is among those of n
				r.Waiting--
			}
			r.Parked = r.Parked || w.state == parked
		}
	}
	r.meter(t, &c.meter)
	r.Rate10, r.Rate1 = c.window.rates(t.sec)
	return r
}

func (r *NodeReport) meter(t *Tree, m *meter) {
	if m.pool == nil {
		m.bucket.Advance(t.now)
	}
	_, r.By = m.table.inForce()
	r.Limit, r.Burst, r.Tokens = m.bucket.Rate, m.bucket.Burst, m.bucket.Tokens
	if r.Limit == Unlimited {
		r.Burst, r.Tokens = 0, 0
	}
}

func (r *Report) add(o *Report) {
	r.Global.add(o.Global)
	r.Others.add(o.Others)
	r.Classes = merge(r.Classes, o.Classes)
	r.Clients = merge(r.Clients, o.Clients)
	r.ClientCount = max(r.ClientCount, o.ClientCount)
	r.Flows += o.Flows
	for i := range r.Throttled {
		r.Throttled[i] += o.Throttled[i]
		r.Granted[i] += o.Granted[i]
	}
}

func merge(a, b []NodeReport) []NodeReport {
	at := make(map[string]int, len(a))
	for i := range a {
		at[a[i].Name] = i
	}
	for _, n := range b {
		if i, ok := at[n.Name]; ok {
			a[i].add(n)
		} else {
			a = append(a, n)
		}
	}
	return a
}

// add adds the traffic of the same node in another tree, where its limit is the same.
func (r *NodeReport) add(o NodeReport) {
	r.Custom = r.Custom || o.Custom
	r.Tokens += o.Tokens
	r.Flows += o.Flows
	r.Waiting += o.Waiting
	r.Parked = r.Parked || o.Parked
	r.Granted += o.Granted
	r.Rate10 += o.Rate10
	r.Rate1 += o.Rate1
}

// Keep orders classes by prefix and clients by traffic. It keeps clients with limits of
// their own and at most busiest others, and adds the rest to Others.
func (r *Report) Keep(busiest int) {
	slices.SortFunc(r.Classes, func(a, b NodeReport) int { return cmp.Compare(a.Name, b.Name) })
	if len(r.Clients) > busiest {
		r.drop(busiest)
	}
	slices.SortFunc(r.Clients, func(a, b NodeReport) int { return byTraffic(&a, &b) })
}

func byTraffic(a, b *NodeReport) int {
	switch {
	case a.Rate10 != b.Rate10:
		return cmp.Compare(b.Rate10, a.Rate10)
	case a.Granted != b.Granted:
		return cmp.Compare(b.Granted, a.Granted)
	}
	return cmp.Compare(a.Name, b.Name)
}

// drop adds up the clients that are too many. There may be a hundred thousand of them.
func (r *Report) drop(busiest int) {
	top := r.top(busiest)
	slices.Sort(top)
	kept := r.Clients[:0]
	for i := range r.Clients {
		stays := len(top) > 0 && top[0] == int32(i)
		if stays {
			top = top[1:]
		}
		if !stays && !r.Clients[i].Custom {
			r.Others.add(r.Clients[i])
			continue
		}
		kept = append(kept, r.Clients[i])
	}
	clear(r.Clients[len(kept):])
	r.Clients = kept
}

// top returns the indices of the n busiest clients among those without limits of
// their own.
func (r *Report) top(n int) []int32 {
	if n <= 0 {
		return nil
	}
	top := make([]int32, 0, n) // the busiest first
	less := func(i, j int32) int { return byTraffic(&r.Clients[i], &r.Clients[j]) }
	for i := range int32(len(r.Clients)) {
		if r.Clients[i].Custom || len(top) == n && less(i, top[n-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, i, less)
		top = slices.Insert(top[:min(len(top), n-1)], at, i)
	}
	return top
}
