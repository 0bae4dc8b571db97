package shape

import (
	"math"
	"slices"
	"time"
)

// Result is what one run saw.
type Result struct {
	Conns   []Conn
	Seconds float64 // length of the measurement
	Began   int64   // its beginning, in ns of CLOCK_MONOTONIC; see Clock

	// Total is the bytes of all connections in slots of Fine, from Began on.
	Total []int64
	// Trace is the bytes of the connection Config.Trace in slots of Slot.
	Trace []int64

	Probes  []time.Duration // latencies, from the instant at which each was due
	Skipped int             // probes that were due before the last one was answered

	ServerCPU float64 // CPU seconds of Config.Pids during the measurement
	CoreBusy  float64 // seconds for which the server's core was busy with whatever

	// Stall is the longest time for which the receiver did not look: what it says about
	// times is no finer than that.
	Stall time.Duration

	Lost  int    // connections that ended
	Cause string // why the first of them did
}

// Conn is what one connection received. All but First is of the measurement.
type Conn struct {
	Group  int
	Client int // number of its source address
	Bytes  int64
	First  int64 // bytes in the first second after its first request

	CoV    float64 // coefficient of variation of the bytes in slots of 100 ms
	CoVSec float64 // of slots of 1 s; 0 if there are less than two
	// Silence is the longest time without a byte.
	Silence time.Duration
}

// CoV returns the coefficient of variation: the standard deviation over the mean. It is
// 0 of less than two values or of nothing but zeros.
func CoV[T int64 | uint32](values []T) float64 {
	n := float64(len(values))
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
	}
	if n < 2 || sum == 0 {
		return 0
	}
	mean := sum / n
	for _, v := range values {
		d := float64(v) - mean
		squares += d * d
	}
	return math.Sqrt(squares/n) / mean
}

// Jain returns Jain's fairness index [R. Jain et al., DEC-TR-301, 1984]: 1 if all
// values are the same, 1/n if all but one are 0. It is NaN of nothing.
func Jain(values []float64) float64 {
	var sum, squares float64
	for _, v := range values {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(values)) * squares)
}

// Quantile returns the value below or at which the part q of the values is (nearest
// rank). It is NaN of nothing.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	i := int(math.Ceil(q*float64(len(s)))) - 1
	return s[min(max(i, 0), len(s)-1)]
}

// Of returns a figure of each connection of a group, of all groups with -1.
func (r *Result) Of(group int, figure func(*Conn) float64) []float64 {
	var values []float64
	for i := range r.Conns {
		if c := &r.Conns[i]; group < 0 || c.Group == group {
			values = append(values, figure(c))
		}
	}
	return values
}

// Rate returns the bytes per second of a group, of all groups with -1.
func (r *Result) Rate(group int) float64 {
	var sum float64
	for _, b := range r.Of(group, func(c *Conn) float64 { return float64(c.Bytes) }) {
		sum += b
	}
	return sum / r.Seconds
}

// Errors returns of each connection how far its rate is from want, in percent.
func (r *Result) Errors(want float64) []float64 {
	return r.Of(-1, func(c *Conn) float64 { return 100 * math.Abs(float64(c.Bytes)/r.Seconds/want-1) })
}

// Clients returns the bytes of each client, by the number of its source address.
func (r *Result) Clients() map[int]float64 {
	sum := make(map[int]float64)
	for i := range r.Conns {
		sum[r.Conns[i].Client] += float64(r.Conns[i].Bytes)
	}
	return sum
}

// Settled returns how long after the instant at (of Clock) the rate of everything
// came within the part tolerance of want for good: in each window of 100 ms from then
// until the instant end. ok is false if it never did.
func (r *Result) Settled(at, end int64, want, tolerance float64) (after time.Duration, ok bool) {
	const window = int(Slot / Fine)
	last := min(int((end-r.Began)/int64(Fine)), len(r.Total)) - window
	for i := last; i >= 0; i-- {
		begin := r.Began + int64(i)*int64(Fine)
		var sum int64
		for _, b := range r.Total[i : i+window] {
			sum += b
		}
		if rate := float64(sum) / Slot.Seconds(); math.Abs(rate/want-1) > tolerance {
			return max(0, time.Duration(begin+int64(Fine)-at)), i < last
		}
		if begin < at {
			break
		}
	}
	return 0, true
}
