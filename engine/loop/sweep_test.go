package loop

import (
	"testing"

	"github.com/fserve/fserve/internal/aio"
)

// closingDriver is a driver that connections are only given back to.
type closingDriver struct {
	aio.Driver
	closed map[aio.Token]bool
}

func (d *closingDriver) Now() int64                { return 1 }
func (d *closingDriver) Close(t aio.Token, _ bool) { d.closed[t] = true }

// sweptLoop returns a loop with n connections that are never late.
func sweptLoop(n int) (*Loop, *closingDriver) {
	d := &closingDriver{closed: make(map[aio.Token]bool)}
	l := newLoop(Config{}.withDefaults(), d)
	for range n {
		slot, _ := l.conns.get(n)
		*l.conns.at(slot) = Conn{loop: l, token: l.conns.token(slot)}
	}
	return l, d
}

// TestSweepReachesAll: where turns take long and connections in the first slots are
// late in each of them, the one in the last slot is still ended soon.
func TestSweepReachesAll(t *testing.T) {
	l, d := sweptLoop(slab)
	late := func(i int) *Conn {
		c := &l.conns.slabs[0][i]
		c.state, c.deadline = connLingering, l.now
		return c
	}
	last := late(slab - 1)
	for turns := 0; !d.closed[last.token]; turns++ {
		if turns == 10 {
			t.Fatalf("after %d turns the last connection has not been ended", turns)
		}
		for i := range 2 * maxExpired {
			late(i)
		}
		l.now += l.sweeper.every
		l.tick()
	}
}

// TestSweepInParts: a turn looks at some of many connections only, does not sleep
// before all have had their turn, and the last one is found late as the first.
func TestSweepInParts(t *testing.T) {
	const parts = 5
	l, d := sweptLoop(parts * sweepPart)
	last := l.conns.at(parts*sweepPart - 1)
	last.state, last.deadline = connLingering, l.now
	l.now += l.sweeper.every
	for turn := range parts {
		l.tick()
		if looked := l.sweeper.slab*slab + l.sweeper.slot; looked != (turn+1)*sweepPart && l.sweeper.busy() {
			t.Errorf("turn %d: %d connections looked at", turn, looked)
		}
		if turn < parts-1 && (l.timeout() != 0 || d.closed[last.token]) {
			t.Errorf("turn %d: sleeps before the sweep is through", turn)
		}
	}
	if !d.closed[last.token] {
		t.Error("the last connection has not been ended")
	}
}
