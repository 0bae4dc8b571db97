package admit

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
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
	// Paths bound what begins with a path, of all clients together; the longest beginning counts.
	Paths map[string]PathBounds
	// Fields says which answers tell clients what they have left.
	Fields Fields
	// Users are the rates of the requests of each user, by tier.
	Users map[string]Rate
	// Claims is set if users may have bounds of their own of downloads.
	Claims bool
}

// PathBounds are those of what begins with a path.
type PathBounds struct {
	Requests  Rate // zero: no bound
	Downloads int  // responses under way; 0: no bound
}

// Limits reports whether there are any bounds.
func (p *Policy) Limits() bool {
	return p.Requests != Rate{} || p.ClientDownloads > 0 || p.Downloads > 0 || len(p.Paths) > 0 || len(p.Users) > 0 || p.Claims
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
	}
	rates := []Rate{p.Requests}
	for path, b := range p.Paths {
		if path == "" || path[0] != '/' || b.Downloads < 0 {
			return fmt.Errorf("path %q: it begins with a slash, and has no negative bound", path)
		}
		rates = append(rates, b.Requests)
	}
	for _, r := range slices.AppendSeq(rates, maps.Values(p.Users)) {
		if err := r.Validate(); r != (Rate{}) && err != nil {
			return err
		}
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
	PathRequests         // all together ask too often for this path
	PathBusy             // it has too many responses under way
	UserRequests         // the user asks too often
	NumReasons    = iota // how many there are
)

func (r Reason) String() string {
	return [...]string{"admitted", "requests", "client_downloads", "downloads", "clients", "path_requests", "path_downloads", "user_requests"}[r]
}

// OfClient reports whether the client's own doing is the reason, and not everybody's.
func (r Reason) OfClient() bool { return r == Requests || r == ClientBusy || r == UserRequests }

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
	paths   map[string]*atomic.Int64 // responses under way, of all that there were
}

// policy is one in force.
type policy struct {
	Policy
	requests *Rule            // nil: no bound
	paths    []path           // the longest first
	users    map[string]*Rule // by tier
}

// path is what begins with a path.
type path struct {
	prefix    []byte
	requests  *Rule // nil: no bound
	downloads int64 // 0: no bound
	under     *atomic.Int64
}

// pathOf returns the bounds of a path; nil: there are none.
func (p *policy) pathOf(name []byte) *path {
	for i := range p.paths {
		if bytes.HasPrefix(name, p.paths[i].prefix) {
			return &p.paths[i]
		}
	}
	return nil
}

// An Ask is a request that asks to be admitted. What it refers to must not change meanwhile.
type Ask struct {
	Client []byte // its address, as what is counted by it is named
	User   []byte // nil: not known, it is the Client
	Tier   string // of the user
	// Downloads is how many the user may have at a time; 0: as each client.
	Downloads int
	Path      []byte // normalised
	// Charged is set if Charge has counted it.
	Charged bool
}

// user returns whom bounds of users are for, in memory of their own: no user has the name of an address.
func (a *Ask) user(memory []byte) []byte {
	if len(a.User) == 0 {
		return a.Client
	}
	return append(append(memory[:0], "user "...), a.User...)
}

// holder returns who has downloads, and how many at most: a user that has a bound in place of its
// address, behind which there may be many.
func (a *Ask) holder(p *policy, memory []byte) (name []byte, most int) {
	if a.Downloads > 0 {
		return a.user(memory), a.Downloads
	}
	return a.Client, p.ClientDownloads
}

// clone returns a copy that is valid for ever.
func (a *Ask) clone() Ask {
	return Ask{bytes.Clone(a.Client), bytes.Clone(a.User), a.Tier, a.Downloads, bytes.Clone(a.Path), a.Charged}
}

const (
	tableSlots = 1 << 18 // 4 MiB
	gaugeSlots = 1 << 16 // 512 KiB
)

