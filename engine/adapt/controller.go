package adapt

import "math"

// Controller finds the rate of one client, or of one path class. It owns no
// memory but itself, about a KiB. One goroutine at a time.
type Controller struct {
	p              *Policy
	floor, ceiling float64 // bytes/s

	last    int64 // the instant of the last Tick
	started bool
	clock   int64 // ns in which there were ticks: it stands still in a gap

	target float64 // bytes/s
	soft   float64 // the soft threshold, bytes/s; 0: not known
	knee   float64 // the rate at which linear probing began, bytes/s: its step is a part of it
	goal   float64 // where linear probing ends, bytes/s; 0: where the line ends
	phase  Phase

	gather     gather
	roundStart int64
	held       int64 // ns that connections have waited for tokens in the round so far
	delayed    int64 // ns by which the caller was late in it

	est    estimator
	used   float64 // acknowledged, averaged over about half a second, bytes/s
	srtt   int64   // ns
	minRTT int64   // ns
	queue  float64 // queueing delay, averaged over about half a second, ns
	slots  slots

	line lineWatch
	slow slowLoop
	fast fastLoop
	brk  breaker

	background float64 // part of the segments
	verdict    Verdict
	counters   Counters
}

// lineWatch tells a line that is the limit from a connection that still gets faster on its
// own.
type lineWatch struct {
	since int64 // the line has been the limit since then
	peak  float64
	on    bool
}

// New returns a controller at the start rate.
func New(p *Policy) *Controller {
	c := new(Controller)
	c.Init(p)
	return c
}

// Init makes c what New returns. It is for controllers that are a part of something else.
func (c *Controller) Init(p *Policy) {
	cfg := &p.cfg
	*c = Controller{p: p, floor: float64(cfg.Min), ceiling: float64(cfg.Max), target: float64(cfg.Start)}
	c.slow.step = cfg.Slow.Raise
}

// Target returns the rate that the client's bucket should have, in bytes per second.
func (c *Controller) Target() int64 { return int64(math.Round(c.target)) }

// maxPaced is the greatest target that is paced, in bytes per second. At 8 Gbit/s the
// largest grant, 4 MiB, takes 4 ms anyhow.
const maxPaced = 1 << 30

// PacingRate returns the SO_MAX_PACING_RATE for each of the client's n busy connections, in
// bytes per second; 0: they should not be paced. Pacing keeps a grant from leaving as one
// burst, which a short queue at the bottleneck could not hold. It does not limit by
// itself: the connections may send a quarter more than the target, or half as much again
// if they are several, so that one goes on while another waits.
func (c *Controller) PacingRate(n int) int64 {
	if c.target > maxPaced {
		return 0
	}
	return int64(min(c.target*1.25, c.target*1.5/float64(max(n, 1))))
}

// SetTarget moves the target from outside, within the bounds. The slow loop goes on from
// there.
func (c *Controller) SetTarget(rate int64) { c.settle(float64(rate)) }

// SetBounds changes floor and ceiling, in bytes per second, and the target if it lies
// outside. If the bounds are wrong it returns an error that says why, and changes nothing.
func (c *Controller) SetBounds(low, high int64) error {
	var f faults
	f.bounds(low, high)
	if len(f) > 0 {
		return f[0]
	}
	c.floor, c.ceiling = float64(low), float64(high)
	c.move(c.target)
	return nil
}

// SetPolicy replaces the policy and keeps what was learned. Without bounds it also keeps
// floor and ceiling.
func (c *Controller) SetPolicy(p *Policy, bounds bool) {
	c.p = p
	if bounds {
		c.floor, c.ceiling = float64(p.cfg.Min), float64(p.cfg.Max)
		c.move(c.target)
	}
}

// Quiet reports whether the controller may be forgotten: the breaker is closed and has not
// tripped lately, so only what was learned of the line would be lost. To forget a
// controller that is not quiet would let its client out of the breaker.
func (c *Controller) Quiet() bool { return c.brk.stage == Closed && c.brk.trips == 0 }

// Observe takes what happened on one of the client's connections. A connection should be
// observed at most once between two ticks. A delta of more than the bucket can have let in
// is counted as rejected and dropped.
func (c *Controller) Observe(d Delta) {
	if d.Elapsed <= 0 || d.Acked < 0 {
		return
	}
	most := c.ceiling*4*float64(d.Elapsed)/1e9 + buffered
	if float64(max(d.Acked, d.Arrived, d.Sent, d.Retrans, d.Spurious)) > most {
		c.counters.Rejected++
		return
	}
	c.gather.add(&d)
}

// buffered is what buffers may hold from the time before a limit, in bytes.
const buffered = 16 << 20

// Usage is what the client's bucket did since the last Tick.
type Usage struct {
	// Held is for how many ns a connection of the client was waiting for tokens of
	// this very limit. Waiting for others, or for room in a socket, does not count.
	Held int64

	// Delayed is by how many ns the caller was late with what it had to send: since it
	// got no processor, or was busy with others. A caller that is late by less than its
	// buckets and sockets bear was not.
	Delayed int64
}

// delayedPart is the part of a round by which the caller may be late: what arrives in a
// round with more is no news of the line.
const delayedPart = 0.2

// tornAfter is a number of rounds' lengths. A longer time between two ticks tears the round:
// the client was idle, the machine slept or the clock jumped. What was gathered is
// dropped.
const tornAfter = 5

