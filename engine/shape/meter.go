package shape

// meter is a node's bucket as its tree sees it. With one loop that is the
// bucket. With several the tokens are accounted in a pool, and bucket
// holds what this tree has leased from it.
type meter struct {
	bucket  bucket
	table   table
	pool    *pool // nil: one loop
	loop    int
	leased  int64 // what the pool counts as out on lease to this tree
	spentAt int64 // instant
	share   int64 // bytes per second that this tree can count on
	timer   timer // until the lease is given back
	claims  bool  // the pool knows that this tree wants tokens

	// What the node was parked for, see heldBy.
	parkedSeen, heldFound int64 // ns
}

// leaseTime is how long a tree keeps tokens that it does not use.
const leaseTime = 10 * tick

func (m *meter) limited() bool { return m.bucket.Rate != Unlimited }

// speed is the rate that the tree can count on.
func (m *meter) speed() int64 {
	if m.pool != nil && m.bucket.Rate > 0 {
		return m.share
	}
	return m.bucket.Rate.Speed()
}

// ready reports whether n tokens are there, and if not, when to ask again.
// of is the node, and rank that of the flow, for the claim of a tree that shares it.
func (m *meter) ready(t *Tree, n int64, of *node, rank int) (at int64, ok bool) {
	if m.pool == nil {
		return m.bucket.Ready(n, t.now)
	}
	switch {
	case m.bucket.Rate == Unlimited || m.bucket.Rate > 0 && m.bucket.Tokens >= n:
		return 0, true
	case m.bucket.Rate == Paused:
		return never, false
	}
	return m.lease(t, n, of.claim(t, rank))
}

// try is ready for those who would rather not wait.
func (m *meter) try(t *Tree, n int64) bool {
	if m.pool == nil {
		_, ok := m.bucket.Ready(n, t.now)
		return ok
	}
	if m.bucket.Tokens < n {
		m.lease(t, n, claim{weight: oneWeight, casual: true})
	}
	return m.bucket.Tokens >= n
}

// lease asks the pool for what n tokens take.
func (m *meter) lease(t *Tree, n int64, c claim) (at int64, ok bool) {
	c.need = n - max(m.bucket.Tokens, 0)
	var got int64
	got, at, m.share = m.pool.lease(m.loop, m.spent(), c, t.now)
	m.leased = max(m.bucket.Tokens, 0) + got
	if m.claims = got < c.need && !c.casual; m.claims {
		m.leased = 0 // the pool has taken it back
	}
	m.bucket.Tokens = m.leased
	m.keepLease(t)
	return at, m.bucket.Tokens >= n
}

// keepLease sees to it that what is on lease is not kept for long.
func (m *meter) keepLease(t *Tree) {
	if m.bucket.Tokens > 0 && m.timer.slot == nil {
		t.wheel.set(&m.timer, t.now+leaseTime)
	}
}

// leaseEnds is called when the timer has run out.
func (m *meter) leaseEnds(t *Tree) {
	if !m.claims { // else nothing is here
		m.giveBack(t)
	}
}

// spend takes n tokens, which are there.
func (m *meter) spend(n, now int64) {
	if m.limited() {
		m.bucket.Tokens -= n
		m.spentAt = now
	}
}

// spent is what the pool has not yet been told.
func (m *meter) spent() spending {
	return spending{bytes: m.leased - m.bucket.Tokens, last: m.spentAt}
}

// borrow takes n tokens, also those that are not there. The debt is bounded, so
// that a class that got more than its guarantee for long has it again soon.
func (m *meter) borrow(t *Tree, n int64) {
	if m.pool == nil {
		m.bucket.Advance(t.now)
	}
	m.bucket.Borrow(n)
	m.spentAt = t.now
}

// repay is what borrow is undone by. A lease is not made larger by it: little is lost.
func (m *meter) repay(n int64) {
	most := m.bucket.Burst
	if m.pool != nil {
		most = m.leased
	}
	m.bucket.Tokens = max(min(m.bucket.Tokens+n, most), m.bucket.Tokens)
}

// refund gives n tokens back.
func (m *meter) refund(t *Tree, n int64) {
	switch {
	case !m.limited():
	case m.pool == nil:
		m.bucket.Advance(t.now)
		m.bucket.Refund(n)
	default:
		// What the pool still counts as ours may be kept, the rest has perhaps
		// accrued again.
		keep := min(n, m.leased-m.bucket.Tokens)
		m.bucket.Tokens += keep
		if n > keep {
			m.pool.refund(n-keep, t.now)
		}
		m.keepLease(t)
	}
}

// giveBack ends the lease: what was not spent goes back to the pool, and no
// claim is left.
func (m *meter) giveBack(t *Tree) {
	if m.pool == nil {
		return
	}
	t.wheel.stop(&m.timer)
	if m.leased != 0 || m.bucket.Tokens != 0 || m.claims {
		m.pool.giveBack(m.loop, m.spent(), t.now)
	}
	m.leased, m.bucket.Tokens, m.claims = 0, 0, false
}

// withdraw takes back the claim, if there is one: nobody waits here any more.
func (m *meter) withdraw(now int64) {
	if m.claims {
		m.pool.withdraw(m.loop, now)
		m.claims = false
	}
}

// open begins a meter of which nothing has been used. p is the pool of the node, nil
// if there is none.
func (m *meter) open(t *Tree, o table, p *pool) {
	m.timer.meter, m.table = m, o
	if p != nil {
		m.usePool(t, p, true)
		return
	}
	l, _ := o.inForce()
	m.bucket.open(l, t.now)
}

// account has the tokens accounted in p from now on. The node was unlimited; if it is
// fresh, nothing has been used of it, and it begins with what a new bucket has.
func (m *meter) usePool(t *Tree, p *pool, fresh bool) {
	m.pool, m.loop = p, t.loop
	p.open(&m.table, fresh, t.now)
	m.bucket = bucket{}
	m.mirror()
}

// apply brings the table into force. A node that was unlimited begins with nothing, but
// for one that is fresh.
func (m *meter) apply(t *Tree, fresh bool) {
	l, _ := m.table.inForce()
	switch {
	case m.pool != nil:
		m.giveBack(t)
		m.pool.update(&m.table, t.now)
		m.mirror()
	case fresh && !m.limited():
		m.bucket.open(l, t.now)
	default:
		m.bucket.retune(l, t.now)
	}
}

// lay sets what a meter with a pool knows of the limit.
func (m *meter) mirror() {
	l, _ := m.table.inForce()
	m.bucket.set(l)
	m.share = max(int64(l.Rate), 1)
}

// rested reports whether nothing would be forgiven if the meter were forgotten.
func (m *meter) rested(t *Tree) bool {
	switch {
	case !m.limited():
		return true
	case m.pool != nil:
		m.giveBack(t)
		return m.pool.rested(t.now)
	}
	m.bucket.Advance(t.now)
	return m.bucket.Tokens >= m.bucket.Burst
}
