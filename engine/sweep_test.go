package engine

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

// TestSweepReachesAll: where turns take long and connections in the first slots are
// late in each of them, the one in the last slot is still ended soon.
func TestSweepReachesAll(t *testing.T) {
	d := &closingDriver{closed: make(map[aio.Token]bool)}
	l := newLoop(&Engine{cfg: Config{}.withDefaults()}, 0, d)
	for range slab {
		slot, _ := l.conns.get(slab)
		*l.conns.at(slot) = Conn{loop: l, token: l.conns.token(slot)}
	}
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
		l.now += l.sweepEvery
		l.tick()
	}
}
