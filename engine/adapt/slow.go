package adapt

// slowLoop moves the target a little at a time.
type slowLoop struct {
	sec     tally // since the last look at raising
	half    tally // since the last look at lowering
	missed  bool  // rounds since the last look at raising that were delayed
	raiseAt int64 // the earliest instants, by the controller's clock, to raise,
	lowerAt int64 // to lower,
	stepAt  int64 // and to take a step of probing: a round-trip after the last

	step    float64 // of the next raise
	edge    float64 // where the line was last found to end, bytes/s; 0: not found
	pending bool    // a raise has not been judged yet
	full    bool    // that raise was as large as raises are
	drain   bool    // a step down that is to empty a queue has not been judged yet
	good    float64 // the target before either, bytes/s
	queue   float64 // the queueing delay before either, ns
	loss    float64 // the loss before either, as a part of the segments
	wins    int     // full raises in a row that were carried
	fails   int     // raises in a row that were not

	before     float64 // the target before the last step of probing, bytes/s
	probeQueue float64 // the queueing delay before probing, ns
	foreign    float64 // the queueing delay that others are known to make, ns
	foreignAt  int64   // when that was found out; 0: it was not
}

// growing is a number of full raises in a row. When so many were carried the line must have
// grown, and probing begins again.
const growing = 2

// beyond is a multiple of the edge. A target above it that is carried shows that the line
// has grown; below it a line may seem to carry what it queues.
const beyond = 1.03

// least is the smallest step of a raise, as a part of the largest.
const least = 0.25

// settled begins the slow loop's pauses anew after something else has set the target.
func (s *slowLoop) settled(c *Controller) {
	cfg := &c.p.cfg.Slow
	s.sec, s.half = tally{}, tally{}
	s.raiseAt = c.clock + max(int64(cfg.RaiseEvery), c.srtt)
	s.lowerAt = c.clock + max(int64(cfg.LowerEvery), c.srtt)
	s.stepAt = c.clock + c.srtt
	s.pending, s.drain, s.wins, s.good = false, false, 0, 0
	s.probeQueue, s.before = c.queue, c.target
}

// turn takes a round in which the fast loop did not change the target.
func (s *slowLoop) turn(c *Controller, r *round) {
	s.sec.add(&r.tally)
	s.half.add(&r.tally)
	if c.phase != Steady {
		s.probe(c, r)
		return
	}
	if s.pending && s.failedAtOnce(c, r) {
		s.takeBack(c)
		return
	}
	if c.clock >= s.lowerAt {
		s.lower(c)
	}
	if c.clock >= s.raiseAt {
		s.raise(c)
	}
}

// probe takes a step up each round-trip, until the line ends: it doubles the target, or
// adds linearStep.
func (s *slowLoop) probe(c *Controller, r *round) {
	cfg := &c.p.cfg.Slow
	if !c.brk.probes() {
		c.settle(c.target)
		return
	}
	rounds := int64(3)
	if r.queue <= c.queueStep() {
		rounds = 10 // without a queue the connection may be slow to grow
	}
	// What arrives follows a step a round-trip later.
	felt := r.start >= s.stepAt
	if !felt {
		r.allowed = float32(s.before * float64(r.span) / 1e9)
	}
	queued := r.queue > s.probeQueue+3*c.queueStep() && r.tally.fellShort(shortfall)
	if c.fast.cutUnfelt(c, r) {
		c.line.on = false
		return
	}
	if c.lineLimitsFor(rounds) || queued {
		carried := c.carried(r)
		c.settle(max(carried*(1-cfg.Headroom), s.good))
		s.found(c, carried)
		return
	}
	if !r.onTarget || c.clock < s.stepAt || c.phase == Doubling && !felt {
		return
	}
	s.stepAt, s.before = c.clock+c.srtt, c.target
	if c.phase == Doubling {
		s.double(c)
		return
	}
	next := c.target + s.linearStep(c)
	if c.goal > 0 && next >= c.goal {
		c.settle(max(c.goal, c.target))
		return
	}
	c.move(next)
	if c.target >= c.limit() {
		c.settle(c.target)
	}
}

// linearStep is the step of linear probing: a part of the rate at which probing began.
// Towards a goal, which was measured, the step is four times that. Where no edge is known
// it is TCP's own step, one segment more in a round-trip, up to four times that: probing
// that was cut early, by the losses of others, gets on again.
func (s *slowLoop) linearStep(c *Controller) float64 {
	step := c.knee * c.p.cfg.Slow.Linear
	if c.goal > 0 {
		return 4 * step
	}
	if s.edge > 0 || c.srtt == 0 {
		return step
	}
	if c.target >= 2*c.knee {
		c.knee = c.target
	}
	return min(max(step, segment/(float64(c.srtt)/1e9)), 4*step)
}

// double takes a step of doubling. The soft threshold is a part of what the line was
// measured to carry. While that is not known there is no threshold, as in TCP.
func (s *slowLoop) double(c *Controller) {
	cfg := &c.p.cfg.Slow
	if c.est.n > 0 {
		c.soft = c.est.rate * cfg.SoftThreshold
	}
	if next := c.target * 2; c.soft == 0 || next < c.soft {
		c.move(next)
	} else {
		c.move(max(c.soft, c.target*(1+cfg.Linear)))
		c.phase, c.knee, c.goal = Linear, c.target, 0
	}
	if c.target >= c.limit() {
		c.settle(c.target)
	}
}

