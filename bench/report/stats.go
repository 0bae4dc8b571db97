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
