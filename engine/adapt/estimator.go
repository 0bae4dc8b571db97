package adapt

import "time"

const (
	gain      = 0.15 // of a new sample
	minWindow = 8
	maxWindow = 64

	// refutes is a multiple of the estimate. A lower bound above it shows that the
	// measurements are of another line.
	refutes = 1.1
)

// estimator is the rate that the line carries, in bytes per second: an exponential
// average, 0.85 old + 0.15 new, over a window of measurements. A measurement that has left
// the window weighs nothing, so the estimate forgets a line that has changed after a
// known number of samples. A plain average would keep 0.85^n of it: at n = 8 still a
// quarter.
//
// A sample that the target limited is a lower bound: it moves the estimate up only, and
// the next measurement replaces it.
type estimator struct {
	ring    [maxWindow]float32 // the newest at head-1
	head, n uint8
	refuted bool // a bound lay well above the estimate since the last measurement
	rate    float64
}

// window returns the number of samples for a smoothed round-trip time: longer
// paths vary more slowly, and their samples depend on each other.
func window(srtt int64) int {
	return min(max(int(srtt/int64(10*time.Millisecond)), minWindow), maxWindow)
}

// measure adds the rate of a round in which the line was the limit.
func (e *estimator) measure(rate float64, window int) {
	if e.refuted {
		e.n, e.refuted = 0, false
	}
	e.ring[e.head%maxWindow] = float32(rate)
	e.head = (e.head + 1) % maxWindow
	e.n = uint8(min(int(e.n)+1, window))
	sum, weights, w := 0.0, 0.0, 1.0
	for i := range int(e.n) {
		sum += w * float64(e.ring[(int(e.head)+maxWindow-1-i)%maxWindow])
		weights += w
		w *= 1 - gain
	}
	e.rate = sum / weights
}

// bound adds a rate that the line carries at least.
func (e *estimator) bound(rate float64) {
	switch {
	case rate <= e.rate:
		return
	case e.rate == 0:
		e.rate = rate
	default:
		e.refuted = e.refuted || rate > e.rate*refutes
		e.rate += gain * (rate - e.rate)
	}
}

// measured reports whether the estimate is more than a lower bound.
func (e *estimator) measured() bool { return e.n > 0 && !e.refuted }
