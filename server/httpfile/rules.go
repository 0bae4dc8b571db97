package httpfile

import (
	"errors"
	"fmt"
	"strings"
)

// Rule gives a value to the paths that match.
//
// A pattern is compared with the normalised path and has at most one '*', which
// stands for any bytes, '/' too:
//
//	/exact/file      this path
//	/assets/         what begins with it (the slash at the end says so)
//	/assets/*.js     what begins with /assets/ and ends with .js
//	*.css            what ends with .css
//	*                every path
//
// What follows the '*' is compared without regard to ASCII case, since it is
// nearly always an extension. The first rule that matches counts.
type Rule struct {
	Match string
	Value string
}

// rule is a compiled Rule: the begin and the end of paths that match.
type rule struct {
	prefix, suffix string
	exact          bool // the whole path is prefix
	value          string
}

func compileRules(what string, rules []Rule) ([]rule, error) {
	var out []rule
	var faults []error
	for _, r := range rules {
		prefix, suffix, star := strings.Cut(r.Match, "*")
		if strings.Contains(suffix, "*") || r.Match == "" || prefix != "" && prefix[0] != '/' {
			hint := ""
			if r.Match == "true" || r.Match == "on" {
				hint = "; all of them are /"
			}
			faults = append(faults, fmt.Errorf("%s rule %q: not a path or a pattern with one *%s", what, r.Match, hint))
		}
		if r.Value == "" {
			faults = append(faults, fmt.Errorf("%s rule %q: no value", what, r.Match))
		}
		if err := checkValue(what+" rule", r.Value); err != nil {
			faults = append(faults, err)
		}
		exact := !star && !strings.HasSuffix(r.Match, "/")
		out = append(out, rule{prefix: prefix, suffix: strings.ToLower(suffix), exact: exact, value: r.Value})
	}
	return out, errors.Join(faults...)
}

func (r *rule) matches(path string) bool {
	if r.exact {
		return path == r.prefix
	}
	if !strings.HasPrefix(path, r.prefix) || len(path) < len(r.prefix)+len(r.suffix) {
		return false
	}
	return strings.ToLower(path[len(path)-len(r.suffix):]) == r.suffix
}

// firstMatch returns the value of the first rule that matches, or nothing.
func firstMatch(rules []rule, path string) string {
	for i := range rules {
		if rules[i].matches(path) {
			return rules[i].value
		}
	}
	return ""
}
