package httpfile

import "strings"

// Rules are a caller's own compiled rules, with the patterns of Rule. They are immutable.
type Rules struct{ rules []rule }

// CompileRules checks and compiles rules; what names them in errors.
func CompileRules(what string, rules []Rule) (*Rules, error) {
	compiled, err := compileRules(what, rules)
	if err != nil {
		return nil, err
	}
	return &Rules{compiled}, nil
}

// All calls yield for the value of every rule that matches a normalised path, in
// order, until it returns false.
func (r *Rules) All(path string) func(yield func(value string) bool) {
	return func(yield func(string) bool) {
		for i := range r.rules {
			if r.rules[i].matches(path) && !yield(r.rules[i].value) {
				return
			}
		}
	}
}

// IsToken reports whether s is a token (RFC 9110 5.6.2), as names of fields are.
func IsToken(s string) bool { return s != "" && checkToken("", s) == nil }

// FieldName returns the name in a field line "Name: value", empty if it has no colon.
func FieldName(line string) string {
	name, _, ok := strings.Cut(line, ":")
	if !ok {
		return ""
	}
	return name
}
