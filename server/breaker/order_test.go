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
