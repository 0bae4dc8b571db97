package site

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// matchKind is a form of Location.Match.
type matchKind uint8

const (
	matchPrefix  matchKind = iota // /x/
	matchFirst                    // ^~ /x/
	matchExact                    // = /x
	matchSuffix                   // *.x
	matchPattern                  // ~ RE, ~* RE
)

// match is a compiled Location.Match.
type match struct {
	kind    matchKind
	text    string         // the path or its beginning; of a suffix with its dot, in lower case
	pattern *regexp.Regexp // matchPattern only
}

// CheckMatch reports what is wrong with the Match of a Location.
func CheckMatch(s string) error {
	_, err := parseMatch(s)
	return err
}

func parseMatch(s string) (match, error) {
	sign, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case sign == "=":
		return match{matchExact, rest, nil}, checkExact(rest)
	case sign == "^~":
		return match{matchFirst, rest, nil}, checkPrefix(rest)
	case sign == "~", sign == "~*":
		return parsePattern(sign, rest)
	case strings.HasPrefix(s, "*"):
		return match{matchSuffix, strings.ToLower(s[1:]), nil}, checkSuffix(s)
	case s != "" && strings.ContainsRune("=^~", rune(s[0])):
		return match{}, fmt.Errorf("%q: a space stands behind =, ^~, ~ and ~*", s)
	}
	return match{matchPrefix, s, nil}, checkPrefix(s)
}

func checkPrefix(p string) error {
	switch {
	case !CleanPath(p):
		return fmt.Errorf("%q: a prefix is a path as requests have it when they are decoded: it begins with / and has no empty, . and .. segments", p)
	case p == "/":
		return errors.New("the location / is the host itself: write what is said of it there")
	case p[len(p)-1] != '/':
		return fmt.Errorf("%q: a prefix is a directory: write %s/, or = %s for this path alone", p, p, p)
	}
	return nil
}

func checkExact(p string) error {
	if !CleanPath(p) {
		return fmt.Errorf("%q: behind = stands a path as requests have it when they are decoded: it begins with / and has no empty, . and .. segments", p)
	}
	return nil
}

func checkSuffix(s string) error {
	if len(s) < 3 || s[1] != '.' || strings.ContainsAny(s[1:], "*/") || strings.HasSuffix(s, ".") {
		return fmt.Errorf("%q: a suffix is an extension, like *.sql or *.tar.gz; for others there are patterns: ~ RE", s)
	}
	return nil
}

func parsePattern(sign, text string) (match, error) {
	if text == "" {
		return match{}, errors.New("behind ~ and ~* stands a regular expression (RE2)")
	}
	flags := ""
	if sign == "~*" {
		flags = "(?i)"
	}
	re, err := regexp.Compile(flags + text)
	if err != nil {
		return match{}, fmt.Errorf("%q: %w: patterns are those of RE2", text, err)
	}
	return match{matchPattern, text, re}, nil
}

// pattern is a location that is found by a regular expression.
type pattern struct {
	*regexp.Regexp
	begin []byte // of every path in which it matches
	place *Place
}

// begin returns what every text begins with in which a regular expression matches, as far as
// that is easily seen: to compare it costs a tenth of asking the expression.
func begin(re string) []byte {
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) < 2 {
		return nil
	}
	if first, text := tree.Sub[0], tree.Sub[1]; first.Op == syntax.OpBeginText && text.Op == syntax.OpLiteral && text.Flags&syntax.FoldCase == 0 {
		return []byte(string(text.Rune))
	}
	return nil
}

// find returns the place of a normalised path. Of what matches counts, as in nginx,
//
//  1. the path itself (= /x);
//  2. the longest prefix, if it is to come first (^~ /x/);
//  3. the longest suffix (*.x);
//  4. the first pattern (~ RE);
//  5. the longest prefix (/x/);
//  6. the host.
func (h *vhost) find(path []byte) *Place {
	if h.exact != nil {
		if p := h.exact[string(path)]; p != nil {
			return p
		}
	}
	p, first := h.prefixed(path)
	if first || h.suffixes == nil && h.patterns == nil {
		return p
	}
	if q := h.suffixed(path); q != nil {
		return q
	}
	for i := range h.patterns {
		if p := &h.patterns[i]; bytes.HasPrefix(path, p.begin) && p.Match(path) {
			return p.place
		}
	}
	return p
}

// prefixed returns the place with the longest prefix, or the host's; first is set if it comes
// before suffixes and patterns.
func (h *vhost) prefixed(path []byte) (p *Place, first bool) {
	if len(path) < 2 || h.begins[path[1]/64]>>(path[1]%64)&1 == 0 {
		return h.whole, false
	}
	for _, n := range h.lengths {
		if n > len(path) {
			continue
		}
		if p := h.byPrefix[string(path[:n])]; p != nil {
			return p, p.first
		}
	}
	return h.whole, false
}

// maxSuffix bounds the suffixes of locations, in bytes.
const maxSuffix = 64

// suffixed returns the place with the longest suffix; nil: there is none.
func (h *vhost) suffixed(path []byte) *Place {
	if h.suffixes == nil {
		return nil
	}
	name := path[bytes.LastIndexByte(path, '/')+1:]
	name = name[max(0, len(name)-maxSuffix):]
	var memory [maxSuffix]byte
	lower := memory[:copy(memory[:], name)]
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	for dot := bytes.IndexByte(lower, '.'); dot >= 0; {
		if p := h.suffixes[string(lower[dot:])]; p != nil {
			return p
		}
		next := bytes.IndexByte(lower[dot+1:], '.')
		if next < 0 {
			break
		}
		dot += 1 + next
	}
	return nil
}

// add makes p the place of what m matches. It reports false if there is one already.
func (h *vhost) add(m match, p *Place) bool {
	table := &h.byPrefix
	switch m.kind {
	case matchPattern:
		h.patterns = append(h.patterns, pattern{m.pattern, begin(m.pattern.String()), p})
		return true
	case matchExact:
		table = &h.exact
	case matchSuffix:
		table = &h.suffixes
	}
	if *table == nil {
		*table = make(map[string]*Place)
	}
	old := (*table)[m.text]
	(*table)[m.text] = p
	return old == nil
}
