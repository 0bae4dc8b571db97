package adapt

import (
	"slices"
	"testing"
	"time"
)

// lossy is a feed at 4 MB/s, settled, between 100 KB/s and 8 MB/s.
func lossy(t *testing.T) *feed {
	t.Helper()
	f := newFeed(t, Config{Min: 100_000, Max: 8_000_000, Start: 4_000_000})
	f.c.SetTarget(4_000_000)
	f.pass(4 * time.Second)
	return f
}

func (f *feed) stage() Stage { return f.c.State().Stage }

// trip makes ten seconds of 20 % loss, and a round for the sample to end.
func (f *feed) trip() {
	f.loss = 0.2
	f.pass(10*time.Second + roundLength)
	f.loss = 0
}

func TestBreakerTrips(t *testing.T) {
	f := lossy(t)
	healthy := f.c.Target()
	f.loss = 0.2
	f.pass(9900 * time.Millisecond)
	if k := f.takeEvents(); len(k) > 0 || f.stage() != Closed {
		t.Fatalf("before ten seconds: %v", k)
	}
	f.pass(200 * time.Millisecond)
	if len(f.events) != 1 || f.events[0].Kind != Tripped || f.stage() != Open {
		t.Fatalf("after ten seconds of 20 %% loss: %+v, %v", f.events, f.stage())
	}
	e := f.events[0]
	if alert, _ := e.P1(); alert || e.Trips != 1 || e.Loss < 0.19 || e.Loss > 0.21 {
		t.Errorf("%+v", e)
	}
	s := f.c.State()
	if want := int64(0.4 * float64(healthy)); s.Limit < want-want/50 || s.Limit > want+want/50 || s.Target > s.Limit {
		t.Errorf("target %d, limit %d: want 40 %% of %d", s.Target, s.Limit, healthy)
	}
	if s.Cuts[CauseBreaker] != 1 || s.Tripped != 1 || s.Frozen != 0 {
		t.Errorf("%+v", s.Counters)
	}
}

func TestBreakerTolerates(t *testing.T) {
	for _, loss := range []float64{0.1, 0.14} {
		f := lossy(t)
		f.loss = loss
		f.pass(5 * time.Minute)
		if k := f.takeEvents(); len(k) > 0 {
			t.Errorf("%v loss: %v", loss, k)
		}
	}
	// Four bad samples and a good one, over and over.
	f := lossy(t)
	for range 20 {
		f.loss = 0.3
		f.pass(8 * time.Second)
		f.loss = 0
		f.pass(2 * time.Second)
	}
	if k := f.takeEvents(); len(k) > 0 {
		t.Errorf("four in a row: %v", k)
	}
	// A handful of segments says nothing: five samples of 21 take half a second longer.
	f = newFeed(t, Config{Min: 100_000, Max: 8_000_000, Breaker: Breaker{MinSegments: 21}})
	f.rate, f.loss = 5*segment, 0.5 // one segment a round, twenty in two seconds
	f.pass(10400 * time.Millisecond)
	if k := f.takeEvents(); len(k) > 0 {
		t.Errorf("%d segments of 105: %v", 104, k)
	}
}

// trickle lets time go by with one segment every so often, as TCP sends in
// retransmission time-outs.
func (f *feed) trickle(d, every time.Duration) {
	rate := f.rate
	f.rate = 10 * segment
	for range int(d / every) {
		f.idle(every - roundLength)
		f.round()
	}
	f.rate = rate
}

// TestBreakerTripsOnATrickle: who loses so much that hardly anything is sent is judged
// too, by samples that last until they have segments enough.
func TestBreakerTripsOnATrickle(t *testing.T) {
	f := lossy(t)
	f.loss = 0.4
	f.trickle(95*time.Second, time.Second)
	if k := f.takeEvents(); len(k) > 0 {
		t.Errorf("after 95 of 100 segments: %v", k)
	}
	f.trickle(10*time.Second, time.Second)
	if k := f.takeEvents(); !slices.Equal(k, []Kind{Tripped}) {
		t.Errorf("%v", k)
	}
	f = lossy(t)
	f.loss = 0.1
	f.trickle(10*time.Minute, time.Second)
	if k := f.takeEvents(); len(k) > 0 {
		t.Errorf("10 %% loss: %v", k)
	}
}

// TestBreakerIsNotQuietOnATrickle: that too little is sent to judge by is no quiet
// time while what is sent is lost, but it is when nothing is.
func TestBreakerIsNotQuietOnATrickle(t *testing.T) {
	f := lossy(t)
	f.trip()
	f.takeEvents()
	f.loss = 1
	f.trickle(3*time.Minute, 10*time.Second) // 18 segments
	if k := f.takeEvents(); len(k) > 0 {
		t.Fatalf("while all is lost: %v", k)
	}
	f.idle(2*time.Minute + time.Second)
	if k := f.takeEvents(); !slices.Equal(k, []Kind{HalfOpened, Recovered}) {
		t.Errorf("after two minutes of nothing: %v", k)
	}
}

