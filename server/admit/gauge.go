package admit

import (
	"hash/maphash"
	"sync/atomic"
)

// Gauge counts what is under way by key, for bounds of how much of it there may be: downloads
// of one client. It is for all loops, without a lock, and safe for concurrent use. A place that
// counts something is never given to another key.
type Gauge struct {
	seed maphash.Seed
	mask uint64
	sets [][gaugeWays]atomic.Uint64 // 48 bits of the key, 16 of the count; 0: free
}

// gaugeWays is how many places a set has, which is a cache line.
const gaugeWays = 8

const (
	countBits = 16
	countMask = 1<<countBits - 1
	// MaxHeld is the most that a bound may be.
	MaxHeld = countMask
)

// NewGauge returns one for at least so many keys at a time, of 8 bytes each.
func NewGauge(keys int) *Gauge {
	n := 1
	for n*gaugeWays < keys {
		n *= 2
	}
	return &Gauge{seed: maphash.MakeSeed(), mask: uint64(n - 1), sets: make([][gaugeWays]atomic.Uint64, n)}
}

// Held is one that is under way, until Release. The zero value is none.
type Held struct{ at *atomic.Uint64 }

// Release ends it. It may be called again.
func (h *Held) Release() {
	if h.at == nil {
		return
	}
	for {
		was := h.at.Load()
		next := was - 1
		if next&countMask == 0 {
			next = 0
		}
		if h.at.CompareAndSwap(was, next) {
			h.at = nil
			return
		}
	}
}

// Verdict of Acquire.
type Verdict uint8

const (
	Granted Verdict = iota
	TooMany         // of this key
	NoRoom          // there are too many keys: it is not known how many this one has
)

// Acquire takes one of most, at most MaxHeld, that a key may have.
func (g *Gauge) Acquire(key []byte, most int) (Held, Verdict) {
	h := maphash.Bytes(g.seed, key)
	tag := max(h&^countMask, 1<<countBits)
	set := &g.sets[(h*0x9e3779b97f4a7c15>>32)&g.mask]
	for {
		at := find(set, tag)
		if at == nil {
			if at = find(set, 0); at == nil {
				return Held{}, NoRoom
			}
			if !at.CompareAndSwap(0, tag|1) {
				continue // somebody was quicker
			}
		} else {
			was := at.Load()
			if was&^countMask != tag {
				continue // it was free meanwhile
			}
			if was&countMask >= uint64(most) {
				return Held{}, TooMany
			}
			if !at.CompareAndSwap(was, was+1) {
				continue
			}
		}
		// Another loop may have taken another place for the same key. Of two that look
		// after they have taken, one sees the other.
		if alone(set, tag, at) {
			return Held{at}, Granted
		}
		(&Held{at}).Release()
	}
}

// find returns the place of a key; of none: one that is free.
func find(set *[gaugeWays]atomic.Uint64, tag uint64) *atomic.Uint64 {
	for i := range set {
		if set[i].Load()&^countMask == tag {
			return &set[i]
		}
	}
	return nil
}

func alone(set *[gaugeWays]atomic.Uint64, tag uint64, at *atomic.Uint64) bool {
	for i := range set {
		if p := &set[i]; p != at && p.Load()&^countMask == tag {
			return false
		}
	}
	return true
}
