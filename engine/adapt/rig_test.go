package adapt

import (
	"math"
	"testing"
	"time"
)

// policyOf returns a policy or ends the test.
func policyOf(t testing.TB, cfg Config) *Policy {
	t.Helper()
	p, err := NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// testPolicy has bounds that do not interfere: 1 Mbit/s to 400 Mbit/s.
func testPolicy(t testing.TB) *Policy {
	t.Helper()
	return policyOf(t, Config{Min: 1 << 17, Max: 50 << 20})
}

// congestions are the senders of the simulator.
var congestions = map[string]func() congestion{
	"cubic": func() congestion { return newCubic() },
	"bbr":   func() congestion { return &bbr{} },
}

// feed drives a controller without a simulator: rounds of 100 ms in which all that
// the target lets in is sent.
type feed struct {
	c      *Controller
	now    int64
	events []Event

	rtt, queue time.Duration
	loss       float64 // part of the segments
	spurious   float64 // part of the repetitions
	marks      int64   // segments
	rate       float64 // of what is sent, bytes/s; 0: the target
	held       float64 // part of the time
	line       bool    // the line is the limit
	reader     bool
}

func newFeed(t testing.TB, cfg Config) *feed {
	t.Helper()
	return &feed{c: New(policyOf(t, cfg)), rtt: 20 * time.Millisecond, held: 0.9}
}

const roundLength = 100 * time.Millisecond

// round passes 100 ms.
func (f *feed) round() {
	rate := f.rate
	if rate == 0 {
		rate = float64(f.c.Target())
	}
	sent := int64(rate / 10)
	lost := int64(math.Round(float64(sent) * f.loss))
	f.now += int64(roundLength)
	f.c.Observe(Delta{
		Elapsed: int64(roundLength), Acked: sent - lost, Arrived: sent - lost, Sent: sent, Retrans: lost,
		Spurious: int64(float64(lost) * f.spurious), Segments: (sent + segment - 1) / segment, CE: f.marks,
		RTT: int64(f.rtt + f.queue), MinRTT: int64(f.rtt), MSS: segment, Rate: sent * 10,
		AppLimited: !f.line, Reader: f.reader,
	})
	f.tick(f.held)
}

// tick ends a round of which connections waited for tokens for a part.
func (f *feed) tick(held float64) {
	if e := f.c.Tick(Usage{Held: int64(held * float64(roundLength))}, f.now); e.Kind != None {
		f.events = append(f.events, e)
	}
}

// idle lets time go by in which nothing is sent.
func (f *feed) idle(d time.Duration) {
	for range int(d / roundLength) {
		f.now += int64(roundLength)
		f.tick(0)
	}
}

// pass lets time go by.
func (f *feed) pass(d time.Duration) {
	for range int(d / roundLength) {
		f.round()
	}
}

// takeEvents returns the kinds of the events so far and forgets them.
func (f *feed) takeEvents() (kinds []Kind) {
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	f.events = nil
	return kinds
}