// TestBreakerHolds: while it is open nothing is probed, though all is well.
func TestBreakerHolds(t *testing.T) {
	f := lossy(t)
	f.trip()
	limit, before := f.c.State().Limit, f.c.Target()
	f.pass(55 * time.Second)
	if f.stage() != Open || f.c.Target() > before || f.c.Target() > limit {
		t.Errorf("%v, target %d, was %d, limit %d", f.stage(), f.c.Target(), before, limit)
	}
	if k := f.takeEvents(); !slices.Equal(k, []Kind{Tripped}) {
		t.Errorf("%v", k)
	}
}

// TestBreakerQuietsDown: a client that tripped once may be forgotten when that is so long
// ago that it does not count any more, and not before.
func TestBreakerQuietsDown(t *testing.T) {
	f := lossy(t)
	f.trip()
	memory := f.c.p.cfg.Breaker.Memory
	f.idle(memory - time.Minute)
	if f.stage() != Closed || f.c.Quiet() {
		t.Errorf("%v, quiet: %v a minute too early", f.stage(), f.c.Quiet())
	}
	f.idle(time.Minute + time.Second)
	if !f.c.Quiet() || f.c.State().Trips != 0 {
		t.Errorf("quiet: %v after %v, %d trips", f.c.Quiet(), memory, f.c.State().Trips)
	}
}

func TestBreakerCloses(t *testing.T) {
	f := lossy(t)
	f.trip()
	f.takeEvents()
	f.pass(time.Minute + time.Second)
	if k := f.takeEvents(); !slices.Equal(k, []Kind{HalfOpened}) {
		t.Fatalf("after one quiet minute: %v", k)
	}
	before := f.c.Target()
	f.pass(57 * time.Second)
	if f.stage() != HalfOpen || f.c.Target() <= before {
		t.Errorf("half-open: %v, target %d, was %d", f.stage(), f.c.Target(), before)
	}
	f.pass(3 * time.Second)
	if k := f.takeEvents(); !slices.Equal(k, []Kind{Recovered}) || f.stage() != Closed {
		t.Errorf("after two quiet minutes: %v, %v", k, f.stage())
	}
	if f.c.Quiet() {
		t.Error("a client that has tripped lately may be forgotten")
	}
}

// TestBreakerReopens: one anomaly is enough while it is half-open.
func TestBreakerReopens(t *testing.T) {
	f := lossy(t)
	f.trip()
	f.pass(70 * time.Second)
	f.takeEvents()
	f.loss = 0.2
	f.pass(4 * time.Second)
	f.loss = 0
	if k := f.takeEvents(); !slices.Equal(k, []Kind{Tripped}) || f.stage() != Open {
		t.Fatalf("%v, %v", k, f.stage())
	}
	f.pass(50 * time.Second)
	if f.stage() != Open {
		t.Error("the quiet time did not begin anew")
	}
	f.pass(80 * time.Second)
	if f.stage() != Closed {
		t.Errorf("%v", f.stage())
	}
}

func TestBreakerFreezes(t *testing.T) {
	f := lossy(t)
	for range 2 {
		f.trip()
		f.pass(125 * time.Second)
	}
	if k := f.takeEvents(); !slices.Equal(k, []Kind{Tripped, HalfOpened, Recovered, Tripped, HalfOpened, Recovered}) {
		t.Fatalf("%v", k)
	}
	f.loss = 0.2
	f.pass(10100 * time.Millisecond)
	f.loss = 0
	if len(f.events) != 1 || f.events[0].Kind != Froze || f.events[0].Trips != 3 {
		t.Fatalf("%+v", f.events)
	}
	if alert, firing := f.events[0].P1(); !alert || !firing {
		t.Error("no P1 alert")
	}
	f.takeEvents()
	for range 295 {
		f.pass(time.Second)
		if f.c.Target() != 100_000 {
			t.Fatalf("frozen, at %d", f.c.Target())
		}
	}
	f.pass(10 * time.Second)
	if len(f.events) != 1 || f.events[0].Kind != Thawed || f.stage() != HalfOpen {
		t.Fatalf("%+v, %v", f.events, f.stage())
	}
	if alert, firing := f.events[0].P1(); !alert || firing {
		t.Error("the P1 alert is not resolved")
	}
	f.pass(2 * time.Minute)
	if f.stage() != Closed || f.c.Target() < 1_000_000 || !f.c.Quiet() {
		t.Errorf("%v, target %d, quiet %t", f.stage(), f.c.Target(), f.c.Quiet())
	}
}

// TestBreakerForgets: trips that are long past do not count.
func TestBreakerForgets(t *testing.T) {
	f := lossy(t)
	for range 4 {
		f.trip()
		f.pass(31 * time.Minute)
	}
	if s := f.c.State(); s.Frozen != 0 || s.Tripped != 4 {
		t.Errorf("%+v", s.Counters)
	}
}

// TestBreakerAndIdleness: rounds without samples let time pass, gaps do not.
func TestBreakerAndIdleness(t *testing.T) {
	f := lossy(t)
	f.trip()
	f.now += int64(time.Hour)
	f.c.Tick(Usage{}, f.now)
	f.round()
	if f.stage() != Open {
		t.Fatalf("an hour's jump made it %v", f.stage())
	}
	f.idle(130 * time.Second)
	if f.stage() != Closed {
		t.Errorf("idle for 130 s: %v", f.stage())
	}
}