// Tick ends the round if it has lasted long enough, and moves the target. now is monotonic,
// in ns. Ticks should come about every Config.SampleEvery while the client is busy, and
// until it is Quiet: in a gap of more than five times that, no time passes for the breaker.
//
// It returns an event of Kind None, or what has happened.
func (c *Controller) Tick(u Usage, now int64) Event {
	if !c.advance(u, now) {
		return Event{}
	}
	elapsed := c.clock - c.roundStart
	if elapsed < int64(c.p.cfg.SampleEvery) {
		return Event{}
	}
	if c.gather.conns == 0 {
		return c.idle(now)
	}
	r := c.gather.end(c.roundStart, elapsed, c.held, c.target, c.p.cfg.Slow.Often)
	delayed := float64(c.delayed) > delayedPart*float64(elapsed)
	c.startRound()
	if delayed {
		c.counters.Delayed++
		c.line.on, c.slow.missed = false, true
	} else {
		c.learn(&r)
	}
	event := c.event(c.brk.turn(&c.p.cfg.Breaker, &r.tally, c.target, c.floor, c.clock), now)
	if !c.fast.turn(c, &r) && !delayed {
		c.slow.turn(c, &r)
	}
	return event
}

// idle lets the breaker's time pass in rounds without samples.
func (c *Controller) idle(now int64) Event {
	c.startRound()
	return c.event(c.brk.turn(&c.p.cfg.Breaker, &tally{}, c.target, c.floor, c.clock), now)
}

// advance moves the controller's clock. ok is false if the time between the ticks tells
// nothing.
func (c *Controller) advance(u Usage, now int64) (ok bool) {
	gap, torn := now-c.last, tornAfter*int64(c.p.cfg.SampleEvery)
	if !c.started || gap > torn || gap < -torn {
		if c.started && c.gather.conns > 0 {
			c.counters.Discarded++
		}
		c.last, c.started = now, true
		c.startRound()
		c.line.on, c.slow.pending, c.slow.drain = false, false, false
		return false
	}
	if gap <= 0 {
		return false // a clock that goes back a little stands still
	}
	c.last = now
	c.clock += gap
	c.held += max(u.Held, 0)
	c.delayed += max(u.Delayed, 0)
	return true
}

func (c *Controller) startRound() {
	c.gather, c.roundStart, c.held, c.delayed = gather{}, c.clock, 0, 0
}

// event completes what the breaker reports and carries it out.
func (c *Controller) event(kind Kind, now int64) Event {
	if kind == None {
		return Event{}
	}
	if kind == Tripped || kind == Froze {
		c.counters.Cuts[CauseBreaker]++
		c.counters.Tripped++
		if kind == Froze {
			c.counters.Frozen++
		}
		c.settle(c.target)
	}
	return Event{Kind: kind, At: now, Target: c.Target(), Loss: c.brk.lastLoss, Trips: c.brk.trips}
}

// limit is the most that the target may be now.
func (c *Controller) limit() float64 { return c.brk.limit(c.ceiling, c.floor) }

// move sets the target within its bounds.
func (c *Controller) move(rate float64) {
	c.target = max(min(rate, c.limit()), c.floor)
}

// settle ends probing at a rate, from which the slow loop goes on.
func (c *Controller) settle(rate float64) {
	c.move(rate)
	c.phase = Steady
	c.slow.settled(c)
}

// learn updates what is known of the line.
func (c *Controller) learn(r *round) {
	weight := min(float64(r.span)/500e6, 1) // half a second
	c.used += weight * (r.rate - c.used)
	c.queue += weight * (r.queue - c.queue)
	c.slots.add(&r.tally)
	usable := r.clean && r.rate > 0 && (c.srtt == 0 || r.rtt < 2*c.srtt)
	if r.rtt > 0 {
		if c.srtt == 0 {
			c.srtt = r.rtt
		}
		c.srtt += (r.rtt - c.srtt) / 2 // the kernel has smoothed it
		c.minRTT = max(r.rtt-int64(r.queue), 0)
	}
	c.line.watch(r)
	r.full = r.onLine || r.onTarget && c.overrun(r)
	if !usable {
		c.counters.Rejected++
		return
	}
	if r.full {
		c.est.measure(r.measured(), window(c.srtt))
		c.counters.Measured++
		return
	}
	// A line may pass the bursts of a bucket's grants faster than it can carry them on, for
	// example by a token bucket of its own. So their rate counts only as far as the bytes
	// that were acknowledged over a second bear it out.
	c.est.bound(min(r.delivery, c.used, c.slots.last().rate()))
	c.counters.Bounds++
}

// overrun reports whether the line was busy though the target set the pace: a queue stands,
// or drains (more arrives than the target lets in), or overflows.
func (c *Controller) overrun(r *round) bool {
	step := c.queueStep()
	return r.queue > standing*step || r.queue > step && c.fast.repairs(c, r) || c.fast.congested(c, r)
}

// watch notes since when the line has been the limit at a rate that no longer grows. TCP's
// slow start looks like a slow line, but doubles.
func (w *lineWatch) watch(r *round) {
	switch {
	case !r.onLine:
		w.on = false
	case !w.on || r.rate > w.peak*1.1:
		w.on, w.since, w.peak = true, r.start, r.rate
	}
}

// lineLimits reports whether the line is surely the limit: it has been for three rounds and
// three round-trips.
func (c *Controller) lineLimits() bool { return c.lineLimitsFor(3) }

func (c *Controller) lineLimitsFor(rounds int64) bool {
	return c.line.on && c.clock-c.line.since >= rounds*max(int64(c.p.cfg.SampleEvery), c.srtt)
}

// queueStep is the queueing delay that counts as one, in ns.
func (c *Controller) queueStep() float64 {
	return float64(max(int64(c.p.cfg.Slow.QueueDelay), c.minRTT/8))
}
