package adapt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// What the issue asks to be shown, in the simulator. Everything is determined
// by the seeds: a test that fails, fails again.

// skipShort leaves a simulation out of the race detector's run: it is one goroutine.
func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a simulation of one goroutine")
	}
}

// simPath is a line's shape: round trip and room of the queue, both in s.
type simPath struct{ delay, room float64 }

// paths are a near and a far one, each with a queue of about a round-trip and of more.
var paths = []simPath{{0.005, 0.010}, {0.005, 0.030}, {0.020, 0.020}, {0.020, 0.060}, {0.060, 0.060}}

// eachCase runs a test for each sender and path and so many connections.
func eachCase(t *testing.T, run func(t *testing.T, cc func() congestion, p simPath, conns int)) {
	t.Helper()
	for name, cc := range congestions {
		for _, p := range paths {
			for _, conns := range []int{1, 4} {
				t.Run(fmt.Sprintf("%s/%gms/%gms/%d", name, p.delay*1e3, p.room*1e3, conns), func(t *testing.T) {
					run(t, cc, p, conns)
				})
			}
		}
	}
}

// TestCapacitySteps: 100 -> 40 -> 100 Mbit/s.
func TestCapacitySteps(t *testing.T) {
	skipShort(t)
	eachCase(t, func(t *testing.T, cc func() congestion, p simPath, conns int) {
		w := newWorld(1, simLine{capacity: steps(0, 100*mbit, 20, 40*mbit, 40, 100*mbit), delay: p.delay, room: p.room * 100 * mbit})
		c := w.client(testPolicy(t), conns, cc)
		w.run(80)
		for from := 23.0; from < 40; from++ {
			if got := mean(c.between(from, from+1), targetOf); got > 1.05*40*mbit {
				t.Errorf("target %.1f Mbit/s at %v s, of 40", got/mbit, from)
			}
		}
		if got := mean(c.between(58, 60), rateOf); got < 90*mbit {
			t.Errorf("%.1f Mbit/s after 20 s, of 100", got/mbit)
		}
		if t.Failed() {
			c.dump(t, 2)
		}
	})
}

// TestOscillation: a line that does not change, for two minutes.
func TestOscillation(t *testing.T) {
	skipShort(t)
	eachCase(t, func(t *testing.T, cc func() congestion, p simPath, conns int) {
		w := newWorld(2, simLine{capacity: constant(60 * mbit), delay: p.delay, room: p.room * 60 * mbit})
		c := w.client(testPolicy(t), conns, cc)
		w.run(140)
		var seconds []float64
		for s := 20.0; s < 140; s++ {
			seconds = append(seconds, mean(c.between(s, s+1), rateOf))
		}
		avg, dev := meanAndDeviation(seconds)
		if dev > 0.08*avg {
			t.Errorf("standard deviation of seconds %.1f %% of the mean", 100*dev/avg)
		}
		if avg < 0.93*60*mbit {
			t.Errorf("mean %.1f Mbit/s, of 60", avg/mbit)
		}
		if t.Failed() {
			c.dump(t, 5)
		}
	})
}

func meanAndDeviation(values []float64) (avg, dev float64) {
	for _, v := range values {
		avg += v / float64(len(values))
	}
	for _, v := range values {
		dev += (v - avg) * (v - avg) / float64(len(values))
	}
	return avg, math.Sqrt(dev)
}

// naps are pauses of an origin that shares its processor with busy jobs: it runs for about
// as long as it has to wait, in turns of some ms, and now and then for far longer.
func naps(seed uint64) func() int {
	r := rand.New(rand.NewPCG(seed, 9))
	return func() int {
		switch {
		case r.IntN(200) == 0:
			return 50 + r.IntN(100)
		case r.IntN(28) == 0:
			return 4 + r.IntN(20)
		}
		return 0
	}
}

