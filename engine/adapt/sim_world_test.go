package adapt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// simBucket is a client's token bucket, shared by its connections, with grants
// of 20 ms as engine/shape makes them.
type simBucket struct {
	rate   float64 // bytes/s
	tokens float64
	held   bool // somebody waited in this step
	flows  float64
}

func (b *simBucket) turn(runs bool) {
	if runs {
		b.held = false // until somebody asks; what waits while nobody runs goes on waiting
	}
	b.tokens = min(b.tokens+b.rate*simStep, b.burst())
}

func (b *simBucket) burst() float64 { return max(b.rate*0.020, 16<<10) }
func (b *simBucket) grant() float64 { return min(max(b.rate*0.020/b.flows, 16<<10), 1<<20, b.burst()) }

func (b *simBucket) take(want float64) float64 {
	if b.tokens < min(want, b.grant())*0.999 {
		b.held = true
		return 0
	}
	n := min(want, b.tokens)
	b.tokens -= n
	return n
}

// simClient is a client with its connections and, unless unlimited, its controller.
type simClient struct {
	ctl     *Controller
	bucket  *simBucket
	conns   []*simSender
	meters  []Meter
	held    float64 // s since the last tick
	delayed float64 // likewise
	events  []Event
	trace   []simPoint
	lastAck float64
	lastRep float64
}

// simPoint is what a client did in 100 ms.
type simPoint struct {
	at, capacity           float64 // s, bytes/s
	target, estimate, rate float64 // bytes/s
	queue                  float64 // s
	repeated, acked        float64 // bytes
	phase                  Phase
	verdict                Verdict
}

// simWorld is a line and those who send over it.
type simWorld struct {
	line     simLine
	clients  []*simClient
	now      float64
	step     int
	capacity float64
	paced    bool                // SO_MAX_PACING_RATE is set
	ticked   int                 // step of the last tick
	asleep   int                 // steps for which the origin does not run yet
	starved  func() (asleep int) // asked when it runs: for how many steps it will not; nil: never
	offset   int64               // added to the clock that controllers see, ns
}

func newWorld(seed uint64, line simLine) *simWorld {
	line.rng = rand.New(rand.NewPCG(seed, 7))
	return &simWorld{line: line, paced: true}
}

// client adds a client with n connections. p nil: unlimited.
func (w *simWorld) client(p *Policy, n int, cc func() congestion) *simClient {
	c := &simClient{meters: make([]Meter, n)}
	if p != nil {
		c.ctl, c.bucket = New(p), &simBucket{rate: float64(p.cfg.Start), flows: float64(n)}
	}
	for range n {
		s := &simSender{world: w, cc: cc(), bkt: c.bucket, srtt: w.line.delay, minRTT: math.Inf(1), lossAt: -1}
		// Counters of 32 bits wrap during the test.
		s.base = uint64(w.line.rng.Uint32())
		c.conns = append(c.conns, s)
	}
	w.clients = append(w.clients, c)
	return c
}

// run goes on for so many seconds.
func (w *simWorld) run(seconds float64) {
	for range int(seconds / simStep) {
		w.turn()
	}
}

func (w *simWorld) turn() {
	w.capacity = max(w.line.capacity(w.now), 1)
	w.line.turn()
	runs := w.runs()
	for _, c := range w.clients {
		if c.bucket != nil {
			c.bucket.turn(runs)
		}
		first := w.step % len(c.conns) // nobody is always the first to be granted
		for i := range c.conns {
			s := c.conns[(first+i)%len(c.conns)]
			s.receive(w.step)
			if runs {
				s.write()
			}
		}
		if c.bucket != nil && c.bucket.held {
			c.held += simStep
		}
	}
	w.transmit()
	w.step++
	w.now += simStep
	if runs && w.step/100 > w.ticked/100 {
		w.ticked = w.step
		for _, c := range w.clients {
			c.tick(w)
		}
	}
}

// runs reports whether the origin has a processor in this step.
func (w *simWorld) runs() bool {
	if w.starved == nil {
		return true
	}
	if w.asleep > 0 {
		w.asleep--
		return false
	}
	if w.asleep = w.starved(); w.asleep > 10 {
		for _, c := range w.clients {
			c.delayed += float64(w.asleep) * simStep
		}
	}
	return true
}

