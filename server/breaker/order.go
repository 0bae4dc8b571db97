package breaker

import "time"

// Force opens the breaker for all tiers, or keeps it closed, whatever is measured; for a time, 0: for
// ever.
func (b *Breaker) Force(open bool, d time.Duration, now int64) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forced, b.ends = true, 0
	if d > 0 {
		b.ends = now + int64(d)
	}
	b.until.Store(b.ends)
	if open {
		return b.put(Open, b.tiers, now, "an order")
	}
	return b.put(Closed, 0, now, "an order")
}

// Expire ends what Force has begun if its time is over; Note does so too.
func (b *Breaker) Expire(now int64) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expire(now)
}

func (b *Breaker) expire(now int64) *Change {
	if !b.forced || b.ends == 0 || now < b.ends {
		return nil
	}
	b.forced, b.good = false, now
	return b.put(Closed, 0, now, "the time of the order is over")
}

// Auto ends what Force has begun.
func (b *Breaker) Auto(now int64) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.forced {
		return nil
	}
	b.forced, b.good = false, now
	return b.put(Closed, 0, now, "the end of an order")
}

// Status is a Breaker as operators see it.
type Status struct {
	State   State
	Refused int    // tiers, from the lowest on
	Tiers   int    // how many there are
	Why     string // it is in this state; empty: it has been from the start
	Forced  bool
	Ends    time.Duration // of what it was forced to; 0: never
}

// Status returns that of the breaker.
func (b *Breaker) Status(now int64) Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.get()
	s := Status{State: at.state, Refused: at.refused, Tiers: max(1, b.tiers), Why: b.why, Forced: b.forced}
	if b.forced && b.ends != 0 {
		s.Ends = time.Duration(max(b.ends-now, 1))
	}
	return s
}
