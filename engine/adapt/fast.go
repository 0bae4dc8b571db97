package adapt

import "math"

// fastLoop answers congestion within a round-trip.
type fastLoop struct {
	cutAt   int64 // when the last cut was, by the controller's clock
	hasCut  bool
	cutFrom float64 // the target before the last cut, bytes/s
	marked  int     // rounds in a row with ECN marks
	recent  lossSum // about the last second
	after   lossSum // since the last cut, while well below its rate
	undo    undo
}

// lossSum counts segments sent and lost.
type lossSum struct{ segments, lost float64 }

func (s *lossSum) add(r *round) {
	s.segments += r.segments
	s.lost += r.lost
}

// undo is what it takes to take a cut back. That happens if the retransmissions which the cut
// answered turn out to have been in vain, as after reordering.
type undo struct {
	rate  float64 // the target before the cut, bytes/s
	bytes int64   // retransmissions that are not known to have been in vain
	until int64   // when the cut is final; 0: there is nothing to undo
}

// undoWithin is for how long a cut may be undone, in ns: the report of a needless
// retransmission comes a round-trip later.
const undoWithin = 2_000_000_000

// judgedBy is the least number of segments that tells of background loss.
const judgedBy = 50

// turn takes a round and reports whether it has changed the target.
func (f *fastLoop) turn(c *Controller, r *round) bool {
	cfg := &c.p.cfg.Fast
	if f.takeBackCut(c, r) {
		return true
	}
	if f.marked++; !r.marked {
		f.marked = 0
	}
	if f.cutUnfelt(c, r) {
		return false
	}
	f.recent.fade(r)
	f.learnBackground(c, r)
	switch {
	case f.marked >= cfg.ECNInRow:
		f.cut(c, CauseECN, cfg.ECNCut, r)
	case f.congested(c, r):
		f.cut(c, CauseLoss, cfg.LossCut, r)
	default:
		return false
	}
	return true
}

// cutUnfelt reports whether a round still shows what the rate before the last cut did. TCP
// finds losses a round-trip later, and repairs them in another.
func (f *fastLoop) cutUnfelt(c *Controller, r *round) bool {
	return f.hasCut && (r.start < f.cutAt+2*c.srtt || f.repairs(c, r))
}

// repairs reports whether more arrives than the target lets in: retransmissions, which take
// no tokens, and what was in queues at the time of the cut.
func (f *fastLoop) repairs(c *Controller, r *round) bool {
	return r.rate > c.target*1.15 && c.clock-f.cutAt < undoWithin
}

// fade adds a round and forgets what is older than about a second.
func (s *lossSum) fade(r *round) {
	keep := math.Exp(-float64(r.span) / 1e9)
	s.segments *= keep
	s.lost *= keep
	s.add(r)
}

// congested reports whether more was lost, in this round or in the last second, than the
// line's own loss and chance explain.
func (f *fastLoop) congested(c *Controller, r *round) bool {
	one := lossSum{r.segments, r.lost}
	allowed := c.background + c.p.cfg.Fast.Loss
	return r.lost > 0 && (one.exceeds(allowed) || f.recent.exceeds(allowed))
}

// exceeds reports whether the loss is above a rate by more than three standard
// deviations (of a Poisson distribution), and more than one segment: without
// that, a line that loses 1 % at random would be cut several times a second.
func (s *lossSum) exceeds(rate float64) bool {
	expected := rate * s.segments
	return s.lost >= 2 && s.lost > expected+3*math.Sqrt(expected)
}

// learnBackground finds the line's own loss: what is still lost after a cut, when the queue
// is gone. No cut helps against that, so the loop no longer answers it.
func (f *fastLoop) learnBackground(c *Controller, r *round) {
	if !f.hasCut || c.phase != Linear || c.target > 0.8*c.knee || r.queue > c.queueStep() {
		return
	}
	f.after.add(r)
	if f.after.segments >= judgedBy {
		c.background = min(f.after.lost/f.after.segments, c.p.cfg.Fast.MaxBackground)
	}
}

// fadeBackground lets background loss fall, once a second, to what a second shows.
func (f *fastLoop) fadeBackground(c *Controller, sec *tally) {
	if loss := max(sec.lossPart(), 0); sec.segments >= judgedBy && loss < c.background {
		c.background += (loss - c.background) / 8
	}
}

// cut lowers the target to a part of what really flowed. Half of a target that nothing
// reached could be more than that.
func (f *fastLoop) cut(c *Controller, cause Cause, factor float64, r *round) {
	knee := c.carried(r)
	// blind: all that the target let in arrived. The line may end far above, and the loss may
	// be an overflow that others made; but twice at one rate is no accident.
	blind := c.phase != Steady && c.goal == 0 && !r.tally.fellShort(shortfall) &&
		(f.cutFrom == 0 || c.target > 2*f.cutFrom)
	f.cutFrom = c.target
	if r.full { // earlier measurements are of another line
		c.est.n = 0
		c.est.measure(knee, minWindow)
		c.used = min(c.used, knee)
	}
	f.undo = undo{}
	if cause == CauseLoss {
		f.undo = undo{rate: c.target, bytes: r.retrans - r.spurious, until: c.clock + undoWithin}
	}
	// The least rate is two segments in a round-trip: with fewer, TCP finds loss by time-out
	// only. Round-trips below 10 ms count as 10 ms, since a grant is more than two segments
	// then: in those of a data centre, 50 us, two segments are 58 MB/s, and no target
	// below that would ever be cut.
	least := 0.0
	if c.srtt > 0 {
		least = 2 * segment / c.turnaround()
	}
	c.move(min(c.target, max(knee*factor, least)))
	c.soft, c.knee, c.goal = c.target, knee, 0
	if !blind {
		c.goal = knee * (1 - c.p.cfg.Slow.Headroom)
		if c.slow.pending { // the raise was too much
			c.goal = min(c.goal, c.slow.good)
		}
		if r.onLine || r.queue > c.queueStep() {
			c.slow.found(c, knee) // without a queue the loss may have been an accident
		}
	}
	c.phase = Linear
	c.slow.settled(c)
	c.line.on = false
	f.cutAt, f.hasCut, f.marked = c.clock, true, 0
	f.recent, f.after = lossSum{}, lossSum{}
	c.counters.Cuts[cause]++
}

// carried is the rate that the line is known to have carried, at most the target.
func (c *Controller) carried(r *round) float64 {
	rate := max(c.est.rate, c.used, r.rate)
	if r.full || rate == 0 {
		rate = r.newest()
	}
	if rate == 0 {
		return c.target
	}
	return min(c.target, rate)
}

// takeBackCut undoes a cut if all retransmissions that it answered were in vain. It reports
// whether it has.
func (f *fastLoop) takeBackCut(c *Controller, r *round) bool {
	u := &f.undo
	if u.until == 0 {
		return false
	}
	if u.bytes -= r.spurious; u.bytes > 0 {
		if c.clock >= u.until {
			*u = undo{}
		}
		return false
	}
	c.settle(max(c.target, u.rate))
	*u = undo{}
	c.counters.Undone++
	return true
}
