package adapt

// gather sums the deltas of a client's connections in a round.
type gather struct {
	conns, acked, arrived    int64
	segments, ce             int64
	retrans, spurious        int64
	full, reader             int64   // bytes acknowledged where the line, or the reader, may have been the limit
	rateTime                 float64 // delivery rate times time, bytes
	rttSum, queueSum, weight float64 // weighted by bytes
	mss                      int64
}

func (g *gather) add(d *Delta) {
	g.conns++
	g.acked += d.Acked
	g.arrived += d.Arrived
	g.segments += d.Segments
	g.ce += d.CE
	g.retrans += d.Retrans
	g.spurious += d.Spurious
	g.mss = d.MSS
	switch {
	case d.Reader:
		g.reader += d.Acked
	case !d.AppLimited && !d.Buffer:
		g.full += d.Acked
	}
	rate := float64(d.Rate)
	if d.Rate == 0 && d.Elapsed > 0 {
		rate = float64(d.Acked) / float64(d.Elapsed) * 1e9
	}
	g.rateTime += rate * float64(d.Elapsed) / 1e9
	if d.RTT > 0 {
		w := float64(d.Acked) + 1
		g.weight += w
		g.rttSum += w * float64(d.RTT)
		if d.MinRTT > 0 {
			g.queueSum += w * float64(max(d.RTT-d.MinRTT, 0))
		}
	}
}

// round is what a client's connections did together in one round.
type round struct {
	tally
	conns    int64
	start    int64   // ns, of the controller's clock
	acked    int64   // bytes
	rate     float64 // arrived, bytes/s
	delivery float64 // delivery rates of the connections together, bytes/s
	rtt      int64   // ns; 0 if not measured
	queue    float64 // queueing delay, ns
	lost     float64 // segments
	segments float64 // sent
	retrans  int64   // bytes sent again
	spurious int64   // bytes of those, or earlier ones, that were in vain
	marked   bool    // by ECN
	onTarget bool    // the target was the limit for a good part
	onLine   bool    // the line was the limit
	full     bool    // what arrived is what the line carries: the line was the limit, or was overrun
	clean    bool    // not mostly retransmissions
}

// end makes a round of what was gathered in elapsed ns.
func (g *gather) end(start, elapsed, held int64, target, often float64) round {
	r := round{
		conns: g.conns, start: start, acked: g.acked, retrans: g.retrans, spurious: g.spurious,
		rate:     float64(g.arrived) / float64(elapsed) * 1e9,
		delivery: g.rateTime / float64(elapsed) * 1e9,
		segments: float64(g.segments),
		marked:   g.ce > 0,
		clean:    g.retrans*2 <= g.arrived,
	}
	if g.weight > 0 {
		r.rtt, r.queue = int64(g.rttSum/g.weight), g.queueSum/g.weight
	}
	if net := g.retrans - g.spurious; net > 0 {
		r.lost = float64(net) / float64(max(g.mss, 1))
	}
	held = min(max(held, 0), elapsed)
	r.onTarget = float64(held) >= often*float64(elapsed)
	r.onLine = !r.onTarget && g.acked > 0 && g.full*2 > g.acked
	r.tally = tally{
		span: float32(elapsed), acked: float32(g.acked), held: float32(held),
		allowed: float32(target * float64(elapsed) / 1e9),
		queue:   float32(r.queue * float64(elapsed)),
		// Below zero where retransmissions of earlier rounds turn out to have been in
		// vain, which is known a round-trip later: longer sums set one off against the other.
		lost:     float32(g.retrans-g.spurious) / float32(max(g.mss, 1)),
		segments: float32(g.segments),
	}
	if r.onLine {
		r.tally.line = float32(elapsed)
	}
	if g.reader*2 > g.acked {
		r.tally.reader = float32(elapsed)
	}
	return r
}

// measured is the rate of a round in which the line was full. What arrived in the whole
// round is sure. The kernel's rate is of the last round-trip, hence newer, but the rates of
// several connections are not of the same moment.
func (r *round) measured() float64 {
	if r.conns > 1 {
		return r.rate
	}
	return min(max(r.delivery, r.rate*0.95), r.rate*1.05)
}

// newest is the rate at the end of a round in which the line may have changed, or the
// connections were still getting faster. While the target is the limit the kernel's rate
// is the greatest of a burst, so it counts only where it is lower than what arrived.
func (r *round) newest() float64 {
	switch {
	case r.delivery <= 0:
		return r.rate
	case r.onTarget:
		return min(max(r.delivery, r.rate/2), r.rate)
	}
	return min(max(r.delivery, r.rate/2), r.rate*2)
}
