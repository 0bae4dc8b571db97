package adapt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// simSeeds is how many random scenarios are run: FSERVE_SIM_SEEDS, or 300.
func simSeeds(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("FSERVE_SIM_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 20
	}
	return 300
}

// TestRandomScenarios checks on lines of every kind what must hold on all of
// them. FSERVE_ADAPT_SEED runs one again and shows it.
func TestRandomScenarios(t *testing.T) {
	if s := os.Getenv("FSERVE_ADAPT_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w := randomScenario(t, seed)
		w.clients[0].dump(t, 1)
		return
	}
	began, n := time.Now(), simSeeds(t)
	for seed := range n {
		randomScenario(t, seed)
		if t.Failed() {
			t.Fatalf("FSERVE_ADAPT_SEED=%d runs this again", seed)
		}
	}
	t.Logf("%.0f scenarios a second", float64(n)/time.Since(began).Seconds())
}

// randomScenario runs up to half a minute of one.
func randomScenario(t *testing.T, seed uint64) *simWorld {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 99))
	between := func(low, high float64) float64 { return low * math.Pow(high/low, rng.Float64()) }
	capacity := make([]float64, 0, 8)
	for at := 0.0; at < 20; at += 2 + 10*rng.Float64() {
		capacity = append(capacity, at, between(1, 400)*mbit)
	}
	line := simLine{capacity: steps(capacity...), delay: between(0.002, 0.3), room: between(0.002, 0.5) * capacity[1]}
	switch rng.IntN(4) {
	case 0:
		line.loss = between(1e-4, 0.3)
	case 1:
		line.burstEvery, line.burstLast, line.burstLoss = between(0.01, 2), between(0.01, 3), rng.Float64()
	case 2:
		line.mark = line.room * rng.Float64()
	}
	w := newWorld(seed, line)
	w.paced = rng.IntN(2) == 0
	cfg := Config{Min: int64(between(1e4, 1e6))}
	cfg.Max = cfg.Min + int64(between(1e4, 1e8))
	cfg.Start = cfg.Min + rng.Int64N(cfg.Max-cfg.Min)
	cc := congestions["cubic"]
	if rng.IntN(2) == 0 {
		cc = congestions["bbr"]
	}
	for range 1 + rng.IntN(2) {
		w.client(policyOf(t, cfg), 1+rng.IntN(3), cc)
	}
	if rng.IntN(3) == 0 {
		w.client(nil, 1, congestions["cubic"])
	}
	for range 10 + rng.IntN(10) {
		w.disturb(rng)
		w.run(1)
		for _, c := range w.clients {
			c.check(t, w)
		}
	}
	return w
}

// disturb now and then makes a reader slow, a connection silent, or the clock jump.
func (w *simWorld) disturb(rng *rand.Rand) {
	c := w.clients[rng.IntN(len(w.clients))]
	s := c.conns[rng.IntN(len(c.conns))]
	switch rng.IntN(12) {
	case 0:
		s.reader = rng.Float64() * 10 * mbit
	case 1:
		s.reader, s.atPeer = 0, 0
	case 2:
		s.stopped = !s.stopped
	case 3:
		w.offset += int64((rng.Float64() - 0.5) * 1e10)
	case 4: // the connection is another one now
		s.base = uint64(rng.Uint32())
	}
}

// check is what must hold at any time.
func (c *simClient) check(t *testing.T, w *simWorld) {
	t.Helper()
	for _, s := range c.conns {
		// What was sent has arrived, is under way, or is lost and waits to be found
		// lost, to be repeated, or was repeated.
		sum := s.ackedTotal + s.share + s.repeat + s.repeatTotal
		for i := range s.acks {
			sum += s.acks[i] + s.losses[i]
		}
		if math.Abs(sum-s.sentTotal) > 1e-6*s.sentTotal+1 {
			t.Errorf("the simulator has lost count: sent %.0f, accounted for %.0f", s.sentTotal, sum)
		}
	}
	if c.ctl == nil {
		return
	}
	s := c.ctl.State()
	fault := func(format string, args ...any) {
		t.Errorf("at %.1f s: %s\n%+v", w.now, fmt.Sprintf(format, args...), s)
	}
	if s.Target < s.Min || s.Target > s.Limit || s.Limit > s.Max {
		fault("target outside its bounds")
	}
	if s.Estimate < 0 || s.Estimate > MaxRate || s.Queue < 0 || s.SRTT < 0 || s.Background < 0 || s.Background > 0.1 {
		fault("state out of range")
	}
	for name, v := range map[string]float64{"target": c.ctl.target, "used": c.ctl.used, "estimate": c.ctl.est.rate, "queue": c.ctl.queue,
		"goal": c.ctl.goal, "knee": c.ctl.knee, "edge": c.ctl.slow.edge, "step": c.ctl.slow.step} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			fault("%s is %v", name, v)
		}
	}
	if s.Stage == Frozen && s.Target != s.Min {
		fault("frozen above the floor")
	}
	if p := c.ctl.PacingRate(len(c.conns)); p != 0 && p < s.Target/int64(len(c.conns)) {
		fault("pacing %d alone would limit", p)
	}
}

// TestDeterminism: the same seed gives the same run, to the byte.
func TestDeterminism(t *testing.T) {
	a, b := randomScenario(t, 4711), randomScenario(t, 4711)
	for i := range a.clients {
		x, y := a.clients[i].trace, b.clients[i].trace
		if len(x) != len(y) || x[len(x)-1] != y[len(y)-1] {
			t.Errorf("client %d: %+v, then %+v", i, x[len(x)-1], y[len(y)-1])
		}
	}
}
