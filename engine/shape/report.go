package shape

import (
	"cmp"
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

	// Throttled is for how many ns responses were held, by the level that held them;
	// LevelNone is the loop itself. Waits count when they end.
	Throttled [NumLevels]int64
	// Granted is how many bytes passed a limit of the level; LevelNone: all bytes.
	Granted [NumLevels]int64
}

// NodeReport is what passes a node.
type NodeReport struct {
	Name    string // prefix or client
	Limit   Rate
	Burst   int64 // bytes
	Custom  bool  // of clients: has a limit of its own
	Tokens  int64 // bytes; with several loops, what is on lease here
	Flows   int   // responses under way
	Waiting int   // members that wait for their turn: classes, clients or flows
	Held    bool  // waits for its own bucket

	Granted int64 // bytes so far
	Rate10  int64 // bytes per second over the last ten whole seconds
	Rate1   int64 // over the last one
}

// Report fills r for the instant now: all classes, clients with limits of their
// own and at most busiest others. It takes time in proportion to the number of
// clients. What r held is overwritten.
func (t *Tree) Report(now int64, busiest int, r *Report) {
	t.clock(now)
	*r = Report{
		Classes: r.Classes[:0], Clients: r.Clients[:0],
		ClientCount: len(t.clients), Flows: t.flows,
		Throttled: t.throttled, Granted: t.granted,
	}
	r.Granted[LevelNone] = t.root.granted
	r.Global = t.reportNode(t.root, "")
	r.Global.Flows = t.flows
	for _, n := range t.classes {
		if n == nil {
			continue
		}
		c := t.reportNode(n, n.class.prefix)
		r.Classes = append(r.Classes, c)
	}
	for _, c := range t.clients {
		r.Clients = append(r.Clients, t.reportClient(c))
	}
	if o := t.reportClient(t.overflow); o.Granted > 0 {
		r.Others.add(o)
	}
	for _, c := range t.clients {
		for n := c.nodes; n != nil; n = n.sibling {
			t.countFlows(r, n)
		}
	}
	for n := t.overflow.nodes; n != nil; n = n.sibling {
		t.countFlows(r, n)
	}
	r.sort(busiest)
}

func (t *Tree) countFlows(r *Report, n *node) {
	for i := range r.Classes {
		if r.Classes[i].Name == n.class.prefix {
			r.Classes[i].Flows += n.flows
			return
		}
	}
}

func (t *Tree) reportNode(n *node, name string) NodeReport {
	c := NodeReport{
		Name: name, Waiting: n.count, Held: n.state == parked, Granted: n.granted,
	}
	c.meter(t, n.meter)
	c.Rate10, c.Rate1 = n.window.rates(t.sec)
	return c
}

func (t *Tree) reportClient(c *client) NodeReport {
	r := NodeReport{Name: string(c.id), Custom: c.overridden, Flows: c.flows, Granted: c.granted}
	for n := c.nodes; n != nil; n = n.sibling {
		r.Waiting += n.count
		r.Held = r.Held || n.state == parked
	}
	r.meter(t, &c.meter)
	r.Rate10, r.Rate1 = c.window.rates(t.sec)
	return r
}

func (r *NodeReport) meter(t *Tree, m *meter) {
	if m.pool == nil {
		m.bucket.advance(t.now, m.bucket.burst)
	}
	r.Limit, r.Burst, r.Tokens = m.bucket.rate, m.bucket.burst, m.bucket.tokens
	if r.Limit == Unlimited {
		r.Burst, r.Tokens = 0, 0
	}
}

// Merge adds what another tree reported to r, and keeps of the clients those with
// limits of their own and at most busiest others.
func (r *Report) Merge(o *Report, busiest int) {
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
	r.sort(busiest)
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

// add adds the traffic of the same node in another tree. The limit is one and the same.
func (r *NodeReport) add(o NodeReport) {
	r.Custom = r.Custom || o.Custom
	r.Tokens += o.Tokens
	r.Flows += o.Flows
	r.Waiting += o.Waiting
	r.Held = r.Held || o.Held
	r.Granted += o.Granted
	r.Rate10 += o.Rate10
	r.Rate1 += o.Rate1
}

// sort orders classes by prefix and clients by traffic, and adds up the
// clients that are too many.
func (r *Report) sort(busiest int) {
	slices.SortFunc(r.Classes, func(a, b NodeReport) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Clients, func(a, b NodeReport) int {
		return cmp.Or(cmp.Compare(b.Rate10, a.Rate10), cmp.Compare(b.Granted, a.Granted), cmp.Compare(a.Name, b.Name))
	})
	kept := r.Clients[:0]
	for _, c := range r.Clients {
		switch {
		case c.Custom:
		case busiest > 0:
			busiest--
		default:
			r.Others.add(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(r.Clients[len(kept):])
	r.Clients = kept
}
