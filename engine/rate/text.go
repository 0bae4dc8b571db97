package rate

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

var errNoUnit = errors.New("no unit")

// A unit is num/den bytes.
type unit struct {
	name     string
	num, den uint64
}

// units are sorted by size, as String tries them from the back.
var units = []unit{
	{"B", 1, 1},
	{"KB", 1e3, 1}, {"KiB", 1 << 10, 1},
	{"MB", 1e6, 1}, {"MiB", 1 << 20, 1},
	{"GB", 1e9, 1}, {"GiB", 1 << 30, 1},
	{"bit", 1, 8},
	{"Kbit", 1e3, 8}, {"Mbit", 1e6, 8}, {"Gbit", 1e9, 8},
}

// byteUnits are those of units that String uses.
var byteUnits = units[:7]

// Parse reads a rate: a decimal number, a unit and "/s", such as "10MiB/s",
// "500KB/s", "1.5GB/s" or "80Mbit/s"; "unlimited"; or "0" for [Paused]. K, M and G
// are thousands, Ki, Mi and Gi are 1024s; a fraction of a byte is rounded to the
// nearest. A bare number is refused, since nginx means bytes by it and tc means
// bits; so is "Mb", which is read both ways.
func Parse(s string) (Rate, error) {
	s = strings.TrimSpace(s)
	switch {
	case strings.EqualFold(s, "unlimited"):
		return Unlimited, nil
	case s == "0":
		return Paused, nil
	}
	amount, ok := strings.CutSuffix(s, "/s")
	n, err := parseBytes(amount, uint64(Max))
	switch {
	case errors.Is(err, errNoUnit):
		return 0, fmt.Errorf("rate %q has no unit (nginx would mean bytes, tc bits): write %sB/s, %sKiB/s or %sKbit/s", s, amount, amount, amount)
	case err != nil:
		return 0, fmt.Errorf("rate %q: %w", s, err)
	case !ok:
		return 0, fmt.Errorf("rate %q is not per second: write %s/s", s, s)
	case n == 0:
		return Paused, nil
	}
	return Rate(n), nil
}

// ParseSize reads a number of bytes: a decimal number and a unit, such as
// "1MiB", "64KB" or "1500B". A bare number is refused.
func ParseSize(s string) (Size, error) {
	s = strings.TrimSpace(s)
	n, err := parseBytes(s, uint64(MaxSize))
	switch {
	case errors.Is(err, errNoUnit):
		return 0, fmt.Errorf("size %q has no unit: write %sB or %sKiB", s, s, s)
	case err != nil:
		return 0, fmt.Errorf("size %q: %w", s, err)
	}
	return Size(n), nil
}

// String returns the rate in the largest unit that gives a whole number.
// Parse reads it back to the same value.
func (r Rate) String() string {
	switch {
	case r == Unlimited:
		return "unlimited"
	case r < 0:
		return "0B/s"
	}
	return Size(r).String() + "/s"
}

// String returns the size in the largest unit that gives a whole number.
// ParseSize reads it back to the same value.
func (n Size) String() string {
	best := byteUnits[0]
	for _, u := range byteUnits {
		if n != 0 && int64(n)%int64(u.num) == 0 {
			best = u
		}
	}
	return strconv.FormatInt(int64(n)/int64(best.num), 10) + best.name
}

// Set reads the rate, as for a flag. If it cannot be read r stays as it was.
func (r *Rate) Set(s string) error {
	v, err := Parse(s)
	if err == nil {
		*r = v
	}
	return err
}

// Set reads the size, as for a flag. If it cannot be read n stays as it was.
func (n *Size) Set(s string) error {
	v, err := ParseSize(s)
	if err == nil {
		*n = v
	}
	return err
}

// parseBytes reads a decimal number and a unit. No floating point: what is
// written is what counts.
func parseBytes(s string, most uint64) (int64, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(s)
	}
	digits, name := s[:end], strings.TrimSpace(s[end:])
	if digits == "" {
		return 0, errors.New("must begin with a number that is not negative")
	}
	mantissa, scale, err := parseDecimal(digits)
	if err != nil {
		return 0, err
	}
	u, err := parseUnit(name)
	if err != nil {
		return 0, err
	}
	hi, lo := bits.Mul64(mantissa, u.num)
	den := scale * u.den
	if hi >= den {
		return 0, fmt.Errorf("more than %v", Size(most))
	}
	n, rest := bits.Div64(hi, lo, den)
	if rest >= den-rest {
		n++
	}
	switch {
	case n > most:
		return 0, fmt.Errorf("more than %v", Size(most))
	case n == 0 && mantissa > 0:
		return 0, errors.New("less than 1 B")
	}
	return int64(n), nil
}

// parseDecimal reads "12" or "1.25" as mantissa/scale.
func parseDecimal(s string) (mantissa, scale uint64, err error) {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || strings.Contains(fraction, ".") {
		return 0, 0, fmt.Errorf("%q is not a decimal number", s)
	}
	if len(fraction) > 9 {
		return 0, 0, fmt.Errorf("%q has more than nine decimals", s)
	}
	mantissa, err = strconv.ParseUint(whole+fraction, 10, 63)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is too large", s)
	}
	scale = 1
	for range fraction {
		scale *= 10
	}
	return mantissa, scale, nil
}

// parseUnit is kind about the case of prefixes, not about that of b and B:
// they are eight to one.
func parseUnit(name string) (unit, error) {
	if name == "" {
		return unit{}, errNoUnit
	}
	for _, u := range units {
		if strings.EqualFold(name, u.name) && strings.HasSuffix(name, u.name[len(u.name)-1:]) {
			return u, nil
		}
	}
	const known = "B, KB, MB, GB, KiB, MiB, GiB, bit, Kbit, Mbit, Gbit"
	if strings.HasSuffix(name, "b") || strings.HasSuffix(name, "bps") {
		return unit{}, fmt.Errorf("unit %q may mean bits or bytes: use one of %s", name, known)
	}
	return unit{}, fmt.Errorf("unknown unit %q: use one of %s", name, known)
}
