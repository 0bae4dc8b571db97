package release

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

func parse(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// traffic makes the responses of a second.
type traffic struct{ *rand.Rand }

// some returns a number of Poisson's distribution.
func (r traffic) some(mean float64) uint64 {
	if mean > 40 {
		return uint64(max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p := uint64(0), r.Float64()
	for limit := math.Exp(-mean); p > limit; p *= r.Float64() {
		n++
	}
	return n
}

// shares are the parts of responses in buckets that follow each other: most are alike, few are much
// worse.
var shares = []float64{0.1, 0.3, 0.3, 0.2, 0.06, 0.02, 0.01, 0.006, 0.003, 0.001}

// add adds a second of so many responses of which a part fails; late and slow shift the times and the
// rates by buckets.
func (r traffic) add(c *Counts, responses, failing float64, late, slow int) {
	for i, part := range shares {
		n := r.some(responses * part)
		c.Responses += n
		c.FirstByte[60+i+late] += n
		c.Rate[50-i-slow] += r.some(responses * part / 2)
	}
	c.Failed += min(r.some(responses*failing), c.Responses)
}

func schedules(t *testing.T, few int) int {
	if n, err := strconv.Atoi(os.Getenv("FSERVE_SCHEDULES")); err == nil {
		return n
	}
	if testing.Short() {
		return few / 10
	}
	return few
}

// Of schedules in which the versions are alike next to none is rolled back: each has steps of five
// minutes with other rates of requests and of failures.
func TestEqualVersionsAreKept(t *testing.T) {
	n, taken := schedules(t, 100), 0
	cfg := Config{Stable: two.Stable, Canary: two.Canary, Steps: []Step{{Weight: 0.01, Hold: 5 * time.Minute}, {Weight: 0.05, Hold: 5 * time.Minute}, {Weight: 0.2, Hold: 5 * time.Minute}, {Weight: 0.5, Hold: 5 * time.Minute}, {Weight: 1}}}.WithDefaults()
	for seed := range n {
		r := traffic{rand.New(rand.NewPCG(uint64(seed), 1))}
		rate, failing := 200*math.Exp(r.Float64()*4), 0.05*r.Float64()*r.Float64()
		s, now := NewState(&cfg), int64(1)
		var counts [NumVersions]Counts
		for range 1500 {
			now += second
			w := s.Weight()
			r.add(&counts[Stable], rate*(1-w), failing, 0, 0)
			r.add(&counts[Canary], rate*w, failing, 0, 0)
			if c := s.Tick(now, &counts, nil); c != nil && c.Phase == RolledBack {
				taken++
				t.Logf("seed %d, %.0f/s, %.2f%% fail: %s", seed, rate, 100*failing, c.Why)
				break
			}
		}
	}
	t.Logf("%d of %d schedules were rolled back", taken, n)
	if taken > max(1, n/10_000) {
		t.Errorf("%d of %d schedules were rolled back for nothing", taken, n)
	}
}

// A canary with a hundred responses a second that begins to be worse is taken back in time.
func TestWorseCanaryIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		name           string
		weight, before float64 // share, part of all responses that fail
		worse          float64
		late, slow     int
		part           float64 // of the runs that is rolled back within 20 s
	}{
		{"2 points more of none, at 5%", 0.05, 0, 0.02, 0, 0, 0.99},
		{"2 points more of 1%, at 1%", 0.01, 0.01, 0.02, 0, 0, 0.85},
		{"2 points more of 0.5%, at 5%", 0.05, 0.005, 0.02, 0, 0, 0.95},
		{"2 points more of none, at 50%", 0.5, 0, 0.02, 0, 0, 0.99},
		{"first bytes after four times as long", 0.05, 0, 0, 8, 0, 0.99},
		{"half the throughput", 0.05, 0, 0, 0, 4, 0.99},
	} {
		t.Run(c.name, func(t *testing.T) {
			var times []int
			for seed := range schedules(t, 200) {
				cfg := Config{Stable: two.Stable, Canary: two.Canary, Steps: []Step{{Weight: c.weight}}}.WithDefaults()
				s, r := NewState(&cfg), traffic{rand.New(rand.NewPCG(uint64(seed), 2))}
				var counts [NumVersions]Counts
				took := 0
				for i := range 200 {
					bad, late, slow := 0.0, 0, 0
					if i >= 60 {
						bad, late, slow = c.worse, c.late, c.slow
					}
					r.add(&counts[Stable], 100/c.weight*(1-c.weight), c.before, 0, 0)
					r.add(&counts[Canary], 100, c.before+bad, late, slow)
					if s.Tick(int64(i+1)*second, &counts, nil) != nil {
						took = i - 59
						break
					}
				}
				times = append(times, took)
			}
			slices.Sort(times)
			at := func(part float64) int { return times[int(part*float64(len(times)-1))] }
			t.Logf("after s: first %d, median %d, 99 of 100 %d, last %d", times[0], at(0.5), at(0.99), at(1))
			if times[0] <= 0 || at(c.part) > 20 {
				t.Errorf("not in 20 s: %d to %d s, %v%% within %d", times[0], at(1), c.part*100, at(c.part))
			}
		})
	}
}