// TestStarved: an origin that gets its processor late sends less than the line carries at
// times. That is no news of the line: the target stays where the line is.
func TestStarved(t *testing.T) {
	skipShort(t)
	eachCase(t, func(t *testing.T, cc func() congestion, p simPath, conns int) {
		const rate = 40 * mbit
		w := newWorld(11, simLine{capacity: constant(rate), delay: p.delay, room: p.room * 100 * mbit})
		c := w.client(testPolicy(t), conns, cc)
		w.run(20)
		w.starved = naps(12)
		before := c.ctl.State().Cuts
		w.run(60)
		cuts, low, high := c.ctl.State().Cuts, math.Inf(1), 0.0
		for s := 25.0; s < 80; s++ {
			got := mean(c.between(s, s+1), targetOf)
			low, high = min(low, got), max(high, got)
		}
		if cuts != before { // what a burst after a pause loses is lost like anything else
			low = rate
		}
		if low < 0.85*rate || high > 1.2*rate {
			t.Errorf("targets from %.1f to %.1f Mbit/s, of 40", low/mbit, high/mbit)
		}
		if t.Failed() {
			c.dump(t, 5)
		}
	})
}

// TestStarvedFindsMore: when a near line grows that such an origin feeds, the target does.
func TestStarvedFindsMore(t *testing.T) {
	skipShort(t)
	eachCase(t, func(t *testing.T, cc func() congestion, p simPath, conns int) {
		if p.delay > 0.005 {
			t.Skip("farther away it takes minutes")
		}
		w := newWorld(11, simLine{capacity: steps(0, 40*mbit, 30, 100*mbit), delay: p.delay, room: p.room * 100 * mbit})
		c := w.client(testPolicy(t), conns, cc)
		w.run(20)
		w.starved = naps(12)
		w.run(40)
		if got := mean(c.between(55, 60), targetOf); got < 60*mbit {
			t.Errorf("target %.1f Mbit/s after 25 s, of 100", got/mbit)
			c.dump(t, 5)
		}
	})
}

// TestEstimate: of a line that is the limit, two seconds after it has been filled,
// and two seconds after it has changed.
func TestEstimate(t *testing.T) {
	skipShort(t)
	eachCase(t, func(t *testing.T, cc func() congestion, p simPath, conns int) {
		capacity := steps(0, 60*mbit, 10, 30*mbit)
		w := newWorld(3, simLine{capacity: capacity, delay: p.delay, room: p.room * 60 * mbit})
		c := w.client(policyOf(t, Config{Min: 1 << 17, Max: 50 << 20, Start: 20 << 20}), conns, cc)
		w.run(14)
		full, row := 0.0, 0
		for _, p := range c.trace {
			if row++; p.rate < 0.9*60*mbit {
				row = 0
			}
			if row == 5 && full == 0 {
				full = p.at
			}
		}
		checks := []float64{12}
		if p.delay <= 0.02 { // on a far line, TCP alone takes longer to fill it after its first losses
			checks = append(checks, full+2)
			if full == 0 || full > 7 {
				t.Errorf("the line was full at %v s", full)
			}
		}
		for _, at := range checks {
			got, want := c.between(at-0.05, at+0.05)[0].estimate, capacity(at)
			if math.Abs(got-want) > 0.1*want {
				t.Errorf("at %v s: estimate %.1f Mbit/s, of %.1f", at, got/mbit, want/mbit)
			}
		}
		if t.Failed() {
			c.dump(t, 1)
		}
	})
}

// TestFairness: four clients on one bottleneck, with and without random loss.
func TestFairness(t *testing.T) {
	skipShort(t)
	for name, cc := range congestions {
		for _, p := range paths {
			for _, loss := range []float64{0, 0.0005} {
				if loss > 0 && p.delay > 0.02 {
					continue // far away, chance alone makes cubic unfair
				}
				w := newWorld(4, simLine{capacity: constant(100 * mbit), delay: p.delay, room: p.room * 100 * mbit, loss: loss})
				for range 4 {
					w.client(testPolicy(t), 1, cc)
				}
				w.run(60)
				if j := jain(w.clients, 50, 60); j < 0.95 {
					t.Errorf("%s %+v loss %v: Jain's index %.3f in the end", name, p, loss, j)
				}
				if j := jain(w.clients, 10, 20); j < 0.95 && loss == 0 {
					t.Errorf("%s %+v loss %v: Jain's index %.3f", name, p, loss, j)
				}
			}
		}
	}
}

