package admit

import (
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Policy bounds what clients may ask for. The zero value bounds nothing.
type Policy struct {
	// Requests is the rate of the requests of each client; zero: no bound.
	Requests Rate
	// ClientDownloads and Downloads are how many responses of one client, and of all, may be
	// under way at a time; 0: no bound.
	ClientDownloads, Downloads int
	// QueueLength is how many more requests of a client wait for one of these to end, in
	// their order, each for at most QueueWait. 0: none, they are refused.
	QueueLength int
	QueueWait   time.Duration
}

func (p *Policy) limits() bool {
	return p.Requests != Rate{} || p.ClientDownloads > 0 || p.Downloads > 0
}

var (
	errDownloads = errors.New("at most 65535 downloads of a client at a time can be counted")
	errNegative  = errors.New("a bound is negative")
)

// Validate returns an error unless the policy can be kept.
func (p *Policy) Validate() error {
	switch {
	case p.ClientDownloads > MaxHeld:
		return errDownloads
	case p.ClientDownloads < 0 || p.Downloads < 0 || p.QueueLength < 0 || p.QueueWait < 0:
		return errNegative
	case p.Requests != Rate{}:
		return p.Requests.Validate()
	}
	return nil
}

// Reason is why a request is not admitted.
type Reason uint8

const (
	Admitted      Reason = iota
	Requests             // the client asks too often
	ClientBusy           // it has too many responses under way
	Busy                 // all together have
	NoRoomToCount        // there are more clients than can be counted
	NumReasons    = iota // how many there are
)

func (r Reason) String() string {
	return [...]string{"admitted", "requests", "client_downloads", "downloads", "clients"}[r]
}

// OfClient reports whether the client's own doing is the reason, and not everybody's.
func (r Reason) OfClient() bool { return r == Requests || r == ClientBusy }

// Control admits requests by a Policy, for all loops of a server. It is safe for concurrent
// use. The debts of clients and what is under way outlive a change of the policy.
type Control struct {
	policy  atomic.Pointer[policy] // nil: all are admitted
	table   *Table
	gauge   *Gauge
	seed    maphash.Seed
	under   atomic.Int64
	queue   queue
	results [NumReasons]atomic.Uint64
}

// policy is one in force.
type policy struct {
	Policy
	requests *Rule // nil: no bound
}

const (
	tableSlots = 1 << 18 // 4 MiB
	gaugeSlots = 1 << 16 // 512 KiB
)

// Set puts a policy that is valid into force.
func (c *Control) Set(p Policy) {
	defer c.queue.wakeAll()
	if !p.limits() {
		c.policy.Store(nil)
		return
	}
	if c.table == nil {
		c.table, c.gauge, c.seed = NewTable(tableSlots), NewGauge(gaugeSlots), maphash.MakeSeed()
	}
	next := &policy{Policy: p}
	if p.Requests != (Rate{}) {
		next.requests = c.table.Rule("client", p.Requests)
	}
	c.policy.Store(next)
}

// Limits reports whether there is anything to ask.
func (c *Control) Limits() bool { return c.policy.Load() != nil }

// Policy returns the policy in force.
func (c *Control) Policy() Policy {
	if p := c.policy.Load(); p != nil {
		return p.Policy
	}
	return Policy{}
}

// QueueWait returns how long a request waits at most, in the policy in force.
func (c *Control) QueueWait() time.Duration {
	p := c.Policy()
	return p.QueueWait
}

// Results returns how many requests have ended with a Reason; Admitted: were admitted.
func (c *Control) Results(r Reason) uint64 { return c.results[r].Load() }

// Overflows returns how many requests found no place of their own among the debts of clients.
func (c *Control) Overflows() uint64 {
	if c.policy.Load() == nil {
		return 0
	}
	return c.table.Overflows()
}

// Waiting returns how many requests wait for their turn.
func (c *Control) Waiting() int { return int(c.queue.waiting.Load()) }

// UnderWay returns how many responses are, of all that were counted.
func (c *Control) UnderWay() int { return int(c.under.Load()) }

// Grant is a response that is counted until Release. The zero value is none.
type Grant struct {
	control *Control
	held    Held
	key     uint64
}

// Counts reports whether there is anything to release.
func (g *Grant) Counts() bool { return g.control != nil }

// Release ends what is counted. It may be called again.
func (g *Grant) Release() {
	c := g.control
	if c == nil {
		return
	}
	g.control = nil
	g.held.Release()
	c.under.Add(-1)
	if c.queue.waiting.Load() > 0 {
		c.queue.wake(g.key)
	}
}

// A Refusal says why a request is not admitted, and when it may be: Wait is in ns, 0: that is
// not known. Its client may wait for that instead, if Queue.
type Refusal struct {
	Reason Reason
	Wait   int64
	Queue  bool
}

// Admit asks for a request of a client, at a monotonic time in ns, and counts its response if
// it is admitted.
func (c *Control) Admit(client []byte, now int64) (Grant, Refusal) {
	p := c.policy.Load()
	if p == nil {
		return Grant{}, Refusal{}
	}
	if p.requests != nil {
		if wait, ok := c.table.Take(p.requests, c.table.Key(p.requests, client), now); !ok {
			return Grant{}, c.refuse(Refusal{Reason: Requests, Wait: wait})
		}
	}
	why := ClientBusy // behind those who wait
	if c.queue.waiting.Load() == 0 || !c.queue.has(maphash.Bytes(c.seed, client)) {
		var g Grant
		if g, why = c.begin(p, client); why == Admitted {
			c.results[Admitted].Add(1)
			return g, Refusal{}
		}
	}
	r := Refusal{Reason: why, Queue: why != NoRoomToCount && p.QueueLength > 0}
	if r.Queue {
		return Grant{}, r // it keeps its turn
	}
	c.giveBack(p, client)
	return Grant{}, c.refuse(r)
}

// Refuse is for a request that Admit has refused with Queue, and that cannot wait.
func (c *Control) Refuse(client []byte, why Reason) {
	c.giveBack(c.policy.Load(), client)
	c.results[why].Add(1)
}

// giveBack takes back what the rate of requests has counted of a request; p may be nil.
func (c *Control) giveBack(p *policy, client []byte) {
	if p != nil && p.requests != nil {
		c.table.GiveBack(p.requests, c.table.Key(p.requests, client))
	}
}

func (c *Control) refuse(r Refusal) Refusal {
	c.results[r.Reason].Add(1)
	return r
}

// begin counts a response.
func (c *Control) begin(p *policy, client []byte) (g Grant, why Reason) {
	if p.ClientDownloads == 0 && p.Downloads == 0 {
		return Grant{}, Admitted
	}
	for n := c.under.Load(); ; n = c.under.Load() {
		if p.Downloads > 0 && n >= int64(p.Downloads) {
			return Grant{}, Busy
		}
		if c.under.CompareAndSwap(n, n+1) {
			break
		}
	}
	if p.ClientDownloads > 0 {
		held, v := c.gauge.Acquire(client, p.ClientDownloads)
		if v != Granted {
			c.under.Add(-1)
			if v == TooMany {
				return Grant{}, ClientBusy
			}
			return Grant{}, NoRoomToCount
		}
		g.held = held
	}
	g.control, g.key = c, maphash.Bytes(c.seed, client)
	return g, Admitted
}
