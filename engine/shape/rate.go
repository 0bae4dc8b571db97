package shape

import "github.com/fserve/fserve/engine/rate"

// Rate is [rate.Rate], a number of bytes per second.
type Rate = rate.Rate

const (
	Unlimited = rate.Unlimited // the zero value
	Paused    = rate.Paused    // nothing passes until it is changed
	MaxRate   = rate.Max

	infinite = rate.Infinite // the speed of what has no limit
	maxSize  = int64(rate.MaxSize)
)

// ParseRate is [rate.Parse].
func ParseRate(s string) (Rate, error) { return rate.Parse(s) }

// ParseSize is [rate.ParseSize] for a plain number of bytes.
func ParseSize(s string) (int64, error) {
	n, err := rate.ParseSize(s)
	return int64(n), err
}

// FormatSize returns n bytes in the largest unit that gives a whole number.
// ParseSize reads it back to the same value.
func FormatSize(n int64) string { return rate.Size(n).String() }
