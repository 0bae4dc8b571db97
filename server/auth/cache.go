package auth

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// found is what was found about a token. It is not changed.
type found struct {
	proof   Proof
	id      *Identity // nil: it is bad
	until   int64     // Unix seconds
	expired bool      // that is why it is bad
	issuer  *issuer   // nil: of none
	epoch   uint64    // of the keys of the issuer
}

// counts reports whether it is still so. What lasts for longer than anything may was found before the clock was set back.
func (f *found) counts(at instant) bool {
	if f.issuer != nil && f.issuer.source != nil {
		f.issuer.source.look(at)
	}
	most := believedFor
	if f.id == nil {
		most = wrongFor
	}
	left := f.until - at.unix
	return left > 0 && left <= int64(most/time.Second) && (f.issuer == nil || f.epoch == f.issuer.epoch())
}

// cache is what was found about tokens, for all loops. What is good and what is bad are apart, so that
// who guesses drives nobody out.
type cache struct{ good, bad slots }

const (
	goodSlots = 1 << 16
	badSlots  = 1 << 12
)

func newCache() cache {
	return cache{make(slots, goodSlots), make(slots, badSlots)}
}

// find returns what is known of a token; nil: nothing. It does not
// allocate, and waits for nobody.
func (c *cache) find(p Proof, t instant) *found {
	for _, s := range [...]slots{c.good, c.bad} {
		for _, at := range s.of(p) {
			if f := at.Load(); f != nil && f.proof == p && f.counts(t) {
				return f
			}
		}
	}
	return nil
}

// slots are a power of two, of which each proof may be in two.
type slots []atomic.Pointer[found]

func (s slots) of(p Proof) [2]*atomic.Pointer[found] {
	mask := uint32(len(s) - 1)
	return [2]*atomic.Pointer[found]{&s[binary.LittleEndian.Uint32(p[:])&mask], &s[binary.LittleEndian.Uint32(p[4:])&mask]}
}

// put keeps what was found in place of what is known of the same token, or of what ends sooner.
func (s slots) put(f *found) {
	both := s.of(f.proof)
	at := both[0]
	a, b := both[0].Load(), both[1].Load()
	if a != nil && a.proof != f.proof && (b == nil || b.proof == f.proof || b.until < a.until) {
		at = both[1]
	}
	at.Store(f)
}