// Set puts a policy that is valid into force.
func (c *Control) Set(p Policy) {
	defer c.queue.wakeAll()
	if !p.Limits() {
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
	c.compile(next)
	c.policy.Store(next)
}

// compile makes the rules of paths and users. What is under way goes on being counted.
func (c *Control) compile(p *policy) {
	if c.paths == nil {
		c.paths = make(map[string]*atomic.Int64)
	}
	for prefix, b := range p.Paths {
		at := path{prefix: []byte(prefix), downloads: int64(b.Downloads), under: c.paths[prefix]}
		if at.under == nil {
			at.under = new(atomic.Int64)
			c.paths[prefix] = at.under
		}
		if b.Requests != (Rate{}) {
			at.requests = c.table.Rule("path "+prefix, b.Requests)
		}
		p.paths = append(p.paths, at)
	}
	slices.SortFunc(p.paths, func(a, b path) int { return len(b.prefix) - len(a.prefix) })
	p.users = make(map[string]*Rule)
	for tier, r := range p.Users {
		p.users[tier] = c.table.Rule("tier "+tier, r)
	}
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

// Fields returns which answers tell clients what they have left.
func (c *Control) Fields() Fields {
	if p := c.policy.Load(); p != nil {
		return p.Fields
	}
	return FieldsOff
}

// Waiting returns how many requests wait for their turn.
func (c *Control) Waiting() int { return int(c.queue.waiting.Load()) }

// UnderWay returns how many responses are, of all that were counted.
func (c *Control) UnderWay() int { return int(c.under.Load()) }

// PathUnderWay returns how many responses are, of what begins with a path that bounds them.
func (c *Control) PathUnderWay(prefix string) int {
	if p := c.policy.Load(); p != nil {
		for i := range p.paths {
			if at := &p.paths[i]; string(at.prefix) == prefix {
				return int(at.under.Load())
			}
		}
	}
	return 0
}

// Grant is a response that is counted until Release. The zero value is none.
type Grant struct {
	control *Control
	held    Held
	path    *atomic.Int64 // nil: the path has no bound
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
	if g.path != nil {
		g.path.Add(-1)
	}
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
	// Standing is that with its rates; of a request that is admitted, too.
	Standing Standing
}

// Admit asks for a request, at a monotonic time in ns, and counts its response if it is admitted. The
// order is: the client, the path, the user, and of downloads all, the path, the client or user. What
// was taken is given back if a later one refuses.
func (c *Control) Admit(a *Ask, now int64) (Grant, Refusal) {
	p := c.policy.Load()
	if p == nil {
		return Grant{}, Refusal{}
	}
	var memory [maxName]byte
	var standing Standing
	if why, wait := c.take(p, a, memory[:], now, &standing); why != Admitted {
		return Grant{}, c.refuse(Refusal{Reason: why, Wait: wait, Standing: standing})
	}
	why, behind := Admitted, false
	name, most := a.holder(p, memory[:])
	if c.queue.waiting.Load() > 0 {
		why, behind = c.queue.ahead(maphash.Bytes(c.seed, name))
	}
	if !behind {
		var g Grant
		if g, why = c.begin(p, a, name, most); why == Admitted {
			c.results[Admitted].Add(1)
			return g, Refusal{Standing: standing}
		}
		if c.queue.waiting.Load() > 0 { // one of them may just have seen it counted
			c.queue.wake(maphash.Bytes(c.seed, name))
		}
	}
	r := Refusal{Reason: why, Queue: why.waits() && p.QueueLength > 0, Standing: standing}
	if r.Queue {
		return Grant{}, r // it keeps its turn
	}
	c.giveBack(p, a)
	return Grant{}, c.refuse(r)
}

// Charge counts a request by the rate of its client, before it is known who asks: so nobody has more
// proofs looked at than that. Admit is told by Ask.Charged.
func (c *Control) Charge(client []byte, now int64) Refusal {
	p := c.policy.Load()
	if p == nil || p.requests == nil {
		return Refusal{}
	}
	if wait, ok := c.table.Take(p.requests, c.table.Key(p.requests, client), now); !ok {
		return c.refuse(Refusal{Reason: Requests, Wait: wait, Standing: Standing{policyOf[Requests], p.requests, 0, wait}})
	}
	return Refusal{}
}

// badProof is how many requests one counts for whose proof was verified in vain.
const badProof = 10

// Punish counts a request that Charge has counted, and whose proof was verified in vain, as ten: it costs
// ten to twenty times what others do.
func (c *Control) Punish(client []byte, now int64) {
	if p := c.policy.Load(); p != nil && p.requests != nil {
		c.table.Owe(p.requests, c.table.Key(p.requests, client), badProof-1, now)
	}
}

// waits reports whether a request may wait for the reason to go away.
func (r Reason) waits() bool { return r == ClientBusy || r == Busy }

// maxName is how long the names of users mostly are, in bytes.
const maxName = 128

// bound is a rate that a request is counted by.
type bound struct {
	rule *Rule
	key  Key
	why  Reason
}

// bounds returns those of a request in their order.
func (c *Control) bounds(p *policy, a *Ask, memory []byte) (list [3]bound, n int) {
	add := func(r *Rule, name []byte, why Reason) {
		list[n] = bound{r, c.table.Key(r, name), why}
		n++
	}
	if p.requests != nil {
		add(p.requests, a.Client, Requests)
	}
	if len(p.paths) > 0 {
		if at := p.pathOf(a.Path); at != nil && at.requests != nil {
			add(at.requests, at.prefix, PathRequests)
		}
	}
	if a.Tier != "" {
		if r := p.users[a.Tier]; r != nil {
			add(r, a.user(memory), UserRequests)
		}
	}
	return list, n
}

// take counts a request by all its rates, or by none; wait is as in Table.Take.
func (c *Control) take(p *policy, a *Ask, memory []byte, now int64, s *Standing) (why Reason, wait int64) {
	list, n := c.bounds(p, a, memory)
	for i := range n {
		b := &list[i]
		if a.Charged && b.why == Requests {
			continue
		}
		wait, ok := c.table.Take(b.rule, b.key, now)
		if ok {
			if p.Fields != FieldsOff {
				s.near(policyOf[b.why], b.rule, b.rule.left(wait), wait)
			}
			continue
		}
		*s = Standing{policyOf[b.why], b.rule, 0, wait}
		for _, taken := range list[:i] {
			c.table.GiveBack(taken.rule, taken.key)
		}
		return b.why, wait
	}
	return Admitted, 0
}

// Refuse is for a request that Admit has refused with Queue, and that cannot wait.
func (c *Control) Refuse(a *Ask, why Reason) {
	c.giveBack(c.policy.Load(), a)
	c.results[why].Add(1)
}

// giveBack takes back what the rates have counted of a request; p may be nil.
func (c *Control) giveBack(p *policy, a *Ask) {
	if p == nil {
		return
	}
	var memory [maxName]byte
	list, n := c.bounds(p, a, memory[:])
	for _, taken := range list[:n] {
		c.table.GiveBack(taken.rule, taken.key)
	}
}

func (c *Control) refuse(r Refusal) Refusal {
	c.results[r.Reason].Add(1)
	return r
}

// begin counts a response, of which most may be under way for somebody.
func (c *Control) begin(p *policy, a *Ask, name []byte, most int) (g Grant, why Reason) {
	at := p.pathOf(a.Path)
	if at != nil && at.downloads == 0 {
		at = nil
	}
	if most == 0 && p.Downloads == 0 && at == nil {
		return Grant{}, Admitted
	}
	if !below(&c.under, int64(p.Downloads)) {
		return Grant{}, Busy
	}
	if at != nil {
		if !below(at.under, at.downloads) {
			c.under.Add(-1)
			return Grant{}, PathBusy
		}
		g.path = at.under
	}
	if most > 0 {
		held, v := c.gauge.Acquire(name, most)
		if v != Granted {
			if g.path != nil {
				g.path.Add(-1)
			}
			c.under.Add(-1)
			if v == TooMany {
				return Grant{}, ClientBusy
			}
			return Grant{}, NoRoomToCount
		}
		g.held = held
	}
	g.control, g.key = c, maphash.Bytes(c.seed, name)
	return g, Admitted
}

// below adds one to a number unless that is most already; 0: there is no bound.
func below(n *atomic.Int64, most int64) bool {
	for was := n.Load(); most == 0 || was < most; was = n.Load() {
		if n.CompareAndSwap(was, was+1) {
			return true
		}
	}
	return false
}
