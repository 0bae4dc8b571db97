package breaker

import (
	"testing"
	"time"
)

// clock is a breaker and the time of its readings.
type clock struct {
	*Breaker
	t   *testing.T
	now int64
}

func start(t *testing.T, tiers int) *clock {
	c := &clock{Breaker: new(Breaker), t: t, now: int64(time.Hour)}
	c.Set(Config{LoopLag: 50 * time.Millisecond, Descriptors: 0.95, Memory: 0.9, Profiles: []string{"emergency"}}, tiers, c.now)
	return c
}

// pass lets a time pass in which all readings are r, and returns the changes.
func (c *clock) pass(d time.Duration, r Readings) (changes []Change) {
	for end := c.now + int64(d); c.now < end; {
		c.now += int64(Every)
		if ch := c.Note(c.now, &r); ch != nil {
			changes = append(changes, *ch)
		}
	}
	return changes
}

// want fails the test unless the breaker is in a state.
func (c *clock) want(s State, refused int) {
	c.t.Helper()
	if at := c.get(); at.state != s || at.refused != refused || c.Refuses() != (s != Closed) {
		c.t.Fatalf("%v, %d tiers refused, want %v, %d", at.state, at.refused, s, refused)
	}
}

// in returns how many of 100 requests of a tier are let in.
func (c *clock) in(rank int) (n int) {
	for range 100 {
		if wait, ok := c.Admit(rank, c.now); ok {
			n++
		} else if wait < int64(time.Second) {
			c.t.Fatalf("come again in %d ns", wait)
		}
	}
	return n
}

var (
	calm = Readings{LoopLag: time.Millisecond, Descriptors: 0.5, Memory: 0.5}
	late = Readings{LoopLag: 80 * time.Millisecond, Descriptors: 0.5, Memory: 0.5}
)

// One more tier is refused each second while it is too much, and one fewer each five once it is not.
func TestTiersAreRefusedFromTheLowest(t *testing.T) {
	c := start(t, 3)
	c.pass(200*time.Millisecond, late)
	c.want(Closed, 0) // it may be a moment
	c.pass(100*time.Millisecond, calm)
	c.pass(200*time.Millisecond, late)
	c.want(Closed, 0)
	if ch := c.pass(100*time.Millisecond, late); len(ch) != 1 || ch[0] != (Change{Closed, Open, 1, "loop lag: 80ms"}) {
		t.Fatalf("%+v", ch)
	}
	for rank, want := range []int{0, 100, 100} {
		if n := c.in(rank); n != want {
			t.Errorf("one tier refused: %d of tier %d are let in, want %d", n, rank, want)
		}
	}
	c.pass(time.Second, late)
	c.want(Open, 2)
	c.pass(3*time.Second, late)
	c.want(Open, 3)
	for rank, want := range []int{0, 0, 20} {
		if n := c.in(rank); n != want {
			t.Errorf("all refused: %d of tier %d are let in, want %d", n, rank, want)
		}
	}
	c.pass(4900*time.Millisecond, calm)
	c.want(Open, 3)
	c.pass(100*time.Millisecond, calm)
	c.want(HalfOpen, 3)
	for rank := range 3 {
		if n := c.in(rank); n != 10 {
			t.Errorf("half-open: %d of tier %d are let in, want 10", n, rank)
		}
	}
	c.pass(5*time.Second, calm)
	c.want(HalfOpen, 2)
	c.pass(300*time.Millisecond, late) // they are not borne
	c.want(Open, 2)
	c.pass(15*time.Second, calm)
	c.want(Closed, 0)
	if c.in(0) != 100 {
		t.Error("closed, and it refuses")
	}
}

// Each reading by itself is too much.
func TestReadings(t *testing.T) {
	for _, r := range []Readings{
		{LoopLag: time.Second}, {Descriptors: 0.96}, {Memory: 0.91}, {},
	} {
		c := start(t, 1)
		if r == (Readings{}) {
			c.InForce([]string{"evening", "emergency"})
		}
		c.pass(time.Second, r)
		c.want(Open, 1)
		if n := c.in(0); n != 20 {
			t.Errorf("%+v: of one tier, which is the highest, %d are let in", r, n)
		}
	}
	c := start(t, 1)
	c.InForce([]string{"evening"})
	c.pass(time.Minute, Readings{LoopLag: 50 * time.Millisecond, Descriptors: 0.95, Memory: 0.9})
	c.want(Closed, 0)
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{LoopLag: -1}, {Memory: 1.5}, {Descriptors: -0.1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func BenchmarkClosed(b *testing.B) {
	c := new(Breaker)
	for b.Loop() {
		if c.Refuses() {
			b.Fatal("it refuses")
		}
	}
}
