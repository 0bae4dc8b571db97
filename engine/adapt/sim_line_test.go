package adapt

import "math/rand/v2"

// The simulator is a fluid model in steps of a millisecond: senders with a
// congestion window put bytes into one queue, which a line empties; what finds
// it full is lost, and so is some of the rest by chance. It is exact
// about bytes (what is sent is in flight, delivered or lost) and rough about
// packets, of which only losses are counted out one by one.
const (
	simStep = 1e-3 // s
	simMSS  = 1448.0
	mbit    = 1e6 / 8
)

// simLine is a bottleneck.
type simLine struct {
	capacity func(t float64) float64 // bytes/s
	delay    float64                 // of a round trip without queue, s
	room     float64                 // of the queue, bytes
	loss     float64                 // part of the packets lost by chance
	mark     float64                 // queue above which packets are marked (ECN), bytes; 0: never

	// Bursts (Gilbert-Elliott): a bad time begins with a chance of burstEvery
	// per second and lasts burstLast on average; burstLoss is lost in it.
	burstEvery, burstLast, burstLoss float64

	rng    *rand.Rand
	queued float64
	bad    bool
}

// turn decides for a step whether times are bad.
func (l *simLine) turn() {
	switch {
	case l.burstEvery == 0:
	case l.bad:
		l.bad = l.rng.Float64() >= simStep/l.burstLast
	default:
		l.bad = l.rng.Float64() < simStep*l.burstEvery
	}
}

// byChance returns how many of n bytes are lost by chance: whole packets.
func (l *simLine) byChance(n float64) float64 {
	p := l.loss
	if l.bad {
		p = l.burstLoss
	}
	if p == 0 || n <= 0 {
		return 0
	}
	packets := n / simMSS
	count := int(packets)
	if l.rng.Float64() < packets-float64(count) {
		count++
	}
	lost := 0.0
	for range count {
		if l.rng.Float64() < p {
			lost += simMSS
		}
	}
	return min(lost, n)
}

// constant is the capacity of a line that does not change.
func constant(rate float64) func(float64) float64 {
	return func(float64) float64 { return rate }
}

// steps is a capacity that changes: pairs of an instant and a rate from then on.
func steps(pairs ...float64) func(float64) float64 {
	return func(t float64) float64 {
		rate := pairs[1]
		for i := 0; i < len(pairs); i += 2 {
			if t >= pairs[i] {
				rate = pairs[i+1]
			}
		}
		return rate
	}
}
