package record

import (
	"testing"
	"time"
)

// The histograms of two loops added up are that of both together.
func TestHistogramAdd(t *testing.T) {
	var a, b, both Histogram
	for i, d := range []time.Duration{-1, 0, time.Microsecond, time.Millisecond, time.Second, 72 * time.Hour} {
		one := &a
		if i%2 == 1 {
			one = &b
		}
		one.Observe(d)
		both.Observe(d)
	}
	if a.Add(&b); a != both || a.Count() != 6 {
		t.Errorf("%d times, sum %d; want %d, %d", a.Count(), a.Sum, both.Count(), both.Sum)
	}
}