// lower judges the time since its last turn, and lowers the target if it lies above what the
// line carries.
func (s *slowLoop) lower(c *Controller) {
	cfg := &c.p.cfg.Slow
	half := s.half
	s.half = tally{}
	s.lowerAt = c.clock + max(int64(cfg.LowerEvery), c.srtt)
	if !half.covers(int64(cfg.LowerEvery)) || c.est.rate == 0 {
		return // there was no traffic
	}
	switch held := half.heldPart() >= cfg.Often; {
	case held && c.est.measured() && c.target > cfg.OverEstimate*c.est.rate:
		c.verdict = Lowered
		c.counters.Lowers++
		s.stepDown(c, c.target*(1-cfg.Lower))
	case !held && c.lineLimits():
		s.follow(c, half.meanQueue() > c.queueStep(), half.lossPart() > lossLimits)
	case !held && half.readerPart() > 0.5:
		c.verdict = ReaderLimits
	}
}

// lossLimits is a part of the segments. More loss than that, without a queue, explains why a
// connection is slow: Reno and Cubic take chance for congestion.
const lossLimits = 0.001

// follow brings the target down to what the line carries. While a queue stands the target is
// a little below, so that the queue empties; else a little above. It is clearly above if
// loss keeps the connection below the line: such a rate varies by a third and
// would be clipped again and again.
func (s *slowLoop) follow(c *Controller, queued, lossy bool) {
	cfg := &c.p.cfg.Slow
	carried := max(c.est.rate, c.used)
	to, from := carried*(1+cfg.Headroom), carried*(1+cfg.Raise)
	switch {
	case queued:
		to, from = carried*(1-cfg.Headroom), carried
	case lossy:
		to, from = carried*cfg.OverEstimate, carried*cfg.OverEstimate*(1+cfg.Raise)
	}
	if c.target <= from {
		return // the dead band
	}
	if queued {
		s.found(c, carried)
	}
	c.verdict = Followed
	c.counters.Follows++
	s.stepDown(c, to)
}

// stepDown moves the target down and holds off raises.
func (s *slowLoop) stepDown(c *Controller, to float64) {
	c.move(to)
	s.pending, s.drain, s.wins = false, false, 0
	s.sec = tally{}
	s.raiseAt = max(s.raiseAt, c.clock+s.holdOff(c))
}

// holdOff is the pause before the next raise, in ns: at least a round-trip, so that the last
// step is felt, and the longer the more raises have failed in a row.
func (s *slowLoop) holdOff(c *Controller) int64 {
	cfg := &c.p.cfg.Slow
	pause := int64(cfg.RaiseEvery) << min(s.fails, 10)
	return max(min(pause, int64(cfg.MaxHoldOff)), c.srtt)
}

// raise judges the last raise and decides about the next.
func (s *slowLoop) raise(c *Controller) {
	cfg := &c.p.cfg.Slow
	sec := s.sec
	if s.missed && !sec.covers(int64(cfg.RaiseEvery)) {
		return // it takes longer to see as much
	}
	s.sec, s.missed = tally{}, false
	s.raiseAt = c.clock + max(int64(cfg.RaiseEvery), c.srtt)
	if !sec.covers(int64(cfg.RaiseEvery)) {
		s.pending = false // without traffic nothing tells of the raise
		return
	}
	c.fast.fadeBackground(c, &sec)
	if s.pending {
		if s.failed(c, &sec) {
			if sec.fellShort(slowShortfall) { // the line was full for a second
				c.est.n = 0
				c.est.measure(sec.rate(), minWindow)
			}
			s.takeBack(c)
			return
		}
		s.won(c)
		if c.phase != Steady {
			return
		}
	}
	if s.drain && !s.drained(c, &sec) {
		return
	}
	c.verdict = s.mayRaise(c, &sec)
	if c.verdict != Raised {
		return
	}
	s.good, s.queue, s.loss = c.target, sec.meanQueue(), sec.lossPart()
	if s.shouldDrain(c, s.queue) {
		s.drain = true
		c.verdict = Lowered
		c.counters.Lowers++
		c.move(c.target * (1 - cfg.Lower))
		return
	}
	s.pending, s.full = true, s.nextStep(c) == cfg.Raise
	c.counters.Raises++
	c.move(s.raised(c, &sec))
}

// raised is the next target after a raise. It keeps near what was seen to arrive: a queue or a
// buffer may hide for a while that a raise was not carried.
func (s *slowLoop) raised(c *Controller, sec *tally) float64 {
	full := c.p.cfg.Slow.Raise
	step := s.nextStep(c)
	next := max(c.target*(1+step), c.target+s.additive(c))
	return min(next, max(c.est.rate, sec.rate())*(1+full)+s.additive(c))
}

