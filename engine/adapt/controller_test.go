package adapt

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

// settled is a feed in the slow loop at 4 MB/s.
func settled(t testing.TB) *feed {
	t.Helper()
	f := newFeed(t, Config{Min: 10_000, Max: 100_000_000, Start: 4_000_000})
	f.c.SetTarget(4_000_000)
	f.pass(500 * time.Millisecond)
	return f
}

func near(got int64, want, tolerance float64) bool {
	return math.Abs(float64(got)-want) <= want*tolerance
}

func TestLossHalves(t *testing.T) {
	f := settled(t)
	f.loss = 0.1
	f.round()
	s := f.c.State()
	// What flowed is what arrived: 90 % of the target.
	if !near(s.Target, 0.9*2_000_000, 0.06) || s.SoftThreshold != s.Target || s.Cuts[CauseLoss] != 1 || s.Phase != Linear {
		t.Fatalf("%+v", s)
	}
	// No second cut within a round-trip.
	f.rtt = 300 * time.Millisecond
	f.pass(300 * time.Millisecond)
	if n := f.c.State().Cuts[CauseLoss]; n != 1 {
		t.Errorf("%d cuts in one round-trip", n)
	}
}

func TestLossWithinTolerance(t *testing.T) {
	f := settled(t)
	f.loss = 0.01
	f.pass(time.Minute)
	if s := f.c.State(); s.Cuts[CauseLoss] != 0 {
		t.Errorf("1 %% loss: %+v", s.Counters)
	}
}

// TestBackgroundLoss: what a cut does not mend is not answered by another.
func TestBackgroundLoss(t *testing.T) {
	f := settled(t)
	f.loss = 0.06
	f.pass(time.Minute)
	s := f.c.State()
	if s.Cuts[CauseLoss] == 0 || s.Cuts[CauseLoss] > 3 || s.Background < 0.05 || s.Background > 0.07 {
		t.Errorf("6 %% whatever is sent: %v cuts, background %.3f", s.Cuts, s.Background)
	}
	if s.Target < 3_000_000 {
		t.Errorf("target %d", s.Target)
	}
	f.loss = 0
	f.pass(time.Minute)
	if b := f.c.State().Background; b > 0.01 {
		t.Errorf("background %.3f after a minute without loss", b)
	}
}

func TestCutNotBelowTwoSegments(t *testing.T) {
	f := settled(t)
	f.rtt = 100 * time.Millisecond
	f.loss = 0.5
	least := int64(2 * segment * 10)
	lowest := f.c.Target()
	for range 95 { // then the breaker trips
		f.round()
		lowest = min(lowest, f.c.Target())
	}
	if lowest != least {
		t.Errorf("target down to %d, two segments a round-trip are %d", lowest, least)
	}
}

// Where two segments in a round-trip are more than the target, it is cut nevertheless.
func TestCutOnAShortPath(t *testing.T) {
	f := settled(t)
	f.rtt = 50 * time.Microsecond
	f.pass(2 * time.Second)
	before := f.c.Target()
	f.marks = 5
	f.pass(300 * time.Millisecond)
	if got := f.c.Target(); !near(got, 0.3*float64(before), 0.06) {
		t.Errorf("target %d, was %d: %+v", got, before, f.c.State().Counters)
	}
}

// Connections are paced above their part of the target, but where a grant takes no
// time.
func TestPacingRate(t *testing.T) {
	f := newFeed(t, Config{Min: 4_000_000, Max: 4 << 30, Start: 4_000_000})
	for _, c := range []struct {
		target, want int64
		n            int
	}{
		{4_000_000, 5_000_000, 1}, {4_000_000, 3_000_000, 2}, {4_000_000, 600_000, 10}, {4_000_000, 5_000_000, 0},
		{1 << 30, 1<<30 + 1<<28, 1}, {1<<30 + 1, 0, 1}, {2 << 30, 0, 3},
	} {
		if f.c.SetTarget(c.target); f.c.PacingRate(c.n) != c.want {
			t.Errorf("target %d of %d connections: paced at %d, want %d", c.target, c.n, f.c.PacingRate(c.n), c.want)
		}
	}
}

func TestCutNotBelowFloor(t *testing.T) {
	f := newFeed(t, Config{Min: 1_000_000, Max: 8_000_000, Start: 8_000_000})
	f.loss = 0.5
	for range 300 {
		if f.round(); f.c.Target() < 1_000_000 {
			t.Fatalf("target %d", f.c.Target())
		}
	}
}

