package shape

import (
	"math"
	"math/bits"
)

const (
	second = int64(1e9)
	never  = int64(math.MaxInt64) // an instant
)

// bucket is a token bucket in whole bytes and a remainder of byte-nanoseconds:
// nothing is lost to rounding, so that what is taken in any window of w ns is
// at most rate*w/1e9 + burst. While rate is Unlimited its tokens mean nothing.
type bucket struct {
	rate   Rate
	burst  int64
	tokens int64 // at most burst; negative is a debt
	frac   int64 // 0 <= frac < second
	last   int64 // instant up to which tokens are counted
	most   int64 // bytes of the largest grant
}

// open makes a new bucket for l.
func (b *bucket) open(l Limit, now int64) {
	*b = bucket{tokens: l.start(), last: now}
	b.set(l)
}

// set sets the limit and nothing else.
func (b *bucket) set(l Limit) {
	b.rate, b.burst, b.most = l.Rate, l.burst(), l.most()
}

// retune changes the limit as of the instant now. Tokens and debts stay what they
// are, in bytes, but for what is above the new burst. What was unlimited begins
// with nothing.
func (b *bucket) retune(l Limit, now int64) {
	b.advance(now, b.burst)
	if b.rate == Unlimited {
		b.tokens, b.frac = 0, 0
	}
	b.set(l)
	b.last = max(b.last, now)
	if l.Rate > 0 && b.tokens >= b.burst {
		b.tokens, b.frac = b.burst, 0
	}
}

// is reports whether the bucket is one for l.
func (b *bucket) is(l Limit) bool { return b.rate == l.Rate && b.burst == l.burst() }

// advance adds what has accrued until now, up to most. If the clock goes back,
// time stands still.
func (b *bucket) advance(now, most int64) {
	dt := now - b.last
	if dt <= 0 {
		return
	}
	b.last = now
	if b.rate <= 0 {
		return
	}
	if b.tokens >= most {
		b.frac = 0
		return
	}
	hi, lo := bits.Mul64(uint64(b.rate), uint64(dt))
	lo, carry := bits.Add64(lo, uint64(b.frac), 0)
	hi += carry
	var gain, frac uint64
	switch {
	case hi == 0:
		gain, frac = lo/uint64(second), lo%uint64(second)
	case hi < uint64(second):
		gain, frac = bits.Div64(hi, lo, uint64(second))
	default:
		gain = math.MaxUint64
	}
	if gain >= uint64(most-b.tokens) {
		b.tokens, b.frac = most, 0
		return
	}
	b.tokens += int64(gain)
	b.frac = int64(frac)
}

// full returns the instant when n tokens will be there, if nothing is taken.
func (b *bucket) full(n int64) int64 {
	if n <= b.tokens {
		return b.last
	}
	if b.rate <= 0 {
		return never
	}
	hi, lo := bits.Mul64(uint64(n-b.tokens), uint64(second))
	lo, borrow := bits.Sub64(lo, uint64(b.frac), 0)
	lo, carry := bits.Add64(lo, uint64(b.rate)-1, 0) // rounded up
	hi = hi - borrow + carry
	if hi >= uint64(b.rate) {
		return never
	}
	wait, _ := bits.Div64(hi, lo, uint64(b.rate))
	if wait > uint64(never-1-max(b.last, 0)) {
		return never
	}
	return b.last + int64(wait)
}

// ready reports whether n may be taken now, and if not, when. A rate of
// Unlimited is always ready.
func (b *bucket) ready(n, now int64) (at int64, ok bool) {
	switch b.rate {
	case Unlimited:
		return 0, true
	case Paused:
		b.last = max(b.last, now)
		return never, false
	}
	b.advance(now, b.burst)
	if b.tokens >= n {
		return 0, true
	}
	return b.full(n), false
}

// refund gives n tokens back, up to the burst.
func (b *bucket) refund(n int64) {
	b.tokens += n
	if b.tokens >= b.burst && b.rate > 0 {
		b.tokens, b.frac = b.burst, 0
	}
}