// jain is the fairness index of what clients got in a time.
func jain(clients []*simClient, from, to float64) float64 {
	sum, squares := 0.0, 0.0
	for _, c := range clients {
		r := mean(c.between(from, to), rateOf)
		sum += r
		squares += r * r
	}
	return sum * sum / float64(len(clients)) / squares
}

// TestHourWithoutDrift: +5/-3 for an hour.
func TestHourWithoutDrift(t *testing.T) {
	skipShort(t)
	for name, cc := range congestions {
		w := newWorld(5, simLine{capacity: constant(40 * mbit), delay: 0.02, room: 0.03 * 40 * mbit, loss: 0.0001})
		c := w.client(testPolicy(t), 1, cc)
		w.run(3600)
		for from := 60.0; from < 3600; from += 590 {
			if got := mean(c.between(from, from+590), targetOf); math.Abs(got-40*mbit) > 0.05*40*mbit {
				t.Errorf("%s: mean target %.1f Mbit/s from %v s on, of 40", name, got/mbit, from)
			}
		}
	}
}

// TestSlowReader: it is not taken for a slow line, and when it gets faster there is
// no target to be found anew.
func TestSlowReader(t *testing.T) {
	skipShort(t)
	for name, cc := range congestions {
		w := newWorld(6, simLine{capacity: constant(80 * mbit), delay: 0.02, room: 0.04 * 80 * mbit})
		c := w.client(testPolicy(t), 1, cc)
		w.run(20)
		before := mean(c.between(15, 20), targetOf)
		c.conns[0].reader = 10 * mbit
		w.run(40)
		c.conns[0].reader = 0
		c.conns[0].atPeer = 0
		w.run(5)
		if got := mean(c.between(50, 60), targetOf); got < 0.95*before {
			t.Errorf("%s: target %.1f Mbit/s, was %.1f", name, got/mbit, before/mbit)
		}
		if got := mean(c.between(62, 65), rateOf); got < 0.9*before {
			t.Errorf("%s: afterwards %.1f Mbit/s, was %.1f", name, got/mbit, before/mbit)
		}
		if t.Failed() {
			c.dump(t, 5)
		}
	}
}

// TestCompetingTraffic: beside a connection that fills the queue, as most do, a
// client gets a good part of what it would get unlimited. One that yields to every
// queue would get nothing.
func TestCompetingTraffic(t *testing.T) {
	skipShort(t)
	for _, p := range []simPath{{0.005, 0.005}, {0.005, 0.02}, {0.02, 0.02}} {
		w := newWorld(7, simLine{capacity: constant(100 * mbit), delay: p.delay, room: p.room * 100 * mbit})
		c := w.client(testPolicy(t), 1, congestions["cubic"])
		w.client(nil, 1, congestions["cubic"])
		w.run(60)
		if got := mean(c.between(30, 60), rateOf); got < 0.6*50*mbit {
			t.Errorf("%+v: %.1f Mbit/s, of 50", p, got/mbit)
			c.dump(t, 5)
		}
	}
}

// TestOtherTrafficComesAndGoes: something that does not yield takes half the line for a while.
func TestOtherTrafficComesAndGoes(t *testing.T) {
	skipShort(t)
	for name, cc := range congestions {
		// To the client it is a line of half the capacity.
		w := newWorld(8, simLine{capacity: steps(0, 80*mbit, 20, 40*mbit, 30, 80*mbit), delay: 0.02, room: 0.04 * 80 * mbit})
		c := w.client(testPolicy(t), 2, cc)
		w.run(60)
		if got := mean(c.between(50, 60), rateOf); got < 0.9*80*mbit {
			t.Errorf("%s: %.1f Mbit/s, of 80", name, got/mbit)
			c.dump(t, 5)
		}
	}
}

