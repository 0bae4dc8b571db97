package nginxconf

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// rank is the order in which patterns are asked. Those of locations in each other come first, as in
// nginx, and before them the prefixes that they must not open.
type rank int

const (
	rankGuard  rank = iota // prefixes that refuse, beside nested patterns; those that are first (^~)
	rankNested             // patterns within a location, rewrites
	rankServer             // those of the server, and what is no pattern
	rankPrefix             // prefixes that are no directory
)

// guards reports whether a place refuses anybody.
func (s *scope) guards() bool {
	rules, _ := s.settings["access"].([]rule)
	return s.settings["closed"] == true || s.settings["internal"] == true || s.answers["respond"] != nil ||
		slices.ContainsFunc(rules, func(r rule) bool { return !r.allow })
}

// guarded reports whether a block has something that refuses requests, or that another program would
// answer. What it is for must not be served when it cannot be said exactly.
func guarded(block []directive) bool {
	return slices.ContainsFunc(block, func(d directive) bool {
		_, refusing := map[string]bool{"deny": true, "internal": true, "auth_basic": true, "auth_request": true, "auth_jwt": true,
			"secure_link": true, "ssl_verify_client": true, "return": true, "limit_except": true}[d.name]
		return refusing || strings.HasSuffix(d.name, "_pass") || guarded(d.block)
	})
}

// arrangePlaces puts the places of a server into the order in which nginx finds them.
func (s *host) arrangePlaces() {
	var extra []*scope
	for _, l := range s.places {
		opens := slices.ContainsFunc(s.places, func(n *scope) bool {
			return n.rank == rankNested && n.answers["redirect"] == nil && strings.HasPrefix(l.prefix, n.within) && len(l.prefix) > len(n.within)
		})
		switch {
		case !opens || !l.guards():
		case l.rank == rankPrefix:
			l.rank = rankGuard
		case strings.HasPrefix(l.match, "/"), strings.HasPrefix(l.match, "^~"):
			guard := *l
			guard.match, guard.rank, guard.notes = "~ ^"+regexp.QuoteMeta(l.prefix), rankGuard, nil
			extra = append(extra, &guard)
		}
	}
	s.places = append(s.places, extra...)
	slices.SortStableFunc(s.places, func(a, b *scope) int { return cmp.Compare(a.rank, b.rank) })
	// Suffixes come before patterns in fserve, whatever their order is.
	if slices.ContainsFunc(s.places, func(l *scope) bool { return strings.HasPrefix(l.match, "~") }) {
		for _, l := range s.places {
			if strings.HasPrefix(l.match, "*") {
				l.match = l.pattern
			}
		}
	}
}

// nest narrows a pattern to what is below the prefix of the location that it is in.
func (t *translator) nest(s *scope, d *directive, sign, text string) (match string, ok bool) {
	if s.prefix == "/" {
		return sign + " " + text, true
	}
	if sign == "~*" {
		text = "(?i:" + text + ")"
	}
	below := regexp.QuoteMeta(s.prefix)
	switch anchored := strings.Contains(text, "^"); {
	case below != "" && strings.HasPrefix(text, "^"+below) && !strings.Contains(text, "|"):
		return "~ " + text, true
	case !strings.HasPrefix(s.prefix, "/") || anchored:
		if guarded(d.block) {
			t.remark(d, "it is for the whole server here")
			return "~ " + text, true
		}
		t.leave(&s.server.scope, d, "a pattern in a location begins with its path here")
		return "", false
	case strings.HasSuffix(below, "/") && strings.HasPrefix(text, "/") && !strings.Contains(text, "|"):
		return "~ ^" + below[:len(below)-1] + "(?:/(?s:.*))?" + text, true
	}
	return "~ ^" + below + "(?s:.*)(?:" + text + ")", true
}

// inexact are what Perl has in patterns and RE2 has not; without it they match more.
var inexact = strings.NewReplacer("++", "+", "*+", "*", "?+", "?", "}+", "}", "(?>", "(?:")

// loosen returns a pattern of RE2 that matches at least what text does.
func loosen(text string) string {
	text = inexact.Replace(text)
	for _, look := range []string{"(?!", "(?=", "(?<!", "(?<="} {
		for i := strings.Index(text, look); i >= 0; i = strings.Index(text, look) {
			text = text[:i] + text[groupEnd(text, i):]
		}
	}
	if _, err := regexp.Compile(text); err != nil {
		return "^/"
	}
	return text
}

// groupEnd returns where the group ends that begins at i.
func groupEnd(text string, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// alternatives reports whether a pattern has some that are not in parentheses.
func alternatives(text string) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				return true
			}
		}
	}
	return false
}

// doLimitExcept closes what answers neither GET nor HEAD.
func doLimitExcept(t *translator, s *scope, d *directive) {
	if guarded(d.block) && !slices.Contains(d.args, "GET") {
		s.fresh("closed")
		t.leave(s, d, "GET is refused; nobody is let in")
		s.settings["closed"] = true
	}
}