func TestECN(t *testing.T) {
	f := settled(t)
	f.marks = 5
	f.pass(200 * time.Millisecond)
	f.marks = 0
	f.round()
	f.marks = 5
	f.pass(200 * time.Millisecond)
	if s := f.c.State(); s.Cuts[CauseECN] != 0 {
		t.Fatalf("two marked rounds in a row: %+v", s.Counters)
	}
	before := f.c.Target()
	f.round()
	if s := f.c.State(); s.Cuts[CauseECN] != 1 || !near(s.Target, 0.3*float64(before), 0.06) {
		t.Errorf("the third: %+v, target %d, was %d", s.Counters, s.Target, before)
	}
}

// TestSpuriousCutIsUndone: the peer reports that it had everything twice.
func TestSpuriousCutIsUndone(t *testing.T) {
	f := settled(t)
	before := f.c.Target()
	f.loss = 0.1
	f.round()
	if f.c.Target() > before*6/10 {
		t.Fatal("not cut")
	}
	f.loss = 0
	f.now += int64(roundLength)
	f.c.Observe(Delta{Elapsed: int64(roundLength), Acked: 200_000, Arrived: 200_000, Sent: 200_000, Segments: 139,
		Spurious: 60_000, RTT: 20e6, MinRTT: 20e6, MSS: segment, Rate: 2e6})
	f.c.Tick(Usage{}, f.now)
	if f.c.State().Undone != 1 || f.c.Target() < before {
		t.Errorf("target %d, was %d: %+v", f.c.Target(), before, f.c.State().Counters)
	}
}

func TestRaisesWhileTheTargetIsTheLimit(t *testing.T) {
	f := settled(t)
	before := f.c.Target()
	f.pass(1200 * time.Millisecond)
	if !near(f.c.Target(), 1.05*float64(before), 0.001) {
		t.Errorf("after a second: %d, was %d", f.c.Target(), before)
	}
	f.pass(10 * time.Second)
	if f.c.Target() < 2*before {
		t.Errorf("after ten: %d: probing did not begin anew", f.c.Target())
	}
}

func TestHoldsForAReader(t *testing.T) {
	f := settled(t)
	before := f.c.Target()
	f.rate, f.held, f.reader = 500_000, 0, true
	f.pass(30 * time.Second)
	s := f.c.State()
	if s.Target != before || s.Verdict != ReaderLimits {
		t.Errorf("target %d, was %d: %v", s.Target, before, s.Verdict)
	}
}

func TestHoldsForSmallResponses(t *testing.T) {
	f := settled(t)
	before := f.c.Target()
	f.rate, f.held = 500_000, 0
	f.pass(30 * time.Second)
	if s := f.c.State(); s.Target != before {
		t.Errorf("target %d, was %d: %v", s.Target, before, s.Verdict)
	}
}

func TestFollowsALine(t *testing.T) {
	for _, c := range []struct {
		queue     time.Duration
		low, high float64
	}{{0, 1, 1.05}, {30 * time.Millisecond, 0.97, 1}} {
		f := settled(t)
		f.rate, f.held, f.line, f.queue = 2_000_000, 0, true, c.queue
		f.pass(3 * time.Second)
		if s := f.c.State(); float64(s.Target) < 2e6*c.low || float64(s.Target) > 2e6*c.high || !near(s.Estimate, 2_000_000, 0.01) || s.Follows == 0 {
			t.Errorf("queue %v: target %d, estimate %d", c.queue, s.Target, s.Estimate)
		}
	}
}

// TestLowersAboveTheEstimate: set too high from outside, and reached only by
// what is under way.
func TestLowersAboveTheEstimate(t *testing.T) {
	f := settled(t)
	f.rate, f.held, f.line = 2_000_000, 0, true
	f.pass(2 * time.Second)
	before := f.c.State().Lowers
	f.c.SetTarget(4_000_000)
	f.held, f.line, f.rate = 0.5, false, 1_990_000
	f.pass(1100 * time.Millisecond)
	if s := f.c.State(); s.Lowers-before != 2 || !near(s.Target, 4_000_000*0.97*0.97, 0.001) {
		t.Errorf("after 1.1 s: %d lowerings, target %d", s.Lowers-before, s.Target)
	}
}

func TestSteering(t *testing.T) {
	f := settled(t)
	f.c.SetTarget(1)
	if f.c.Target() != 10_000 {
		t.Errorf("below the floor: %d", f.c.Target())
	}
	f.c.SetTarget(math.MaxInt64)
	if f.c.Target() != 100_000_000 {
		t.Errorf("above the ceiling: %d", f.c.Target())
	}
	if err := f.c.SetBounds(1_000_000, 2_000_000); err != nil || f.c.Target() != 2_000_000 {
		t.Errorf("%v, %d", err, f.c.Target())
	}
	for _, b := range [][2]int64{{0, 5}, {5, 4}, {-1, -1}, {1, math.MaxInt64}} {
		if err := f.c.SetBounds(b[0], b[1]); err == nil {
			t.Errorf("%v accepted", b)
		}
	}
	if s := f.c.State(); s.Min != 1_000_000 || s.Max != 2_000_000 {
		t.Errorf("%+v", s)
	}
}