// transmit moves a step's bytes into the queue and out of it.
func (w *simWorld) transmit() {
	l := &w.line
	before := l.queued
	offers, total := make([]float64, 0, 16), 0.0
	for _, c := range w.clients {
		for _, s := range c.conns {
			n := s.offer()
			lost := l.byChance(n)
			s.drop(lost)
			offers = append(offers, n-lost)
			total += n - lost
		}
	}
	out := min(l.queued+total, w.capacity*simStep)
	in := min(total, l.room-l.queued+out)
	kept := 1.0
	if total > 0 {
		kept = in / total
	}
	l.queued += in - out
	i := 0
	for _, c := range w.clients {
		for _, s := range c.conns {
			n := offers[i]
			i++
			s.drop(n * (1 - kept))
			w.serve(s, n*kept, in+before, out)
		}
	}
}

// serve lets a sender's part of what is queued leave.
func (w *simWorld) serve(s *simSender, in, queued, out float64) {
	s.share += in
	if queued <= 0 || s.share <= 0 {
		return
	}
	n := min(s.share*out/queued, s.share)
	s.share -= n
	if w.line.mark > 0 && w.line.queued > w.line.mark {
		s.markTotal += n
	}
	s.acks[(w.step+max(int(w.line.delay/simStep), 1))%history] += n
}

// drop loses n bytes, which the sender finds out a round-trip later.
func (s *simSender) drop(n float64) {
	if n > 0 {
		after := s.world.line.delay + s.world.line.queued/s.world.capacity
		s.losses[(s.world.step+min(max(int(after/simStep), 1), history-1))%history] += n
	}
}

// tick samples the connections and turns the controller.
func (c *simClient) tick(w *simWorld) {
	now := int64(w.now*1e9) + w.offset
	acked, repeated := 0.0, 0.0
	for i, s := range c.conns {
		acked += s.ackedTotal
		repeated += s.repeatTotal
		if c.ctl == nil {
			continue
		}
		sample := s.sample()
		if d, ok := c.meters[i].Update(&sample, now); ok && (d.Acked > 0 || s.inflight > 0 || s.repeat > 0) {
			c.ctl.Observe(d)
		}
	}
	p := simPoint{at: w.now, capacity: w.capacity, acked: acked - c.lastAck, repeated: repeated - c.lastRep,
		rate: (acked - c.lastAck) * 10, queue: w.line.queued / w.capacity}
	c.lastAck, c.lastRep = acked, repeated
	if c.ctl != nil {
		if e := c.ctl.Tick(Usage{Held: int64(c.held * 1e9), Delayed: int64(c.delayed * 1e9)}, now); e.Kind != None {
			c.events = append(c.events, e)
		}
		c.held, c.delayed = 0, 0
		c.bucket.rate = float64(c.ctl.Target())
		s := c.ctl.State()
		p.target, p.estimate, p.phase, p.verdict = float64(s.Target), float64(s.Estimate), s.Phase, s.Verdict
	}
	c.trace = append(c.trace, p)
}

// between returns the points of a time, in seconds.
func (c *simClient) between(from, to float64) []simPoint {
	var ps []simPoint
	for _, p := range c.trace {
		if p.at > from && p.at <= to {
			ps = append(ps, p)
		}
	}
	return ps
}

func mean(ps []simPoint, of func(simPoint) float64) float64 {
	sum := 0.0
	for _, p := range ps {
		sum += of(p)
	}
	return sum / float64(len(ps))
}

func rateOf(p simPoint) float64     { return p.rate }
func targetOf(p simPoint) float64   { return p.target }
func repeatedOf(p simPoint) float64 { return p.repeated }

// dump shows a client's trace where a test has failed.
func (c *simClient) dump(t *testing.T, every int) {
	t.Helper()
	out := ""
	for i, p := range c.trace {
		if i%every == 0 {
			out += fmt.Sprintf("%6.1f s  C %6.2f  target %6.2f  est %6.2f  rate %6.2f Mbit/s  queue %5.1f ms  rep %6.0f  %v %v\n", p.at,
				p.capacity/mbit, p.target/mbit, p.estimate/mbit, p.rate/mbit, p.queue*1e3, p.repeated, p.phase, p.verdict)
		}
	}
	t.Logf("%s%+v", out, c.ctl.State())
}
