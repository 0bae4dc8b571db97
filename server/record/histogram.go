package record

import (
	"math"
	"math/bits"
	"time"
)

// The buckets of a Histogram are those of a Prometheus native histogram of
// schema 3: eight to a power of two.
const (
	histogramParts = 8   // buckets for each doubling
	histogramFrom  = -14 // the first boundary is 2^-14 s, 61 us
	histogramTo    = 17  // the last one is 2^17 s, a day and a half

	HistogramBuckets = (histogramTo-histogramFrom)*histogramParts + 1
)

// Histogram counts times. Bucket 0 is of those up to [HistogramBound](0), bucket
// i of those above HistogramBound(i-1) up to HistogramBound(i), and the last
// one also of all above.
type Histogram struct {
	Counts [HistogramBuckets]uint64
	Sum    int64 // ns
}

// HistogramBound returns the upper boundary of a bucket in seconds.
func HistogramBound(i int) float64 {
	return math.Exp2(histogramFrom + float64(i)/histogramParts)
}

// HistogramIndex returns the index of bucket i of a Histogram in a native
// histogram of schema 3: its upper boundary is 2^(index/8) s.
func HistogramIndex(i int) int { return histogramFrom*histogramParts + i }

// bounds are the boundaries in whole ns, and where the search for numbers of so
// many bits begins.
var bounds = func() (b struct {
	ns    [HistogramBuckets]int64
	first [65]int
}) {
	for i := range b.ns {
		b.ns[i] = int64(HistogramBound(i) * 1e9)
	}
	for n := range b.first {
		smallest := uint64(1) << max(n-1, 0)
		for b.first[n] < HistogramBuckets-1 && uint64(b.ns[b.first[n]]) < smallest {
			b.first[n]++
		}
	}
	return b
}()

// Observe counts a time. It does not allocate.
func (h *Histogram) Observe(d time.Duration) {
	ns := max(int64(d), 0)
	h.Sum += ns
	i := 0
	if ns > bounds.ns[0] {
		for i = bounds.first[bits.Len64(uint64(ns))]; i < HistogramBuckets-1 && ns > bounds.ns[i]; i++ {
		}
	}
	h.Counts[i]++
}

// Add adds the counts of another histogram.
func (h *Histogram) Add(o *Histogram) {
	h.Sum += o.Sum
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
}

// Count returns how many times were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}