// TestClockJumps: neither a jump nor what was gathered before it changes the target.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, time.Second, -time.Second, -50 * time.Millisecond, math.MaxInt64 / 2} {
		f := settled(t)
		before := f.c.Target()
		f.rate, f.held, f.line = 400_000, 0, true // would be followed
		f.c.Observe(Delta{Elapsed: int64(roundLength), Acked: 100, Arrived: 100, MSS: segment})
		f.now += int64(jump)
		f.c.Tick(Usage{}, f.now)
		if f.c.Target() != before {
			t.Errorf("%v: target %d, was %d", jump, f.c.Target(), before)
		}
		f.rate, f.held, f.line = 0, 0.9, false
		f.pass(5 * time.Second)
		if f.c.Target() < before {
			t.Errorf("%v, and 5 s later: target %d, was %d", jump, f.c.Target(), before)
		}
	}
}

// TestNonsense: values that cannot be are survived.
func TestNonsense(t *testing.T) {
	f := settled(t)
	for _, d := range []Delta{
		{}, {Elapsed: -1, Acked: 5}, {Elapsed: 1, Acked: -5}, {Elapsed: 1},
		{Elapsed: 1, Acked: math.MaxInt64 / 4, Arrived: math.MaxInt64 / 4, RTT: math.MaxInt64, MinRTT: 1},
		{Elapsed: int64(roundLength), Retrans: math.MaxInt64 / 4, Segments: 1},
		{Elapsed: int64(roundLength), Spurious: math.MaxInt64 / 4, RTT: 1, MinRTT: math.MaxInt64},
	} {
		for _, held := range []int64{0, -1, math.MaxInt64} {
			f.c.Observe(d)
			f.now += int64(roundLength)
			f.c.Tick(Usage{Held: held}, f.now)
			s := f.c.State()
			if s.Target < s.Min || s.Target > s.Max || math.IsNaN(f.c.est.rate) || math.IsNaN(f.c.used) || math.IsNaN(f.c.queue) {
				t.Fatalf("%+v: %+v", d, s)
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	f := settled(t)
	var m Meter
	s := base()
	if n := testing.AllocsPerRun(1000, func() {
		s.BytesAcked += 400_000
		s.BytesSent += 400_000
		f.now += int64(roundLength)
		if d, ok := m.Update(&s, f.now); ok {
			f.c.Observe(d)
		}
		f.c.Tick(Usage{Held: 90e6}, f.now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := unsafe.Sizeof(Controller{}); n > 1536 {
		t.Errorf("a controller has %d bytes", n)
	}
	if n := unsafe.Sizeof(Meter{}); n > 160 {
		t.Errorf("a meter has %d bytes", n)
	}
}

func BenchmarkRound(b *testing.B) {
	f := settled(b)
	var m Meter
	s := base()
	b.ReportAllocs()
	for b.Loop() {
		s.BytesAcked += 400_000
		s.BytesSent += 400_000
		f.now += int64(roundLength)
		if d, ok := m.Update(&s, f.now); ok {
			f.c.Observe(d)
		}
		f.c.Tick(Usage{Held: 90e6}, f.now)
	}
}

// TestConnectionGone: what was observed of a connection stays good when it is
// closed before the tick, and rounds without any are not a line that is slow.
func TestConnectionGone(t *testing.T) {
	f := settled(t)
	before := f.c.Target()
	var m Meter
	a, b := base(), later()
	m.Update(&a, 0)
	d, ok := m.Update(&b, tenth)
	if !ok {
		t.Fatal("no delta")
	}
	f.c.Observe(d)
	m.Reset()
	f.now += int64(roundLength)
	f.c.Tick(Usage{}, f.now)
	bounds := f.c.State().Bounds
	for range 50 {
		f.now += int64(roundLength)
		f.c.Tick(Usage{Held: int64(roundLength)}, f.now)
	}
	if s := f.c.State(); s.Target != before || s.Bounds != bounds {
		t.Errorf("target %d, was %d; %+v", s.Target, before, s.Counters)
	}
}

func TestNames(t *testing.T) {
	for want, got := range map[string]interface{ String() string }{
		"half-open": HalfOpen, "steady": Steady, "took-back": TookBack, "ecn": CauseECN, "froze": Froze, "unknown": Stage(99),
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
