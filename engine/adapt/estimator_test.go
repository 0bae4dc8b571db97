package adapt

import (
	"math"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		srtt time.Duration
		want int
	}{{0, 8}, {79 * time.Millisecond, 8}, {90 * time.Millisecond, 9}, {300 * time.Millisecond, 30}, {time.Hour, 64}} {
		if got := window(int64(c.srtt)); got != c.want {
			t.Errorf("%v: %d, want %d", c.srtt, got, c.want)
		}
	}
}

// TestEstimatorForgets: a step is followed as 1-0.85^n says, normalised, and
// complete once the window has passed.
func TestEstimatorForgets(t *testing.T) {
	var e estimator
	for range 100 {
		e.measure(100, 8)
	}
	for n := 1; n <= 8; n++ {
		e.measure(40, 8)
		part := (1 - math.Pow(0.85, float64(n))) / (1 - math.Pow(0.85, 8))
		if want := 100 - 60*part; math.Abs(e.rate-want) > 1e-6 {
			t.Errorf("after %d samples: %v, want %v", n, e.rate, want)
		}
	}
	// A longer window takes longer, a shorter one applies at once.
	e.measure(100, 64)
	if e.rate < 40 || e.rate > 60 {
		t.Errorf("one of nine: %v", e.rate)
	}
}

func TestEstimatorBounds(t *testing.T) {
	var e estimator
	e.bound(50)
	if e.rate != 50 {
		t.Errorf("the first bound: %v", e.rate)
	}
	for range 20 {
		e.measure(100, 8)
	}
	for _, rate := range []float64{0, 10, 99, 100} {
		if e.bound(rate); math.Abs(e.rate-100) > 1e-9 {
			t.Fatalf("a bound of %v moved the estimate to %v", rate, e.rate)
		}
	}
	e.bound(200)
	if math.Abs(e.rate-115) > 1e-9 {
		t.Errorf("a bound of 200 moved 100 to %v, want 115", e.rate)
	}
	// The bound said that the old measurements are of another line.
	if e.measure(180, 8); e.rate != 180 {
		t.Errorf("the measurement after it: %v, want 180", e.rate)
	}
}
