package load

import (
	"strings"
	"testing"
	"time"
)

// A server that gives a request a tenth of a second to arrive ends the slow
// connections, which are opened anew, and answers the others meanwhile.
func TestTrickle(t *testing.T) {
	o := newOriginWith(t, map[string]int{"/f": 1 << 10}, 100*time.Millisecond)
	c := o.config(Trickle, "/f", 1<<10)
	c.Rate, c.Slow, c.Ramp, c.Measure, c.Sources = 500, 40, 300*time.Millisecond, 600*time.Millisecond, 3
	for _, c.Spin = range []bool{false, true} {
		before := o.opened.Load()
		res, err := run(t, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Requests < 1 || res.Cut < 1 || res.ServerRSS < 1<<20 || res.Seconds < 0.6 {
			t.Errorf("%+v", res)
		}
		if n := o.settle(before+43+res.Cut) - before; n < 43+res.Cut {
			t.Errorf("%d connections for 43 and %d anew", n, res.Cut)
		}
	}
	c.Slow = 0
	if res, err := run(t, c, nil); err != nil || res.Cut != 0 || res.Requests < 1 {
		t.Errorf("alone: %+v, error %v", res, err)
	}
}

// The bytes of slow connections are due in turn, each as long after its last
// one as all others.
func TestDueRing(t *testing.T) {
	q := dueRing{ring: make([]trickleDue, 3)}
	if q.first().at < 1<<62 {
		t.Errorf("an empty queue has %v", q.first())
	}
	for i := range 3 {
		q.push(trickleDue{int64(10 * i), i})
	}
	for i := range 10 {
		d := q.first()
		if want := (trickleDue{int64(10*(i%3) + 100*(i/3)), i % 3}); d != want {
			t.Fatalf("turn %d: %v, want %v", i, d, want)
		}
		q.pop()
		q.push(trickleDue{d.at + 100, d.id})
	}
}

func TestPartRequests(t *testing.T) {
	if got := RangeValue(100, 10, 3); got != "bytes=100-109,120-129,140-149" {
		t.Error(got)
	}
	c := Config{Addr: "h", Parts: 3, PartLen: 10, RangeFrom: 100, RangeOf: 200}
	seen := make(map[string]bool)
	for _, raw := range c.partRequests("/f", "") {
		_, field, _ := strings.Cut(string(raw), "\r\nRange: bytes=")
		value, _, _ := strings.Cut(field, "\r\n")
		seen[value] = true
	}
	// Positions from 100 to 150: all that fit, and no others.
	if len(seen) != 51 || !seen["100-109,120-129,140-149"] || !seen["150-159,170-179,190-199"] {
		t.Errorf("%d different requests", len(seen))
	}
}

// Requests for several ranges are answered, and a body of another length is found out.
func TestParts(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 20})
	c := o.config(Closed, "/f", 1)
	c.Parts, c.PartLen, c.RangeFrom, c.RangeOf = 4, 1000, 100_000, 1_000_000
	_, err := run(t, c, nil)
	if err == nil || !strings.Contains(err.Error(), "instead of 1") {
		t.Fatalf("error %v", err)
	}
	if c.RangeOf = c.RangeFrom + 6999; c.validate() == nil {
		t.Error("ranges that do not fit are accepted")
	}
}
