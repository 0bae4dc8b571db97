package release

import (
	"math"
	"math/bits"
	"time"
)

// Counts are the responses of a version. Those of several loops are added.
type Counts struct {
	Responses uint64
	// Failed are those that a version may be to blame for: by their status (403, 404, 5xx), or cut off
	// because of the file. Clients that go away are not.
	Failed uint64
	Bytes  uint64
	// FirstByte are the times to the first byte in µs, Rate the KiB/s of those that took long enough
	// to tell.
	FirstByte, Rate Histogram
}

// rateFrom is how many bytes a response has at least for which a rate is counted.
const rateFrom = 256 << 10

// Add counts a response that has ended: its status, whether the file was to blame for its end, the
// times to its first and last byte, and its bytes.
func (c *Counts) Add(status int, cut bool, first, whole time.Duration, n int64) {
	c.Responses++
	if cut || status >= 500 || status == 403 || status == 404 {
		c.Failed++
	}
	c.Bytes += uint64(max(n, 0))
	c.FirstByte[bucket(uint64(max(first.Microseconds(), 0)))]++
	if us := whole.Microseconds(); n >= rateFrom && us > 0 {
		c.Rate[bucket(uint64(float64(n)/1024/(float64(us)/1e6)))]++
	}
}

// Sum adds the counts of another loop.
func (c *Counts) Sum(o *Counts) {
	c.Responses += o.Responses
	c.Failed += o.Failed
	c.Bytes += o.Bytes
	for i := range c.FirstByte {
		c.FirstByte[i] += o.FirstByte[i]
		c.Rate[i] += o.Rate[i]
	}
}

// since returns what was counted since o.
func (c *Counts) since(o *Counts) Counts {
	d := Counts{Responses: c.Responses - o.Responses, Failed: c.Failed - o.Failed, Bytes: c.Bytes - o.Bytes}
	for i := range c.FirstByte {
		d.FirstByte[i] = c.FirstByte[i] - o.FirstByte[i]
		d.Rate[i] = c.Rate[i] - o.Rate[i]
	}
	return d
}

// Histogram counts numbers in buckets, four to a doubling.
type Histogram [96]uint64

// bucket returns that of a number.
func bucket(v uint64) int {
	if v < 1 {
		return 0
	}
	n := bits.Len64(v) - 1
	quarter := v << 2 >> n & 3
	return min(4*n+int(quarter), len(Histogram{})-1)
}

// Bound returns where a bucket ends.
func Bound(i int) float64 { return math.Ldexp(1+float64((i+1)%4)/4, (i+1)/4) }

func (h *Histogram) count(from, to int) (n uint64) {
	for _, c := range h[from:to] {
		n += c
	}
	return n
}

// Quantile returns the end of the bucket up to which a part of all is.
func (h *Histogram) Quantile(part float64) float64 {
	want, n := part*float64(h.count(0, len(h))), 0.0
	for i, c := range h {
		if n += float64(c); n >= want && n > 0 {
			return Bound(i)
		}
	}
	return 0
}
