package shape

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// Class is a path class: the paths that begin with a prefix. A [Shaper] makes it. It must
// not be copied and is safe for concurrent use.
type Class struct {
	prefix string
	id     int

	// With several loops.
	pool      *pool
	guarantee *pool
	engaged   atomic.Int64 // stakes of its clients on all loops

	table   table       // guarded by Shaper.mu
	trees   int         // that have a node of it; likewise
	removed atomic.Bool // changes under Shaper.mu
}

// Prefix returns what the paths of the class begin with; "" for the default
// class, which has no limit.
func (c *Class) Prefix() string { return c.prefix }

// maxPrefix bounds the prefix of a class, in bytes.
const maxPrefix = 1024

// CheckPrefix returns why a path class cannot have a prefix, or why no path begins with it: a
// path is compared as files are named, decoded.
func CheckPrefix(prefix string) error {
	switch {
	case !strings.HasPrefix(prefix, "/"):
		return errors.New("a prefix begins with /")
	case len(prefix) > maxPrefix:
		return fmt.Errorf("a prefix has at most %d bytes", maxPrefix)
	case !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, unicode.IsControl):
		return errors.New("a prefix is UTF-8 without control characters")
	case strings.Contains(prefix, "//"), strings.Contains(prefix, "/./"), strings.Contains(prefix, "/../"):
		return errors.New("it matches nothing: requests are compared decoded, without . and .. and empty segments")
	}
	for i := range len(prefix) - 2 {
		if prefix[i] == '%' && isHex(prefix[i+1]) && isHex(prefix[i+2]) {
			return fmt.Errorf("it matches nothing: requests are compared decoded, and %s is one byte of them", prefix[i:i+3])
		}
	}
	return nil
}

func isHex(b byte) bool { return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f' }

// enter counts a tree that makes a node of the class, and returns what is said about the
// class. It reports false if the class has been removed.
func (c *Class) enter(s *Shaper) (t table, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.removed.Load() {
		return table{}, false
	}
	c.trees++
	return s.at(c.table), true
}

// leave undoes enter.
func (c *Class) leave(s *Shaper, loop int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.trees--
	if c.pool != nil {
		c.pool.forget(loop)
		c.guarantee.forget(loop)
	}
}

// maxClasses bounds the path classes of a Shaper, those included that have been removed
// while responses of theirs are under way.
const maxClasses = 4096

// classTable finds the class of a path. It is immutable.
type classTable struct {
	lengths []int // of the prefixes, falling
	byPath  map[string]*Class
	rest    *Class
}

func newClassTable(classes []*Class) *classTable {
	t := &classTable{byPath: make(map[string]*Class), rest: classes[0]}
	for _, c := range classes[1:] {
		if !c.removed.Load() {
			t.byPath[c.prefix] = c
			t.lengths = append(t.lengths, len(c.prefix))
		}
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	t.lengths = slices.Compact(t.lengths)
	return t
}

// Class returns the class with the longest prefix that path begins with, or the
// default class. It does not allocate.
func (s *Shaper) Class(path []byte) *Class {
	t := s.table.Load()
	for _, n := range t.lengths {
		if n > len(path) {
			continue
		}
		if c := t.byPath[string(path[:n])]; c != nil {
			return c
		}
	}
	return t.rest
}
