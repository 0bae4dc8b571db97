package rate

import (
	"math"
	"math/bits"
)

const second = uint64(1e9)

// Never is an instant that does not come.
const Never = int64(math.MaxInt64)

// Bucket is a token bucket in whole bytes and a remainder of byte-nanoseconds.
// Nothing is lost to rounding: what is taken in any window of w ns is at most
// Rate*w/1e9 + Burst. While Rate is [Unlimited] the tokens mean nothing.
//
// The owner takes n tokens by subtracting them from Tokens, after [Bucket.Ready] has
// said that they are there. Instants are monotonic nanoseconds; if one is
// before Last, time stands still. A Bucket is a plain value
// for one goroutine at a time.
type Bucket struct {
	Rate   Rate
	Burst  int64 // bytes, at most MaxSize
	Tokens int64 // bytes, at most Burst; below zero is a debt
	Last   int64 // the instant up to which Tokens are counted

	frac uint64 // of a token, in 1/second of it
}

// Retune changes rate and burst as of the instant now. Tokens and debts stay what
// they are, in bytes, but for what is above the new burst. A bucket that was
// unlimited begins with nothing.
func (b *Bucket) Retune(r Rate, burst, now int64) {
	b.Advance(now)
	if b.Rate == Unlimited {
		b.Tokens, b.frac = 0, 0
	}
	b.Rate, b.Burst = r, burst
	b.Skip(now)
	b.clip()
}

// Skip lets time pass until now without adding tokens.
func (b *Bucket) Skip(now int64) { b.Last = max(b.Last, now) }

// Advance adds what has accrued until now, up to the burst.
func (b *Bucket) Advance(now int64) { b.AdvanceUpTo(b.Burst, now) }

// AdvanceUpTo is Advance for an owner who has lent a part of the burst: it adds tokens up
// to most.
func (b *Bucket) AdvanceUpTo(most, now int64) {
	dt := now - b.Last
	if dt <= 0 {
		return
	}
	b.Last = now
	if b.Rate <= 0 {
		return
	}
	if b.Tokens >= most {
		b.frac = 0
		return
	}
	hi, lo := bits.Mul64(uint64(b.Rate), uint64(dt))
	lo, carry := bits.Add64(lo, b.frac, 0)
	hi += carry
	gain, frac := uint64(math.MaxUint64), uint64(0)
	if hi < second {
		gain, frac = bits.Div64(hi, lo, second)
	}
	if gain >= uint64(most-b.Tokens) {
		b.Tokens, b.frac = most, 0
		return
	}
	b.Tokens += int64(gain)
	b.frac = frac
}

// Full returns the instant when n tokens will be there if nothing is taken, [Never]
// if that is not to be expected.
func (b *Bucket) Full(n int64) int64 {
	if n <= b.Tokens {
		return b.Last
	}
	if b.Rate <= 0 {
		return Never
	}
	hi, lo := bits.Mul64(uint64(n-b.Tokens), second)
	lo, borrow := bits.Sub64(lo, b.frac, 0)
	lo, carry := bits.Add64(lo, uint64(b.Rate)-1, 0) // rounded up
	hi = hi - borrow + carry
	if hi >= uint64(b.Rate) {
		return Never
	}
	wait, _ := bits.Div64(hi, lo, uint64(b.Rate))
	if wait > uint64(Never-1-max(b.Last, 0)) {
		return Never
	}
	return b.Last + int64(wait)
}

// Ready reports whether n tokens may be taken now, and if not, when. An unlimited
// bucket is always ready.
func (b *Bucket) Ready(n, now int64) (at int64, ok bool) {
	switch b.Rate {
	case Unlimited:
		return 0, true
	case Paused:
		b.Skip(now)
		return Never, false
	}
	b.Advance(now)
	if b.Tokens >= n {
		return 0, true
	}
	return b.Full(n), false
}

// Refund gives n tokens back, up to the burst. It comes after [Bucket.Advance]: until they
// are back, the tokens leave room for what accrues.
func (b *Bucket) Refund(n int64) {
	b.Tokens += n
	b.clip()
}

// Borrow takes n tokens, also those that are not there. It makes no debt that is larger
// than the burst, or than n if that is more, and none smaller.
func (b *Bucket) Borrow(n int64) {
	b.Tokens = min(b.Tokens, max(b.Tokens-n, -max(b.Burst, n)))
}

// clip drops what is above the burst.
func (b *Bucket) clip() {
	if b.Rate > 0 && b.Tokens >= b.Burst {
		b.Tokens, b.frac = b.Burst, 0
	}
}
