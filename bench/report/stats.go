// Package report turns the figures of interleaved runs into medians, ratios
// and tables.
package report

import (
	"math"
	"slices"
)

// Median returns the middle of the values, or the mean of the two in the
// middle; NaN of none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// Ratio is the distribution of the ratios of paired runs.
type Ratio struct {
	Median float64
	Min    float64
	Max    float64
}

// Ratios compares run i of a with run i of b, as far as both go. Pairs whose
// b is zero are left out. ok is false if nothing is left.
func Ratios(a, b []float64) (r Ratio, ok bool) {
	var q []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			q = append(q, a[i]/b[i])
		}
	}
	if len(q) == 0 {
		return Ratio{}, false
	}
	return Ratio{Median: Median(q), Min: slices.Min(q), Max: slices.Max(q)}, true
}
