package measure

import (
	"time"

	"github.com/fserve/fserve/engine/adapt"
)

// What is due is asked for in each turn of the loop: a comparison, as a rule. A period
// is passed in sampleCells steps, in three quarters of its time; then come the
// path classes, so that what their connections brought is of the same period. A loop
// that is late goes on where it is, and begins the next period when it is through.

// beginPeriod starts a period.
func (s *Sampler) beginPeriod(now int64) {
	s.period = s.shared.period.Load()
	s.slot = now - now%s.period
	s.cell, s.at = 0, -1
	s.schedule()
}

// schedule sets the instant at which the next step is due.
func (s *Sampler) schedule() {
	if s.cell < sampleCells {
		s.next = s.slot + int64(s.cell)*s.period*3/4/sampleCells
		return
	}
	s.next = s.slot + s.period*15/16
}

// late is from when on a loop counts as late, in ns: by less nothing is sent later, since
// buckets have room for 20 ms and sockets for two grants.
const late = int64(10 * time.Millisecond)

// Run does what is due.
func (s *Sampler) Run(now int64) {
	last := s.ran
	s.ran = now
	if now < s.next {
		return
	}
	if d := now - max(s.next, last); d > late {
		s.delayed += d
	}
	for left := maxSamples; left > 0 && now >= s.next; {
		if s.cell == sampleCells {
			s.endPeriod(now)
			return
		}
		left -= s.sampleCell(left, now)
	}
}

// sampleCell samples at most some connections of the cell that is due, and moves on
// to the next if it is through. It returns what that has cost.
func (s *Sampler) sampleCell(most int, now int64) (cost int) {
	if s.at < 0 {
		s.at = len(s.cells[s.cell])
	}
	// From the end: a client that leaves has the last one put in its place, which was
	// had.
	for s.at = min(s.at, len(s.cells[s.cell])); s.at > 0; s.at = min(s.at, len(s.cells[s.cell])) {
		g := s.cells[s.cell][s.at-1]
		done, n := s.sampleGroup(g, most-cost, now)
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
func (s *Sampler) sampleGroup(g *group, most int, now int64) (done bool, n int) {
	if g.slot == s.slot || now-g.since < s.period/4 && g.at < 0 { // it has just come, or moved here
		return true, 0
	}
	if g.at < 0 {
		g.at = len(g.meters)
	}
	n = s.sampleMeters(g, max(most, 1), now)
	if g.at > 0 {
		return false, n
	}
	g.slot, g.since, g.at = s.slot, now, -1
	s.finishGroup(g, now)
	return true, n
}

// sampleMeters samples connections of a client from where it stopped last.
func (s *Sampler) sampleMeters(g *group, most int, now int64) (n int) {
	count := 0
	for ; n < most && g.at > 0; n++ {
		if g.at = min(g.at, len(g.meters)); g.at == 0 {
			break
		}
		g.at--
		m := g.meters[g.at]
		if d, ok := s.sample(m, now); ok {
			s.deltas[count] = d
			count++
			if m.part != nil {
				m.part.node.observe(s.deltas[count-1:count], s.slot, now)
				m.part.conns++
			}
		}
		switch {
		case m.tap.meter == unmeasurable:
			s.drop(m, false, now)
			continue
		case !m.busy && !m.line.Sending():
			s.End(m.tap, false, now)
			continue
		}
		m.busy = false
		if len(g.meters) > maxSamples {
			m.setPace()
		}
	}
	g.node.observe(s.deltas[:count], s.slot, now)
	return n
}

// finishGroup ends the client's round on this loop and applies what was found.
func (s *Sampler) finishGroup(g *group, now int64) {
	if len(g.meters) == 0 {
		if g.rests++; g.rests > groupRests {
			s.leave(g, now)
			return
		}
	} else {
		g.rests = 0
	}
	if g.node == nil && g.fixed.seq == 0 {
		s.enterNode(g, now) // perhaps it has been switched on
		s.applyGroup(g, now)
		return
	}
	if g.node == nil {
		return
	}
	held := s.tree.ClientHeld(g.id, now)
	r := g.node.finish(s.slot, adapt.Usage{Held: max(held-g.held, 0), Delayed: s.delayed - g.late}, len(g.meters), now)
	g.held, g.late, g.pace = held, s.delayed, r.pace
	s.tree.AdaptClient(g.id, r.rate, r.seq, now)
	g.setPace()
}

// setPace paces the client's connections anew at once: a pace of a round ago would
// be what holds up a target that has doubled, and pass for the line's limit. With more
// connections than that they follow as they are sampled.
func (g *group) setPace() {
	if len(g.meters) > maxSamples {
		return
	}
	for _, m := range g.meters {
		m.setPace()
	}
}

// endPeriod does what comes once in a period, and begins the next.
func (s *Sampler) endPeriod(now int64) {
	for _, p := range s.parts {
		s.finishPart(p, now)
	}
	s.tickAway(now)
	if s.shared.mu.TryLock() { // another loop does it, or the next time
		s.shared.forget(now, memory)
		s.shared.mu.Unlock()
	}
	if len(s.groups)+len(s.parts)+len(s.away) == 0 {
		s.next = Never
		return
	}
	s.beginPeriod(max(now, s.slot+s.period))
}

func (s *Sampler) finishPart(p *classPart, now int64) {
	if p.meters > 0 {
		p.rests = 0
	} else if p.rests++; p.rests > groupRests {
		delete(s.parts, p.class)
		s.leaveNode(p.node, now)
		return
	}
	held := s.tree.ClassHeld(p.class, now)
	r := p.node.finish(s.slot, adapt.Usage{Held: max(held-p.held, 0), Delayed: s.delayed - p.late}, p.conns, now)
	p.held, p.late, p.conns = held, s.delayed, 0
	s.applyPart(p, r, now)
}

// tickAway lets time go on for clients that are away and whose breaker is not quiet.
func (s *Sampler) tickAway(now int64) {
	kept := s.away[:0]
	for _, n := range s.away {
		if n.tickAway(now) {
			kept = append(kept, n)
		}
	}
	clear(s.away[len(kept):])
	s.away = kept
}
