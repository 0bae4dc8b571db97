package breaker

import "time"

// Order is one of an operator. Times are in monotonic ns. The zero value is that there was none.
type Order struct {
	At     int64
	Forced bool // the breaker is to be as Open says, whatever is measured; else by what is measured
	Open   bool
	Ends   int64 // 0: never
}

// Shift returns an order with times of another clock, which is ahead by so many ns.
func (o Order) Shift(by int64) Order {
	if o.At != 0 {
		o.At += by
	}
	if o.Ends != 0 {
		o.Ends += by
	}
	return o
}

// Force opens the breaker for all tiers, or keeps it closed, whatever is measured; for a time, 0: for
// ever.
func (b *Breaker) Force(open bool, d time.Duration, now int64) *Change {
	o := Order{At: now, Forced: true, Open: open}
	if d > 0 {
		o.Ends = now + int64(d)
	}
	return b.Obey(o, now)
}

// Auto ends what Force has begun.
func (b *Breaker) Auto(now int64) *Change { return b.Obey(Order{At: now}, now) }

// Order returns the last order, for Obey of another process.
func (b *Breaker) Order() Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.order
}

// Obey follows an order, unless a later one was given.
func (b *Breaker) Obey(o Order, now int64) *Change {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Ends != 0 && o.Ends <= now {
		o.Forced = false
	}
	was := b.order
	if o == was || o == (Order{}) || was != (Order{}) && o.At < was.At { // one may be older than this process, and before 0
		return nil
	}
	b.order = o
	switch {
	case !o.Forced && !was.Forced:
		return nil
	case !o.Forced:
		b.good = now
		return b.put(Closed, 0, now, "the end of an order")
	}
	b.until.Store(o.Ends)
	if o.Open {
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
	if !b.order.Forced || b.order.Ends == 0 || now < b.order.Ends {
		return nil
	}
	b.order.Forced, b.good = false, now
	return b.put(Closed, 0, now, "the time of the order is over")
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
	s := Status{State: at.state, Refused: at.refused, Tiers: max(1, b.tiers), Why: b.why, Forced: b.order.Forced}
	if b.order.Forced && b.order.Ends != 0 {
		s.Ends = time.Duration(max(b.order.Ends-now, 1))
	}
	return s
}