// TestRetransmits: on a line whose queue is short and shared, with some loss, against
// the same connections unlimited.
func TestRetransmits(t *testing.T) {
	skipShort(t)
	for _, p := range []simPath{{0.002, 0.006}, {0.005, 0.008}, {0.005, 0.012}} {
		var repeated, got [2]float64
		for i, policy := range []*Policy{nil, testPolicy(t)} {
			w := newWorld(9, simLine{capacity: constant(40 * mbit), delay: p.delay, room: p.room * 40 * mbit, loss: 0.0005})
			c := w.client(policy, 16, congestions["cubic"])
			w.run(60)
			ps := c.between(10, 60)
			repeated[i], got[i] = mean(ps, repeatedOf), mean(ps, rateOf)
		}
		t.Logf("%+v: repetitions %.2f, goodput %.2f of unlimited", p, repeated[1]/repeated[0], got[1]/got[0])
		if repeated[1] > 0.7*repeated[0] || got[1] < 0.9*got[0] {
			t.Errorf("%+v: repetitions %.2f, goodput %.2f of unlimited", p, repeated[1]/repeated[0], got[1]/got[0])
		}
	}
}

// TestRandomLossIsBorne: where loss is by chance it costs little more than it
// costs the connections themselves.
func TestRandomLossIsBorne(t *testing.T) {
	skipShort(t)
	for name, cc := range congestions {
		for _, l := range []simLine{{loss: 0.001}, {loss: 0.01}, {loss: 0.03}, {burstEvery: 0.2, burstLast: 0.05, burstLoss: 0.3}} {
			var got [2]float64
			for i, policy := range []*Policy{nil, testPolicy(t)} {
				line := l
				line.capacity, line.delay, line.room = constant(40*mbit), 0.02, 0.04*40*mbit
				w := newWorld(10, line)
				c := w.client(policy, 2, cc)
				w.run(90)
				got[i] = mean(c.between(10, 90), rateOf)
			}
			t.Logf("%s %+v: %.2f of %.1f Mbit/s", name, l, got[1]/got[0], got[0]/mbit)
			least := 0.9
			if l.burstEvery > 0 {
				least = 0.75 // each burst is taken for congestion once
			}
			if got[1] < least*got[0] {
				t.Errorf("%s %+v: %.2f of unlimited", name, l, got[1]/got[0])
			}
		}
	}
}

// TestSimulatedMarks: a line that marks instead of losing is kept without loss.
func TestSimulatedMarks(t *testing.T) {
	skipShort(t)
	w := newWorld(11, simLine{capacity: steps(0, 80*mbit, 20, 30*mbit), delay: 0.02, room: 0.2 * 80 * mbit, mark: 0.01 * 80 * mbit})
	c := w.client(testPolicy(t), 1, congestions["cubic"])
	w.run(50)
	s := c.ctl.State()
	if s.Cuts[CauseECN] == 0 {
		t.Errorf("no cut by marks: %+v", s.Counters)
	}
	if got := mean(c.between(30, 50), rateOf); got < 0.8*30*mbit {
		t.Errorf("%.1f Mbit/s, of 30", got/mbit)
	}
}

// TestJumpsInTheSimulator: a clock that jumps every few seconds does not matter.
func TestJumpsInTheSimulator(t *testing.T) {
	skipShort(t)
	rng := rand.New(rand.NewPCG(12, 12))
	w := newWorld(12, simLine{capacity: constant(50 * mbit), delay: 0.02, room: 0.04 * 50 * mbit})
	c := w.client(testPolicy(t), 2, congestions["cubic"])
	w.run(20)
	for range 20 {
		w.offset += int64((rng.Float64() - 0.5) * 1e11)
		w.run(3)
	}
	ps := c.between(20, 80)
	if got := mean(ps, rateOf); got < 0.9*50*mbit {
		t.Errorf("%.1f Mbit/s, of 50", got/mbit)
	}
	for _, p := range ps {
		if p.target > 1.1*50*mbit || p.target < 0.4*50*mbit {
			t.Errorf("target %.1f Mbit/s at %.1f s", p.target/mbit, p.at)
		}
	}
}
