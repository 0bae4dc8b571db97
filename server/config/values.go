package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strconv"
	"strings"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
)

// FileMode is the permissions of a file.
type FileMode fs.FileMode

func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Set reads an octal number.
func (m *FileMode) Set(s string) error {
	v, err := strconv.ParseUint(s, 8, 32)
	if err != nil || v == 0 || v > 0o777 {
		return fmt.Errorf("%q is not a mode like 0660", s)
	}
	*m = FileMode(v)
	return nil
}

// Rule gives a value to the paths that match a pattern.
type Rule struct {
	// Match is the pattern.
	Match string `key:"match" required:"yes"`
	// Value is what the paths that match get.
	Value string `key:"value" required:"yes"`
}

func (r Rule) String() string { return r.Match + "=" + r.Value }

// Set reads PATTERN=VALUE.
func (r *Rule) Set(s string) error {
	match, value, ok := pair(s)
	if !ok {
		return fmt.Errorf("%q is not PATTERN=VALUE", s)
	}
	*r = Rule{match, value}
	return nil
}

// HeaderRule adds a field to the responses for the paths that match a pattern.
type HeaderRule struct {
	// Match is the pattern.
	Match string `key:"match" required:"yes"`
	// Name is the name of the field.
	Name string `key:"name" required:"yes"`
	// Value is the value of the field.
	Value string `key:"value" required:"yes"`
}

func (r HeaderRule) String() string { return r.Match + "=" + r.Name + ": " + r.Value }

// Set reads PATTERN=NAME: VALUE.
func (r *HeaderRule) Set(s string) error {
	match, field, ok := pair(s)
	name, value, colon := strings.Cut(field, ":")
	if !ok || !colon {
		return fmt.Errorf("%q is not PATTERN=NAME: VALUE", s)
	}
	*r = HeaderRule{match, name, strings.Trim(value, " \t")}
	return nil
}

// Limit is a rate with what belongs to it. In a file it is a rate, or a mapping
// of the keys below.
type Limit struct {
	// Rate is how much may pass: 10MiB/s, 80Mbit/s, unlimited, or 0B/s for
	// nothing at all. Default: unlimited.
	Rate rate.Rate `key:"rate"`
	// Burst is how many bytes may pass at once above the rate, after less has
	// passed for a while: 1MiB. Default: 0B, which stands for one send and 20 ms of
	// the rate.
	Burst Size `key:"burst"`
	// Weight is the share in what the level above has, beside the weights of
	// others, from 1 to 1000. For classes of paths. Default: 0, which counts as 1.
	Weight int `key:"weight"`
	// Guarantee is the rate up to which this class goes before all others. For
	// classes of paths. Default: unlimited, which stands for none.
	Guarantee rate.Rate `key:"guarantee"`
	// Priority puts classes with a higher number before those with a lower one. For
	// classes of paths. Default: 0.
	Priority int `key:"priority"`
	// AdaptMin is the floor of the rate that is found for this class as a whole; see the
	// section adapt. For classes of paths, with adapt_max. Default: unlimited, which
	// stands for none.
	AdaptMin rate.Rate `key:"adapt_min"`
	// AdaptMax is the ceiling of that rate. Default: unlimited, which stands for none.
	AdaptMax rate.Rate `key:"adapt_max"`
}

// String returns what Set reads.
func (l Limit) String() string {
	var b strings.Builder
	b.WriteString(l.Rate.String())
	add := func(key, value string, set bool) {
		if set {
			b.WriteString("," + key + "=" + value)
		}
	}
	add("burst", l.Burst.String(), l.Burst != 0)
	add("weight", strconv.Itoa(l.Weight), l.Weight != 0)
	add("guarantee", l.Guarantee.String(), l.Guarantee != 0)
	add("priority", strconv.Itoa(l.Priority), l.Priority != 0)
	add("adapt_min", l.AdaptMin.String(), l.AdaptMin != 0)
	add("adapt_max", l.AdaptMax.String(), l.AdaptMax != 0)
	return b.String()
}

// Set reads RATE[,burst=SIZE][,weight=N][,guarantee=RATE][,priority=N][,adapt_min=RATE,adapt_max=RATE].
func (l *Limit) Set(s string) error {
	parts := strings.Split(s, ",")
	var out Limit
	var err error
	if out.Rate, err = rate.Parse(parts[0]); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, p := range parts[1:] {
		key, value, ok := pair(strings.TrimSpace(p))
		if !ok {
			return fmt.Errorf("%q is not KEY=VALUE", p)
		}
		if seen[key] {
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := out.set(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	*l = out
	return nil
}

func (l *Limit) set(key, value string) (err error) {
	switch key {
	case "burst":
		return l.Burst.Set(value)
	case "weight":
		l.Weight, err = parseInt(value)
	case "guarantee":
		l.Guarantee, err = rate.Parse(value)
	case "priority":
		l.Priority, err = parseInt(value)
	case "adapt_min":
		l.AdaptMin, err = rate.Parse(value)
	case "adapt_max":
		l.AdaptMax, err = rate.Parse(value)
	default:
		keys := keysOf(reflect.TypeFor[Limit]())[1:]
		return errors.New("not one of " + strings.Join(keys, ", ") + didYouMean(key, keys))
	}
	return err
}

// Shape returns the limit as package shape has it.
func (l Limit) Shape() shape.Limit {
	return shape.Limit{Rate: l.Rate, Burst: int64(l.Burst), Weight: l.Weight, Guarantee: l.Guarantee, Priority: l.Priority}
}

// Size is a number of bytes.
type Size = rate.Size

// pair cuts a value at its first equals sign; neither side may be empty.
func pair(v string) (left, right string, ok bool) {
	left, right, ok = strings.Cut(v, "=")
	return left, right, ok && left != "" && right != ""
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}
