package load

import (
	"math"
	"time"
)

// Result is what one run saw. Times are in nanoseconds where the type is
// time.Duration.
type Result struct {
	Groups    []Seen  // in the order of Config.Groups
	Seconds   float64 // length of the measurement
	Began     int64   // its beginning, in ns of CLOCK_MONOTONIC; see Clock
	ServerCPU float64 // CPU seconds of Config.Pids meanwhile
	CoreBusy  float64 // seconds for which the server's core was busy with whatever
	LoadBusy  float64 // seconds for which the generator had something to do

	// Stall is the longest time for which the generator did not look: what it says about
	// times is no finer than that.
	Stall time.Duration

	ServerRSS int64 // with Config.Memory: resident memory of Config.Pids in bytes, the most that was seen

	// With Config.Slots:
	Conns []Conn  // of the groups of mode Closed
	Total []int64 // bytes of all of them in slots of Fine, from Began on
	Trace []int64 // bytes of the first of them in slots of Slot
}

// Seen is what was seen of one group.
type Seen struct {
	Requests int64 // responses completed
	Bytes    int64 // bytes received, heads included, partial responses too

	// Latency: from the request to the last byte received. That of a timed request
	// which had to wait for a connection counts from the time at which it was due.
	P50, P99, P999, Max time.Duration

	// SlotP99 is, of mode Timed, the median of the p99 of slots of half a second at most.
	// What stops the machine for some ms now and then is not in it.
	SlotP99 time.Duration

	Cut int64 // of mode Trickle: connections that the server ended, each of which was opened anew
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

// Rate returns the bytes per second of the connections of a group, of all groups with -1.
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
