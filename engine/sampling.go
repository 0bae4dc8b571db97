package engine

// What is due is asked for in each turn of the loop: a comparison, as a rule. A period
// is passed in sampleCells steps, in three quarters of its time; then come the
// path classes, so that what their connections brought is of the same period. A loop
// that is late goes on where it is, and begins the next period when it is through.

// begin starts a period.
func (s *sampler) begin(now int64) {
	s.period = s.shared.period.Load()
	s.slot = now - now%s.period
	s.cell, s.at = 0, -1
	s.schedule()
}

// schedule sets the instant at which the next step is due.
func (s *sampler) schedule() {
	if s.cell < sampleCells {
		s.next = s.slot + int64(s.cell)*s.period*3/4/sampleCells
		return
	}
	s.next = s.slot + s.period*15/16
}

// runSampler does what is due.
func (l *Loop) runSampler() {
	s := &l.sampler
	if l.now < s.next {
		return
	}
	for left := maxSamples; left > 0 && l.now >= s.next; {
		if s.cell == sampleCells {
			l.endPeriod()
			return
		}
		left -= l.sampleCell(left)
	}
}

// sampleCell samples at most some connections of the cell that is due, and moves on
// to the next if it is through. It returns what that has cost.
func (l *Loop) sampleCell(most int) (cost int) {
	s := &l.sampler
	cell := s.cells[s.cell]
	if s.at < 0 {
		s.at = len(cell)
	}
	// From the end: who leaves has the last one put in its place, which was had.
	for s.at > 0 {
		s.at = min(s.at, len(s.cells[s.cell]))
		if s.at == 0 {
			break
		}
		g := s.cells[s.cell][s.at-1]
		done, n := l.sampleGroup(g, most-cost)
		cost += n + groupCost
		if done {
			s.at--
		}
		if cost >= most {
			return cost
		}
	}
	s.cell, s.at = s.cell+1, -1
	s.schedule()
	return cost
}

// sampleGroup samples at most some connections of a client. done is set when all are, and the
// round is over.
func (l *Loop) sampleGroup(g *group, most int) (done bool, n int) {
	s := &l.sampler
	if g.slot == s.slot || l.now-g.since < s.period/4 && g.at < 0 { // it has just come, or moved here
		return true, 0
	}
	if g.at < 0 {
		g.at = len(g.taps)
	}
	n = l.sampleTaps(g, max(most, 1))
	if g.at > 0 {
		return false, n
	}
	g.slot, g.since, g.at = s.slot, l.now, -1
	l.finishGroup(g)
	return true, n
}

// sampleTaps samples connections of a client from where it stopped last.
func (l *Loop) sampleTaps(g *group, most int) (n int) {
	s := &l.sampler
	count := 0
	for ; n < most && g.at > 0; n++ {
		if g.at = min(g.at, len(g.taps)); g.at == 0 {
			break
		}
		g.at--
		t := g.taps[g.at]
		if d, ok := l.sampleTap(t.conn, t); ok {
			s.deltas[count] = d
			count++
			if t.part != nil {
				t.part.node.observe(s.deltas[count-1:count], s.slot, l.now)
				t.part.conns++
			}
		}
		if t.conn.unmeasured || t.conn.state != connSending && !t.busy {
			l.endTap(t.conn)
			continue
		}
		t.busy = false
		if len(g.taps) > maxSamples {
			l.setPace(t)
		}
	}
	g.node.observe(s.deltas[:count], s.slot, l.now)
	return n
}

// finishGroup ends the client's round on this loop and applies what was found.
func (l *Loop) finishGroup(g *group) {
	if len(g.taps) == 0 {
		if g.rests++; g.rests > groupRests {
			l.endGroup(g)
			return
		}
	} else {
		g.rests = 0
	}
	if g.node == nil && g.fixed.seq == 0 {
		l.enterGroup(g) // perhaps it has been switched on
		l.applyGroup(g)
		return
	}
	if g.node == nil {
		return
	}
	held := l.flows.tree.ClientHeld(g.id, l.now)
	r := g.node.finish(l.sampler.slot, max(held-g.held, 0), len(g.taps), l.now)
	g.held, g.pace = held, r.pace
	l.flows.tree.AdaptClient(g.id, r.rate, r.seq, l.now)
	l.paceGroup(g)
}

// paceGroup paces the client's connections anew at once: a pace of a round ago would
// be what holds up a target that has doubled, and pass for the line's limit. With more
// connections than that they follow as they are sampled.
func (l *Loop) paceGroup(g *group) {
	if len(g.taps) > maxSamples {
		return
	}
	for _, t := range g.taps {
		l.setPace(t)
	}
}

// endPeriod does what comes once in a period, and begins the next.
func (l *Loop) endPeriod() {
	s := &l.sampler
	for _, p := range s.parts {
		l.finishPart(p)
	}
	l.tickAway()
	if s.shared.mu.TryLock() { // another loop does it, or the next time
		s.shared.forget(l.now, adaptMemory)
		s.shared.mu.Unlock()
	}
	if len(s.groups)+len(s.parts)+len(s.away) == 0 {
		s.next = never
		return
	}
	last := s.slot + s.period
	s.begin(max(l.now, last))
}

func (l *Loop) finishPart(p *classPart) {
	if p.taps > 0 {
		p.rests = 0
	} else if p.rests++; p.rests > groupRests {
		delete(l.sampler.parts, p.class)
		l.leaveNode(p.node)
		return
	}
	held := l.flows.tree.ClassHeld(p.class, l.now)
	r := p.node.finish(l.sampler.slot, max(held-p.held, 0), p.conns, l.now)
	p.held, p.conns = held, 0
	l.applyPart(p, r)
}

// tickAway lets time go on for clients that are away and whose breaker is not quiet.
func (l *Loop) tickAway() {
	s := &l.sampler
	kept := s.away[:0]
	for _, n := range s.away {
		if n.tickAway(l.now) {
			kept = append(kept, n)
		}
	}
	clear(s.away[len(kept):])
	s.away = kept
}
