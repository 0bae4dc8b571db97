package rate

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// exact is a bucket in rational numbers.
type exact struct {
	rate        Rate
	burst, last int64
	tokens      *big.Rat
}

func (e *exact) advance(now int64) {
	if now > e.last && e.rate > 0 {
		gain := big.NewRat(now-e.last, 1)
		gain.Mul(gain, big.NewRat(int64(e.rate), int64(second)))
		e.add(gain)
	}
	e.last = max(e.last, now)
}

func (e *exact) add(n *big.Rat) {
	e.tokens = new(big.Rat).Add(e.tokens, n)
	if most := big.NewRat(e.burst, 1); e.rate > 0 && e.tokens.Cmp(most) > 0 {
		e.tokens = most
	}
}

func (e *exact) retune(r Rate, burst, now int64) {
	e.advance(now)
	if e.rate == Unlimited {
		e.tokens = new(big.Rat)
	}
	e.rate, e.burst = r, burst
	e.add(new(big.Rat))
}

// Whatever is done to a bucket, its tokens are those of the bucket in rational numbers,
// rounded down, and it is ready at the very nanosecond that it named.
func TestBucketIsExact(t *testing.T) {
	rates := []Rate{Unlimited, Paused, 1, 3, 999, 1 << 20, 77_777_777, Max}
	bursts := []int64{1, 1000, 1 << 20, int64(MaxSize)}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func() (Rate, int64) {
			return rapid.SampledFrom(rates).Draw(rt, "rate"), rapid.SampledFrom(bursts).Draw(rt, "burst")
		}
		now := int64(5e9)
		r, burst := draw()
		b := Bucket{Rate: r, Burst: burst, Last: now}
		e := exact{rate: r, burst: burst, last: now, tokens: new(big.Rat)}
		amount := rapid.Int64Range(1, 1<<22)
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				n := min(amount.Draw(rt, "n"), b.Burst)
				at, ok := b.Ready(n, now)
				if b.Rate != Unlimited { // else nobody needs to know the time
					e.advance(now)
				}
				switch enough := e.tokens.Cmp(big.NewRat(n, 1)) >= 0; {
				case b.Rate == Unlimited:
					return
				case b.Rate == Paused:
					if ok || at != Never {
						rt.Fatalf("paused: ready %v, at %d", ok, at)
					}
					return
				case ok != enough:
					rt.Fatalf("ready for %d is %v with %v", n, ok, e.tokens)
				case !ok:
					if before := b; at <= now || before.ready(n, at-1) {
						rt.Fatalf("ready before %d", at)
					}
					if now = at; !b.ready(n, now) {
						rt.Fatalf("not ready at %d", at)
					}
					e.advance(now)
				}
				b.Tokens -= n
				e.tokens = new(big.Rat).Sub(e.tokens, big.NewRat(n, 1))
			},
			"borrow": func(rt *rapid.T) {
				n := amount.Draw(rt, "n")
				b.Advance(now)
				e.advance(now)
				had := b.Tokens
				b.Borrow(n)
				if b.Tokens > had || b.Tokens < min(had, -max(b.Burst, n)) {
					rt.Fatalf("%d less %d is %d", had, n, b.Tokens)
				}
				e.tokens = new(big.Rat).Add(e.tokens, big.NewRat(b.Tokens-had, 1))
			},
			"refund": func(rt *rapid.T) {
				n := amount.Draw(rt, "n")
				b.Advance(now)
				b.Refund(n)
				e.advance(now)
				e.add(big.NewRat(n, 1))
			},
			"retune": func(rt *rapid.T) {
				r, burst := draw()
				b.Retune(r, burst, now)
				e.retune(r, burst, now)
			},
			"pass": func(rt *rapid.T) {
				now += rapid.SampledFrom([]int64{0, 1, 999, 1e6, 7e6 + 13, 61e9, 40 * 24 * 3600e9, -5e6}).Draw(rt, "ns")
			},
			"skip": func(*rapid.T) {
				b.Advance(now)
				e.advance(now)
				now += 1e6
				b.Skip(now)
				e.last = max(e.last, now)
			},
			"": func(rt *rapid.T) {
				if b.Rate != Unlimited && floor(e.tokens) != b.Tokens || b.Rate > 0 && b.Tokens > b.Burst {
					rt.Fatalf("%d tokens of %d, want %v", b.Tokens, b.Burst, e.tokens)
				}
			},
		})
	})
}

// ready is Ready for a rate that is not special.
func (b *Bucket) ready(n, now int64) bool {
	_, ok := b.Ready(n, now)
	return ok
}

// floor rounds down.
func floor(r *big.Rat) int64 {
	return new(big.Int).Div(r.Num(), r.Denom()).Int64() // Euclidean, the denominator is positive
}

func TestBucketThatIsNotWaitedFor(t *testing.T) {
	b := Bucket{Rate: 1, Burst: 10}
	if at := b.Full(1 << 62); at != Never {
		t.Errorf("what takes longer than time is there at %d", at)
	}
	if b.Rate = Paused; b.Full(1) != Never || b.Full(0) != 0 {
		t.Error("a paused bucket fills")
	}
}

func TestLeast(t *testing.T) {
	for _, c := range []struct{ a, b, want Rate }{
		{Unlimited, Unlimited, Unlimited}, {Unlimited, 5, 5}, {5, Unlimited, 5}, {5, 7, 5},
		{7, 5, 5}, {Paused, 5, Paused}, {Unlimited, Paused, Paused}, {Paused, Paused, Paused},
	} {
		if got := Least(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestSet(t *testing.T) {
	r, n := Rate(5), Size(7)
	if r.Set("10") == nil || n.Set("10") == nil || r != 5 || n != 7 {
		t.Errorf("after an error %d and %d", r, n)
	}
	if err := r.Set("2KiB/s"); err != nil || r != 2048 {
		t.Errorf("%d, %v", r, err)
	}
	if err := n.Set("2KiB"); err != nil || n != 2048 {
		t.Errorf("%d, %v", n, err)
	}
}
