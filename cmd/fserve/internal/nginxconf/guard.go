package nginxconf

import (
	"cmp"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// rank is the order in which patterns are asked. Those of locations in each other come first, as in
// nginx, and before them the prefixes that they must not open.
type rank int

const (
	rankFirst  rank = iota // rewrites
	rankNested             // patterns within a location, and prefixes that these must not open
	rankServer             // those of the server, and what is no pattern
	rankPrefix             // prefixes that are no directory
)

// guards reports whether a place refuses anybody, or serves no files by their paths.
func (s *scope) guards() bool {
	rules, _ := s.settings["access"].([]rule)
	try, _ := s.answers["try"].([]string)
	_, _, asks := s.settings.asked()
	return s.settings["closed"] == true || asks || s.settings["secure_link"] != nil || s.settings["referers"] != nil || s.settings["deny_agents"] != nil || s.settings["internal"] == true || s.answers["respond"] != nil || blind(try) ||
		slices.ContainsFunc(rules, func(r rule) bool { return !r.allow })
}

// blind reports whether try_files looks for nothing of the path.
func blind(try []string) bool {
	return len(try) > 0 && !slices.ContainsFunc(try, func(a string) bool { return strings.Contains(a, "$uri") })
}

// guarded reports whether a block has something that refuses requests, serves other files, or that another program would
// answer. What it is for must not be served when it cannot be said exactly.
func guarded(block []directive) bool {
	return slices.ContainsFunc(block, func(d directive) bool {
		switch d.name {
		case "root", "alias", "deny", "internal", "auth_basic", "valid_referers", "if", "auth_request", "auth_jwt", "secure_link", "ssl_verify_client", "return", "limit_except":
			return true
		case "try_files":
			return blind(d.args)
		}
		return strings.HasSuffix(d.name, "_pass") || guarded(d.block)
	})
}

// outer is the length of the prefix that has to match for a place to be asked.
func (s *scope) outer() int {
	if s.nested() {
		return 2*len(s.within) + 1
	}
	return 2 * len(s.prefix)
}

// nested reports whether a place is of a pattern within a location.
func (s *scope) nested() bool { return s.rank == rankNested && s.prefix == "" }

// arrangePlaces puts the places of a server into the order in which nginx finds them.
func (s *host) arrangePlaces() {
	var extra []*scope
	for _, l := range s.places {
		opens := slices.ContainsFunc(s.places, func(n *scope) bool {
			return n.nested() && strings.HasPrefix(l.prefix, n.within) && len(l.prefix) > len(n.within)
		})
		switch {
		case !opens || !l.guards():
		case l.rank == rankPrefix:
			l.rank = rankNested
		case strings.HasPrefix(l.match, "/"), strings.HasPrefix(l.match, "^~"):
			guard := *l
			guard.match, guard.rank, guard.notes = "~ ^"+regexp.QuoteMeta(l.prefix), rankNested, nil
			extra = append(extra, &guard)
		}
	}
	places := slices.Clone(s.places)
	s.places = append(slices.DeleteFunc(places, s.doubled), extra...)
	slices.SortStableFunc(s.places, func(a, b *scope) int {
		if a.rank == rankNested && b.rank == rankNested {
			return cmp.Compare(b.outer(), a.outer())
		}
		return cmp.Compare(a.rank, b.rank)
	})
	// Suffixes come before patterns in fserve, whatever their order is.
	if slices.ContainsFunc(s.places, func(l *scope) bool { return strings.HasPrefix(l.match, "~") }) {
		for _, l := range s.places {
			if strings.HasPrefix(l.match, "*") {
				l.match = l.pattern
			}
		}
	}
}

// doubled reports whether another location counts for the prefix of l: /x/ before /x, and of two alike
// the one that refuses.
func (s *host) doubled(l *scope) bool {
	directory := func(l *scope) string { return strings.TrimPrefix(l.match, "^~ ") }
	weight := func(l *scope) (n int) {
		if strings.HasSuffix(l.prefix, "/") {
			n = 2
		}
		if l.guards() {
			n++
		}
		return n
	}
	inside := func(o *scope) bool { // another prefix has the requests of the one that l is within
		return o.within == "" && o.prefix != "" && l.within != "" && len(o.prefix) > len(l.within) && strings.HasPrefix(l.prefix, o.prefix)
	}
	if l.prefix != "" && slices.ContainsFunc(s.places, inside) {
		return true
	}
	return strings.HasPrefix(directory(l), "/") && slices.ContainsFunc(s.places, func(o *scope) bool {
		return directory(o) == directory(l) && weight(o) > weight(l)
	})
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
		if guarded(d.block) || s.guards() {
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

// depths yields each byte of a pattern that is not escaped by its place, with the number of groups that
// are open behind it.
func depths(text string) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for i, depth := 0, 0; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
				continue
			case '(':
				depth++
			case ')':
				depth--
			}
			if !yield(i, depth) {
				return
			}
		}
	}
}

// groupEnd returns where the group ends that begins at i.
func groupEnd(text string, i int) int {
	for n, depth := range depths(text[i:]) {
		if depth == 0 {
			return i + n + 1
		}
	}
	return len(text)
}

// alternatives reports whether a pattern has some that are not in parentheses.
func alternatives(text string) bool {
	for i, depth := range depths(text) {
		if depth == 0 && text[i] == '|' {
			return true
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
