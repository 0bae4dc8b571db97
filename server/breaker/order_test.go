package breaker

import (
	"testing"
	"time"
)

// An order counts whatever is measured, for its time.
func TestForce(t *testing.T) {
	c := start(t, 2)
	c.Force(true, 10*time.Second, c.now)
	c.pass(9*time.Second, calm)
	c.want(Open, 2)
	if s := c.Status(c.now); !s.Forced || s.Ends != time.Second {
		t.Errorf("%+v", s)
	}
	if wait, ok := c.Admit(0, c.now); ok || wait != int64(time.Second) {
		t.Errorf("let in: %v, in %d ns", ok, wait)
	}
	c.pass(time.Second, calm)
	c.want(Closed, 0)
	c.Force(false, 0, c.now)
	c.pass(time.Hour, late)
	c.want(Closed, 0)
	c.Auto(c.now)
	c.pass(300*time.Millisecond, late)
	c.want(Open, 1)
	c.Force(false, time.Second, c.now)
	c.Expire(c.now)
	c.want(Closed, 0)
	if c.Expire(c.now + int64(time.Second)); c.Status(c.now).Forced {
		t.Error("an order outlives its time")
	}
	c.pass(300*time.Millisecond, late)
	c.want(Open, 1)
	c.Set(Config{}, 2, c.now)
	c.want(Closed, 0)
}

// Of the orders to two processes, one of which takes the place of the other, the last one counts, and ends when it would.
func TestObey(t *testing.T) {
	old, next := start(t, 2), start(t, 2)
	old.Force(true, 10*time.Second, old.now)
	next.now += int64(time.Second)
	next.Obey(old.Order(), next.now)
	next.want(Open, 2)
	born := start(t, 2)
	born.now = 1
	born.Obey(old.Order().Shift(born.now-next.now), born.now)
	born.want(Open, 2)
	born.Obey(Order{}, born.now)
	born.want(Open, 2)
	if next.Obey(old.Order(), next.now) != nil {
		t.Error("the same order again is a change")
	}
	next.Auto(next.now)
	next.Obey(old.Order(), next.now)
	next.want(Closed, 0)
	old.now = next.now + 1
	old.Force(true, 10*time.Second, old.now)
	next.Obey(old.Order(), next.now)
	next.pass(9*time.Second, calm)
	next.want(Open, 2)
	next.pass(2*time.Second, calm)
	next.want(Closed, 0)
	old.Obey(Order{At: old.now + 1, Forced: true, Open: true, Ends: old.now + 2}, old.now+3)
	old.want(Closed, 0)
}
