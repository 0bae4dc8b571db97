package shape

// meter is the bucket of a node, as the tree has it. With several loops a pool accounts
// for the tokens, and the bucket holds what this tree has leased from the pool.
type meter struct {
	bucket  bucket
	pool    *pool // nil: one loop
	leased  int64 // what the pool counts as out on lease to this tree
	spentAt int64 // instant
	share   int64 // bytes per second that this tree can count on
	timer   timer // until the lease is given back
	claims  bool  // the pool knows that this tree wants tokens

	table                 table
	parkedSeen, heldFound int64 // ns, see heldBy
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

// ready reports whether n tokens are there, and if not, when to ask again. A tree that
// shares the tokens claims them: for the node of, and a flow of the given rank.
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

// try is ready without a claim: what is not there is not waited for.
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
	got, at, m.share = m.pool.lease(t.loop, m.spent(), c, t.now)
	m.leased = max(m.bucket.Tokens, 0) + got
	if m.claims = got < c.need && !c.casual; m.claims {
		m.leased = 0 // the pool has taken it back
	}
	m.bucket.Tokens = m.leased
	m.keepLease(t)
	return at, m.bucket.Tokens >= n
}

// keepLease sets the timer that ends the lease.
func (m *meter) keepLease(t *Tree) {
	if m.bucket.Tokens > 0 && m.timer.slot == nil {
		t.wheel.set(&m.timer, t.now+leaseTime)
	}
}

// leaseEnds gives the lease back when its timer has run out.
func (m *meter) leaseEnds(t *Tree) {
	if !m.claims { // a tree that claims has no tokens
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

// borrow takes n tokens, also those that are not there. The debt is bounded: a class that
// got more than its guarantee for long has it again soon.
func (m *meter) borrow(t *Tree, n int64) {
	if m.pool == nil {
		m.bucket.Advance(t.now)
	}
	m.bucket.Borrow(n)
	m.spentAt = t.now
}

// repay undoes borrow. It makes no lease larger than it was, which loses little.
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
		// The tree keeps what the pool still counts as out. The pool has been told
		// of the rest, which may have accrued again.
		keep := min(n, m.leased-m.bucket.Tokens)
		m.bucket.Tokens += keep
		if n > keep {
			m.pool.refund(n-keep, t.now)
		}
		m.keepLease(t)
	}
}

// giveBack ends the lease and the claim: what was not spent goes back to the pool.
func (m *meter) giveBack(t *Tree) {
	if m.pool == nil {
		return
	}
	t.wheel.stop(&m.timer)
	if m.leased != 0 || m.bucket.Tokens != 0 || m.claims {
		m.pool.giveBack(t.loop, m.spent(), t.now)
	}
	m.leased, m.bucket.Tokens, m.claims = 0, 0, false
}

// withdraw ends the claim, if there is one: no member waits any more.
func (m *meter) withdraw(s *scheduler) {
	if m.claims {
		m.pool.withdraw(s.loop, s.now)
		m.claims = false
	}
}

// open begins a meter of which nothing has been used. p is the pool of the node; nil:
// none.
func (m *meter) open(t *Tree, o table, p *pool) {
	m.timer.meter, m.table = m, o
	if p != nil {
		m.usePool(t, p, true)
		return
	}
	l, _ := o.inForce()
	m.bucket.open(l, t.now)
}

// usePool lets the pool p account for the tokens from now on. The node was unlimited; for
// fresh see apply.
func (m *meter) usePool(t *Tree, p *pool, fresh bool) {
	m.pool = p
	p.open(&m.table, fresh, t.now)
	m.bucket = bucket{}
	m.mirror()
}

// update takes over what is later in o and brings it into force. It reports whether there
// is any.
func (m *meter) update(t *Tree, o *table, fresh bool) (news bool) {
	if news = m.table.update(o); news {
		m.apply(t, fresh)
	}
	return news
}

// apply brings the table into force. A node that was unlimited begins with no tokens. A
// fresh one, of which nothing has been used, begins with those of a new bucket.
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

// mirror sets what a meter with a pool knows of the limit.
func (m *meter) mirror() {
	l, _ := m.table.inForce()
	m.bucket.set(l)
	m.share = max(int64(l.Rate), 1)
}

// rested reports whether the burst is there in full: who forgets the meter forgives
// nothing.
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
