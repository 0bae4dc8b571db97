package shape

import (
	"math/bits"
	"slices"
	"sync"
)

// Figures of leasing.
const (
	// leasePart makes a lease 1/500 s of what the tree can count on: a saturated node
	// costs each loop some hundred locks a second.
	leasePart = 500
	// turnGrace is how late a tree may be for the tokens that are kept for it.
	turnGrace = 20 * tick
	// hungryFor is how long after its last claim a tree counts as one that shares.
	hungryFor = 50 * tick
	// Virtual time is in bytes of weight 1/oneWeight; it wraps around.
	virtual = 10
)

// pool is the part of a node that the loops share: the tokens, and the claims of the
// trees. Tokens here and on lease are together at most the burst, so that what all trees
// spend keeps to rate*w + burst. A pool is safe for concurrent use.
//
// Trees that claim more than there is get it in the order of their virtual start times
// (start-time fair queueing): each byte moves a tree on by 1/weight. Tokens are
// kept for the trees that are before the one that asks, until they come or are late.
type pool struct {
	mu     sync.Mutex
	opened bool
	table  table
	bucket bucket
	out    int64 // on lease, or spent of a lease and not yet told
	now    int64 // virtual time: the start of what was last served
	trees  []tenant
}

// at returns what is known about the tree of a loop. The pointer is valid until the next call.
func (p *pool) at(loop int) *tenant {
	for i := range p.trees {
		if p.trees[i].loop == loop {
			return &p.trees[i]
		}
	}
	p.trees = append(p.trees, tenant{loop: loop, start: p.now})
	return &p.trees[len(p.trees)-1]
}

// forget drops what is known about the tree of a loop. The tree has no lease.
func (p *pool) forget(loop int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trees = slices.DeleteFunc(p.trees, func(c tenant) bool { return c.loop == loop })
}

// tenant is what a pool knows about a tree.
type tenant struct {
	claim
	loop   int
	start  int64 // virtual
	seen   int64 // instant of its last claim
	until  int64 // until then tokens are kept for it
	leased int64
}

func (c *tenant) weightOr1() int64 { return max(c.weight, 1) }

// claim says what a tree needs.
type claim struct {
	need   int64 // bytes; 0: nothing
	weight int64 // 1 is oneWeight
	rank   int   // higher goes first, whatever the virtual times
	casual bool  // what is not there is not waited for
}

// open begins a pool that is new. It has the tokens of a new bucket if the node is fresh,
// else none. Another pool takes over what is later in o.
func (p *pool) open(o *table, fresh bool, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		p.updateLocked(o, now)
		return
	}
	p.opened, p.table = true, *o
	l, _ := o.inForce()
	p.bucket.open(l, now)
	if !fresh {
		p.bucket.Tokens = 0
	}
}

// update takes over what is later in o, the table of a tree, and brings it into force.
func (p *pool) update(o *table, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updateLocked(o, now)
}

func (p *pool) updateLocked(o *table, now int64) {
	if !p.table.update(o) {
		return
	}
	l, _ := p.table.inForce()
	p.advance(now)
	p.bucket.retune(l, now)
	if l.Rate > 0 {
		p.bucket.Tokens = min(p.bucket.Tokens, p.bucket.Burst-p.out)
	}
}

func (p *pool) advance(now int64) { p.bucket.AdvanceUpTo(p.bucket.Burst-p.out, now) }

// spending is what a tree has spent of its lease since it last told, and when it last spent.
type spending struct {
	bytes int64
	last  int64 // instant
}

// settle counts what tree i has spent of its lease, and moves on to the instant now. Until
// they were spent the tokens were out and left no room in the burst, so the pool advances
// first to that instant. A debt beyond the lease is taken from the pool.
func (p *pool) settle(i int, s spending, now int64) *tenant {
	p.advance(min(s.last, now))
	c, spent := p.at(i), s.bytes
	if over := spent - c.leased; over > 0 {
		p.bucket.Borrow(over)
		spent = c.leased
	}
	c.leased -= spent
	p.out -= spent
	p.advance(now)
	return c
}

