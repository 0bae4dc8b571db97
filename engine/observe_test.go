package engine

import (
	"testing"
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

// While a response waits for its turn, it is counted as such and is found; when
// all is over nothing is left in the counters.
func TestObserve(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind DriverKind) {
		testenv.LeakCheck(t)
		const size = 8 << 20
		e := startEngine(t, kind, Config{Loops: 2, Limits: &shape.Config{}, Sample: true})
		e.file(t, "big", size)
		pause := func(r shape.Rate) {
			if _, err := e.Limits().SetGlobal(shape.Limit{Rate: r}); err != nil {
				t.Fatal(err)
			}
		}
		pause(shape.Paused)
		c := e.dial(t)
		if _, err := c.Write([]byte("big\n")); err != nil {
			t.Fatal(err)
		}
		sums := func() (sending, waiting int) {
			for _, s := range e.Stats() {
				sending, waiting = sending+s.Sending, waiting+s.Waiting
			}
			return sending, waiting
		}
		if !testenv.Eventually(patience, func() bool { s, w := sums(); return s == 1 && w == 1 }) {
			s, w := sums()
			t.Fatalf("%d responses under way, %d wait; want 1, 1", s, w)
		}
		for _, order := range []loop.ConnOrder{loop.ByRate, loop.ByAge, loop.ByWait} {
			list, open := e.Connections(order, 10)
			if open != 1 || len(list) != 1 || !list[0].Sending || !list[0].Waiting || list[0].File != "big" || list[0].Left <= 0 {
				t.Errorf("order %d: %d open: %+v", order, open, list)
			}
		}
		pause(shape.Unlimited)
		got := 0
		for got < size {
			n, err := c.Read(c.buf)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if !testenv.Eventually(patience, func() bool { s, w := sums(); return s == 0 && w == 0 }) {
			s, w := sums()
			t.Errorf("%d responses under way, %d wait; want none", s, w)
		}
		list, _ := e.Connections(loop.ByAge, 10)
		if len(list) != 1 || list[0].Sending || list[0].Requests != 1 || list[0].Age <= 0 || list[0].Age > time.Hour {
			t.Errorf("%+v", list)
		}
		c.Close()
	})
}
