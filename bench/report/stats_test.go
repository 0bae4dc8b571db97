package report

import (
	"math"
	"testing"
)

func TestCoV(t *testing.T) {
	for _, tc := range []struct {
		values []int64
		want   float64
	}{
		{nil, 0},
		{[]int64{5}, 0},
		{[]int64{0, 0}, 0},
		{[]int64{7, 7, 7}, 0},
		{[]int64{10, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 3}, // all in one slot of ten
		{[]int64{1, 3}, 0.5},
	} {
		if got := CoV(tc.values); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", tc.values, got, tc.want)
		}
	}
}

func TestJain(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3, 3, 3}, 1},
		{[]float64{1, 0, 0, 0}, 0.25},
		{[]float64{1, 3}, 0.8},
	} {
		if got := Jain(tc.values); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", tc.values, got, tc.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for _, tc := range []struct{ q, want float64 }{{0, 1}, {0.25, 1}, {0.26, 2}, {0.5, 2}, {0.99, 4}, {1, 4}} {
		if got := Quantile(values, tc.q); got != tc.want {
			t.Errorf("%g: %g, want %g", tc.q, got, tc.want)
		}
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %g", got)
	}
}
