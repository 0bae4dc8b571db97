package config

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

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

// EncodedSlash says what %2F in a path is.
type EncodedSlash uint8

const (
	EncodedSlashDecode EncodedSlash = iota // a slash
	EncodedSlashRefuse                     // a fault of the request
)

// ETag says what tags are made of.
type ETag uint8

const (
	ETagVersion ETag = iota // time of modification and size
	ETagContent             // a hash of the content
)

// Rule gives a value to the paths that match a pattern.
type Rule struct {
	// Match is the pattern.
	Match string `key:"match" required:"yes"`
	// Value is what the paths that match get.
	Value string `key:"value" required:"yes"`
}

func (r Rule) String() string { return r.Match + "=" + r.Value }

// allPaths is the pattern of a rule without one.
const allPaths = "/"

// cacheDirectives are those of responses (RFC 9111 section 5.2.2, 5861, 8246). What begins with
// one is no pattern, and what does not may be a mistyped one.
var cacheDirectives = []string{
	"public", "private", "no-cache", "no-store", "no-transform", "max-age", "s-maxage", "must-revalidate", "proxy-revalidate",
	"must-understand", "immutable", "stale-while-revalidate", "stale-if-error",
}

// Set reads PATTERN=VALUE, or a VALUE for all paths.
func (r *Rule) Set(s string) error {
	match, value, ok := pair(s)
	if first := strings.IndexAny(s+",", "=, "); slices.Contains(cacheDirectives, s[:first]) {
		match, value, ok = allPaths, s, true
	}
	if !ok {
		return fmt.Errorf("%q is neither directives of caches nor PATTERN=VALUE", s)
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

// Set reads PATTERN=NAME: VALUE, or a NAME: VALUE for all paths.
func (r *HeaderRule) Set(s string) error {
	match, field, ok := pair(s)
	if first, _, there := strings.Cut(s, ": "); there && !strings.ContainsAny(first, "/*=") {
		match, field, ok = allPaths, s, true
	}
	name, value, colon := strings.Cut(field, ":")
	if !ok || !colon {
		return fmt.Errorf("%q is neither NAME: VALUE nor PATTERN=NAME: VALUE", s)
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
	// Client is the rate of each client within this class; it holds beside limits.client.
	// For classes of paths. Default: unlimited.
	Client rate.Rate `key:"client"`
	// Connection is the rate of each connection while it sends what is of this class; of it
	// and limits.connection the lower one holds. For classes of paths. Default: unlimited.
	Connection rate.Rate `key:"connection"`
	// After is how many bytes of each response pass before client and connection begin to
	// hold: 10MiB. For classes of paths. Default: 0B, they hold from the first byte.
	After Size `key:"after"`
	// AdaptMin is the floor of the rate that is found for this class as a whole; see the
	// section adapt. For classes of paths, with adapt_max. Default: unlimited, which
	// stands for none.
	AdaptMin rate.Rate `key:"adapt_min"`
	// AdaptMax is the ceiling of that rate. Default: unlimited, which stands for none.
	AdaptMax rate.Rate `key:"adapt_max"`
}

// limitParts are the keys that follow the rate.
var limitParts = keysOf(reflect.TypeFor[Limit]())[1:]

// String returns what Set reads.
func (l Limit) String() string {
	return strings.Join(append([]string{l.Rate.String()}, partTexts(reflect.ValueOf(l), limitParts)...), ",")
}

// Set reads RATE and KEY=VALUE for the other keys, with commas. Without RATE it is unlimited.
func (l *Limit) Set(s string) (err error) {
	var out Limit
	parts := strings.Split(s, ",")
	if !strings.Contains(parts[0], "=") {
		if out.Rate, err = rate.Parse(parts[0]); err != nil {
			return err
		}
		parts = parts[1:]
	}
	err = eachPart(parts, func(key, value string) error {
		return setPart(reflect.ValueOf(&out).Elem(), limitParts, key, value)
	})
	if err == nil {
		*l = out
	}
	return err
}

// Shape returns the limit as package shape has it.
func (l Limit) Shape() shape.Limit {
	return shape.Limit{Rate: l.Rate, Burst: int64(l.Burst), Weight: l.Weight, Guarantee: l.Guarantee, Priority: l.Priority,
		Client: l.Client, Connection: l.Connection, After: int64(l.After)}
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

// BeingWritten is what happens to a request for a file that somebody is writing: how long
// it waits for that; 0 serves it at once, a negative value refuses it.
type BeingWritten time.Duration

// defaultWriteWait is how long wait alone waits.
const defaultWriteWait = 2 * time.Second

// Set reads "serve", "refuse", "wait" or "wait DURATION".
func (b *BeingWritten) Set(s string) error {
	word, rest, timed := strings.Cut(s, " ")
	switch {
	case s == "serve":
		*b = 0
	case s == "refuse":
		*b = -1
	case s == "wait":
		*b = BeingWritten(defaultWriteWait)
	case timed && word == "wait":
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err != nil || d <= 0 || d > time.Minute {
			return fmt.Errorf("%q is not wait with a duration of up to 1m, like wait 5s", s)
		}
		*b = BeingWritten(d)
	default:
		return fmt.Errorf("%q is none of wait, wait DURATION, serve, refuse", s)
	}
	return nil
}

// String returns b as Set reads it.
func (b BeingWritten) String() string {
	switch {
	case b == 0:
		return "serve"
	case b < 0:
		return "refuse"
	}
	return "wait " + durationText(time.Duration(b))
}