// lease gives tree i what it needs and a little more. If that is not there, it gives
// nothing, takes back what is left of the last lease, and returns the instant when the tree
// should ask again; a casual claim keeps its lease and is forgotten. share is what the tree
// can count on, in bytes per second.
func (p *pool) lease(i int, spent spending, want claim, now int64) (n, at, share int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.settle(i, spent, now)
	now = max(now, p.bucket.Last)
	p.boundCredit(c, now)
	c.claim, c.seen = want, now
	before, behind, weights := p.rivals(c, now)
	share = p.portion(c.weight, weights)
	if have := p.bucket.Tokens - before; have >= c.need {
		n = max(min(p.wish(share), have-behind), c.need)
		p.grant(c, n)
		return n, 0, share
	}
	if want.casual {
		c.need = 0
		return 0, never, share
	}
	// Two trees that wait with a part of a grant each might never get the rest.
	p.unlease(c)
	few := max(c.need, p.wish(share)) // not a call for each grant
	at = p.bucket.Full(few)
	if before > 0 { // the trees before it may give up
		at = max(at, min(p.bucket.Full(min(before+few, p.bucket.Burst)), now+turnGrace))
	}
	c.until = min(at, never-turnGrace) + turnGrace
	return 0, max(at, now+1), share
}

// boundCredit moves a tree that was away up to the present of virtual time. A tree that
// asks again in time keeps its place, and with it at most a burst's worth.
func (p *pool) boundCredit(c *tenant, now int64) {
	oldest := p.now
	if c.need > 0 && now <= c.until || now-c.seen <= turnGrace {
		oldest -= p.bucket.Burst << virtual / c.weightOr1()
	}
	if c.start-oldest < 0 {
		c.start = oldest
	}
}

// rivals returns the bytes to keep for trees before me, the bytes that those behind me
// need, and the weights of all that share. What is kept for a tree brings it up to me:
// it asks for one grant at a time.
func (p *pool) rivals(me *tenant, now int64) (before, behind, weights int64) {
	for j := range p.trees {
		c := &p.trees[j]
		if now-c.seen < hungryFor {
			weights += c.weight
		}
		ahead := me.start - c.start
		switch {
		case c == me || c.need == 0 || now > c.until:
		case c.rank > me.rank || c.rank == me.rank && (ahead > 0 || ahead == 0 && c.loop < me.loop):
			before += max(c.need, p.catchUp(ahead, c.weightOr1()))
		default:
			behind += c.need
		}
	}
	return before, behind, weights
}

// catchUp is what a tree of that weight may get until it has made up for what it is
// behind by, in virtual time.
func (p *pool) catchUp(ahead, weight int64) int64 {
	if ahead > p.bucket.Burst<<virtual/weight {
		return p.bucket.Burst
	}
	return ahead * weight >> virtual
}

// portion is the part of the rate that weight of weights stands for.
func (p *pool) portion(weight, weights int64) int64 {
	rate := int64(p.bucket.Rate)
	if rate <= 0 || weight >= weights {
		return max(rate, 1)
	}
	hi, lo := bits.Mul64(uint64(rate), uint64(weight))
	part, _ := bits.Div64(hi, lo, uint64(weights)) // less than rate: it fits
	return max(int64(part), 1)
}

// wish is the size of a lease for a tree with this share.
func (p *pool) wish(share int64) int64 {
	return min(share/leasePart, p.bucket.Burst/int64(4*len(p.trees)))
}

func (p *pool) grant(c *tenant, n int64) {
	p.bucket.Tokens -= n
	p.out += n
	c.leased += n
	p.now = c.start
	c.start += n << virtual / c.weightOr1()
	c.need = 0
}

// giveBack ends the lease of tree i and its claim.
func (p *pool) giveBack(i int, spent spending, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.settle(i, spent, now)
	p.unlease(c)
	c.need = 0
}

// unlease takes back what is left of a tree's lease. The tree needs that much more.
func (p *pool) unlease(c *tenant) {
	rest := c.leased
	p.out -= rest
	p.bucket.Tokens += rest
	c.start -= rest << virtual / c.weightOr1()
	c.leased, c.need = 0, c.need+rest
}

// withdraw ends the claim of tree i.
func (p *pool) withdraw(i int, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	p.at(i).need = 0
}

// refund takes back n tokens that had been counted as spent.
func (p *pool) refund(n, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	p.bucket.Tokens = min(p.bucket.Tokens+n, p.bucket.Burst-p.out)
}

// rested reports whether nothing is out and the burst is there in full.
func (p *pool) rested(now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	return p.bucket.Rate == Unlimited || p.out == 0 && p.bucket.Tokens >= p.bucket.Burst
}
