package loop

import (
	"math"
	"testing"
)

// The jitter is that of the throughput by the second: none if it is even, one if
// every other second brings nothing; the start does not count for ever.
func TestSpeed(t *testing.T) {
	run := func(seconds int, rate func(i int) int64) speed {
		var s speed
		total := int64(0)
		for i := range seconds {
			total += rate(i)
			s.add(total, 1)
		}
		return s
	}
	for name, c := range map[string]struct {
		s      speed
		jitter float64
		mean   float64
	}{
		"even":        {run(20, func(int) int64 { return 1000 }), 0, 1000},
		"alternating": {run(400, func(i int) int64 { return int64(i%2) * 2000 }), 1, 1000},
		"slow start":  {run(200, func(i int) int64 { return min(int64(i)*100, 1000) }), 0, 1000},
	} {
		cov, ok := c.s.jitter()
		if !ok || math.Abs(cov-c.jitter) > 0.15 || math.Abs(c.s.mean-c.mean) > 0.15*c.mean {
			t.Errorf("%s: jitter %.3f (%v), mean %.0f; want %.1f, %.0f", name, cov, ok, c.s.mean, c.jitter, c.mean)
		}
	}
	for name, s := range map[string]speed{
		"too short": run(steadyAfter-1, func(int) int64 { return 1000 }), "nothing": run(20, func(int) int64 { return 0 }),
	} {
		if cov, ok := s.jitter(); ok {
			t.Errorf("%s: jitter %v", name, cov)
		}
	}
	// Seconds are as long as the loop makes them.
	var s speed
	s.add(1500, 1.5)
	s.add(2000, 0.5)
	if cov := math.Sqrt(s.variance) / s.mean; cov > 1e-9 || math.Abs(s.mean-1000) > 1e-9 {
		t.Errorf("jitter %v, mean %v of an even rate", cov, s.mean)
	}
}

// The heap keeps the largest, whatever the order they come in.
func TestKeepTop(t *testing.T) {
	const n, of = 10, 1000
	for step := int64(1); step < 50; step += 2 { // odd and of no common factor with of, or not
		var heap []ranked
		for i := range int64(of) {
			r := ranked{key: i * step % of}
			if len(heap) == n && r.key <= heap[0].key {
				continue
			}
			heap = keepTop(heap, r, n)
		}
		least := make(map[int64]int)
		for i := range int64(of) {
			least[i*step%of]++
		}
		want, left := int64(of), n
		for left > 0 {
			want--
			left -= least[want]
		}
		for _, r := range heap {
			if r.key < want {
				t.Errorf("step %d: %d was kept, %d was not", step, r.key, want)
			}
		}
		if len(heap) != n {
			t.Errorf("step %d: %d were kept", step, len(heap))
		}
	}
}
