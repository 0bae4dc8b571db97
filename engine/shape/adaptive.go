package shape

// adaptive is a rate that was found for a node while it was used. It holds besides the
// limit that is configured: the lower of the two counts.
type adaptive struct {
	rate Rate   // Unlimited: none
	seq  uint64 // a later one counts, whichever tree brings it
}

// under returns l with its rate lowered to r, if that is lower.
func (l Limit) under(r Rate) Limit {
	if r == Unlimited || l.Rate != Unlimited && l.Rate.Speed() <= r.Speed() {
		return l
	}
	l.Rate = r
	if l.Guarantee > 0 {
		l.Guarantee = max(min(l.Guarantee, r), 0)
	}
	return l
}

// AdaptClient sets the rate that was found for a client, by which it is held besides
// its limit; Unlimited: by none. It is felt at once by what the client is being sent on
// this loop. With several loops each is told; of two rates the one with the higher seq
// counts. Other than a change of the configuration it costs this client only. It does
// nothing if the tree does not know the client: tell it after Join.
func (t *Tree) AdaptClient(id ClientID, rate Rate, seq uint64, now int64) {
	t.clock(now)
	c := t.clients[id]
	if c == nil || seq <= c.meter.found.seq {
		return
	}
	a, fresh := adaptive{rate, seq}, c.granted == 0
	if c.shared != nil && c.meter.pool == nil && rate != Unlimited {
		p := t.shaper.poolOf(c.shared)
		p.adapt(a, t.now)
		c.meter.found = a
		if fresh {
			c.meter.open(t, c.meter.base, p)
		} else {
			c.meter.pool, c.meter.loop = p, t.loop
			p.openEmpty(c.meter.base, t.epoch, t.now)
			c.meter.set(c.meter.base.under(rate))
		}
	} else {
		c.meter.adapt(t, a, fresh)
	}
	t.reconsider(c)
}

// AdaptClass is AdaptClient for a path class.
func (t *Tree) AdaptClass(class *Class, rate Rate, seq uint64, now int64) {
	t.clock(now)
	n := t.classNode(class)
	if seq <= n.meter.found.seq {
		return
	}
	n.meter.adapt(t, adaptive{rate, seq}, n.granted == 0)
	if n.state == parked {
		t.unpark(&n.member)
	}
}

// ClientHeld returns for how many ns, all told, responses of a client have waited on
// this loop for tokens of the rate that was found for it; those of several classes
// count each. It stands still while another limit of the client is lower.
func (t *Tree) ClientHeld(id ClientID, now int64) (held int64) {
	t.clock(now)
	c := t.clients[id]
	if c == nil {
		return 0
	}
	for n := c.nodes; n != nil; n = n.sibling {
		held += n.parkedUntil(t.now)
	}
	return c.meter.heldBy(held)
}

// ClassHeld is ClientHeld for a path class.
func (t *Tree) ClassHeld(class *Class, now int64) int64 {
	t.clock(now)
	n := t.classNode(class)
	return n.meter.heldBy(n.parkedUntil(t.now))
}

// heldBy counts, of what a node was parked all told, what it was since it was
// last asked, if that was for the rate that was found.
func (m *meter) heldBy(parked int64) int64 {
	if d := parked - m.parkedSeen; d > 0 && m.base.under(m.found.rate) != m.base {
		m.heldFound += d
	}
	m.parkedSeen = parked
	return m.heldFound
}

// adapt sets the rate that was found. What has never been used, and was unlimited, begins
// with what a new bucket has.
func (m *meter) adapt(t *Tree, a adaptive, fresh bool) {
	m.found = a
	l := m.base.under(a.rate)
	switch {
	case m.pool != nil:
		m.giveBack(t)
		m.pool.adapt(a, t.now)
		m.set(l)
	case fresh && m.bucket.Rate == Unlimited:
		m.bucket.open(l, t.now)
	default:
		m.bucket.retune(l, t.now)
	}
}

// adapt sets the rate that was found, unless a later one is set already.
func (p *pool) adapt(a adaptive, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.seq <= p.found.seq {
		return
	}
	p.found = a
	if p.opened {
		p.apply(now)
	}
}

// Caps are rates that hold for a time besides the limits of their level: of two
// the lower one counts. The zero value holds nothing back.
type Caps struct {
	Global, Client, Connection Rate
}

// Validate returns an error that names the cap and the reason.
func (c Caps) Validate() error {
	for _, part := range []struct {
		name string
		rate Rate
	}{{"global", c.Global}, {"client", c.Client}, {"connection", c.Connection}} {
		if err := (Limit{Rate: part.rate}).Validate(); err != nil {
			return &capError{part.name, err}
		}
	}
	return nil
}

type capError struct {
	level string
	err   error
}

func (e *capError) Error() string { return e.level + ": " + e.err.Error() }
func (e *capError) Unwrap() error { return e.err }

// Lower returns the lower of both for each level.
func (c Caps) Lower(o Caps) Caps {
	lower := func(a, b Rate) Rate { return Limit{Rate: a}.under(b).Rate }
	return Caps{lower(c.Global, o.Global), lower(c.Client, o.Client), lower(c.Connection, o.Connection)}
}

// SetCaps sets what holds besides the limits, which are neither changed by it nor
// shown by Limits otherwise.
func (s *Shaper) SetCaps(c Caps) (was Caps, err error) {
	if err := c.Validate(); err != nil {
		return Caps{}, &capError{"shape: cap", err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.caps
	if c == was {
		return was, nil
	}
	s.caps = c
	epoch := s.epoch.Load() + 1
	s.changes.clients, s.changes.connection = epoch, epoch
	s.publish(&s.changes.nodes)
	return was, nil
}

// Caps returns what SetCaps has set.
func (s *Shaper) Caps() Caps {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps
}
