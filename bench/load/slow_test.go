package load

import (
	"testing"
	"time"
)

// A server that gives a request a tenth of a second to arrive ends the slow
// connections, which are opened anew, and answers the others meanwhile.
func TestTrickle(t *testing.T) {
	o := newOriginWith(t, map[string]int{"/f": 1 << 10}, 100*time.Millisecond)
	c := o.config(Timed, "/f", 1<<10)
	c.Groups[0].Every = 2 * time.Millisecond
	slow := Group{Mode: Trickle, Conns: 40, Path: "/f", BodyLen: 1 << 10, Clients: 3}
	c.Groups = append(c.Groups, slow)
	c.Spread, c.Measure, c.Memory = 300*time.Millisecond, 600*time.Millisecond, true
	for _, c.Spin = range []bool{false, true} {
		before := o.opened.Load()
		res, err := run(t, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		cut := res.Groups[1].Cut
		if res.Groups[0].Requests < 1 || cut < 1 || res.ServerRSS < 1<<20 || res.Seconds < 0.6 {
			t.Errorf("%+v", res)
		}
		if n := o.settle(before+43+cut) - before; n < 43+cut {
			t.Errorf("%d connections for 43 and %d anew", n, cut)
		}
	}
	c.Groups = append(c.Groups, slow)
	if err := c.validate(); err == nil {
		t.Error("two groups trickle")
	}
}

// The bytes of slow connections are due in turn, each as long after its last
// one as all others.
func TestDueRing(t *testing.T) {
	q := dueRing{ring: make([]slowDue, 3)}
	if q.first().at < 1<<62 {
		t.Errorf("an empty queue has %v", q.first())
	}
	for i := range 3 {
		q.push(slowDue{int64(10 * i), i})
	}
	for i := range 10 {
		d := q.first()
		if want := (slowDue{int64(10*(i%3) + 100*(i/3)), i % 3}); d != want {
			t.Fatalf("turn %d: %v, want %v", i, d, want)
		}
		q.pop()
		q.push(slowDue{d.at + 100, d.id})
	}
}