// nextStep is the next raise, as a part of the target.
func (s *slowLoop) nextStep(c *Controller) float64 {
	if full := c.p.cfg.Slow.Raise; c.target*(1+full) < s.edge {
		return full // the edge is still far
	}
	return s.step
}

// additive is the least step up, in bytes per second: half a segment more in a round-trip.
// If steps were parts of the target alone, a client with little would never catch up with
// one that has much (Chiu and Jain, 1989).
func (s *slowLoop) additive(c *Controller) float64 { return segment / 2 / c.turnaround() }

// turnaround is the smoothed round-trip time in seconds, at least 10 ms.
func (c *Controller) turnaround() float64 { return float64(max(c.srtt, 10_000_000)) / 1e9 }

// mayRaise returns Raised if the target may rise, else why it may not.
func (s *slowLoop) mayRaise(c *Controller, sec *tally) Verdict {
	cfg := &c.p.cfg.Slow
	ten := c.slots.sum()
	switch {
	case !c.brk.probes():
		return Paused
	case c.target >= c.limit():
		return Hold
	case ten.use() < cfg.UnderUse && ten.heldPart() < cfg.Often,
		sec.use() < cfg.UnderUse || sec.heldPart() < cfg.Often:
		if sec.readerPart() > 0.5 {
			return ReaderLimits
		}
		return Hold
	case s.lossy(c, sec, c.background), s.raised(c, sec) <= c.target:
		return Hold
	}
	return Raised
}

// standing is a number of queue steps. A longer queue, at a target that is reached, stands,
// and the loop tries to empty it.
const standing = 3

// foreignFor is for how long the loop leaves a queue alone that others make, in ns.
const foreignFor = 10_000_000_000

// shouldDrain reports whether a queue stands that the client may have made: a target a hair
// above the line's rate fills any queue in time.
func (s *slowLoop) shouldDrain(c *Controller, queue float64) bool {
	step := c.queueStep()
	others := s.foreignAt > 0 && c.clock-s.foreignAt < foreignFor && queue <= s.foreign+step
	return queue > standing*step && !others
}

// drained judges a step down. If the queue did not get shorter, others make it, and drained
// takes the step back: yielding to them would have no end. It reports whether the target
// may be raised now.
func (s *slowLoop) drained(c *Controller, sec *tally) bool {
	s.drain = false
	if sec.meanQueue() < s.queue-c.queueStep() {
		return sec.meanQueue() <= standing*c.queueStep()
	}
	s.foreign, s.foreignAt = s.queue, c.clock
	c.verdict = TookBack
	c.move(s.good)
	return false
}

// lossy reports whether a second lost clearly more than the part above of its segments and
// half of what the fast loop tolerates.
func (s *slowLoop) lossy(c *Controller, sec *tally, above float64) bool {
	sum := lossSum{float64(sec.segments), float64(sec.lost)}
	return sum.exceeds(max(above, 0) + c.p.cfg.Fast.Loss/2)
}

// A queue that the client makes keeps what it has sent too much: less arrives than the target
// lets in. If all arrives while a queue grows, others make it. shortfall is for a round, in
// which one grant more or less counts, slowShortfall for a second.
const (
	shortfall     = 0.97
	slowShortfall = 0.99
	grain         = 16 << 10 // bytes of a small grant
)

// fellShort reports whether less arrived than a part of what the target let in,
// by more than a grant.
func (t *tally) fellShort(part float32) bool {
	return t.acked+grain < t.allowed*part
}

// failed reports whether the line did not carry a raise: a part of it stayed in a queue, was
// lost, or did not pass.
func (s *slowLoop) failed(c *Controller, sec *tally) bool {
	return sec.meanQueue() > s.queue+c.queueStep() && sec.fellShort(slowShortfall) || s.lossy(c, sec, s.loss) ||
		sec.heldPart() < c.p.cfg.Slow.Often && sec.linePart() > 0.5
}

// failedAtOnce is failed for a queue that grows too fast to wait for the end of the second.
func (s *slowLoop) failedAtOnce(c *Controller, r *round) bool {
	return r.queue > s.queue+3*c.queueStep() && r.tally.fellShort(shortfall)
}

// takeBack returns to the target before the last raise. The next raise is smaller and later.
func (s *slowLoop) takeBack(c *Controller) {
	c.verdict = TookBack
	c.counters.TakenBack++
	s.found(c, min(c.target, max(c.est.rate, c.used)))
	s.stepDown(c, s.good)
}

// found notes where the line ends. Raises near that edge are small.
func (s *slowLoop) found(c *Controller, edge float64) {
	s.edge = edge
	s.step = c.p.cfg.Slow.Raise * least
	if s.pending {
		s.fails++
	}
}

// won notes a raise that was carried.
func (s *slowLoop) won(c *Controller) {
	cfg := &c.p.cfg.Slow
	s.pending, s.fails = false, 0
	if s.full {
		s.wins++
	}
	if c.target > s.edge*beyond {
		s.edge, s.step = 0, cfg.Raise
	}
	if s.wins < growing {
		return
	}
	s.good = c.target
	c.phase, c.knee, c.goal = Linear, c.target, 0
	s.stepAt, s.probeQueue, s.before = c.clock, c.queue, c.target
}
