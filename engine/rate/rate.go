// Package rate holds rates and sizes in bytes, their text, and an exact token
// bucket. It is arithmetic: it imports nothing of the module, asks no clock and
// does no I/O.
package rate

import "math"

// Rate is a number of bytes per second, at most [Max]. The zero value is
// [Unlimited].
type Rate int64

const (
	Unlimited Rate = 0
	Paused    Rate = -1 // nothing passes until it is changed

	Max Rate = 1e12
)

// Size is a number of bytes, from 0 to [MaxSize].
type Size int64

// MaxSize bounds sizes: far above what makes sense, far below where sums
// overflow.
const MaxSize Size = 1 << 50

// Infinite is the speed of what has no limit.
const Infinite = math.MaxInt64

// Speed returns the rate as a number of bytes per second that can be compared: 0
// if it is paused, [Infinite] if it is unlimited.
func (r Rate) Speed() int64 {
	if r == Unlimited {
		return Infinite
	}
	return int64(max(r, 0))
}

// Below reports whether r lets less pass than o.
func (r Rate) Below(o Rate) bool { return r.Speed() < o.Speed() }

// Least returns the one of two rates that lets less pass.
func Least(a, b Rate) Rate {
	if b.Below(a) {
		return b
	}
	return a
}
