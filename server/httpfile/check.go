package httpfile

import (
	"errors"
	"fmt"
	"strings"
)

func checkRange(what string, v, least, most int64) error {
	if v < least || v > most {
		return fmt.Errorf("%s %d: not between %d and %d", what, v, least, most)
	}
	return nil
}

// checkValue refuses text that would break the field that it is put into.
func checkValue(what, v string) error {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("%s %q: control character", what, v)
		}
	}
	if v != strings.Trim(v, " \t") {
		return fmt.Errorf("%s %q: white space around it", what, v)
	}
	return nil
}

// checkToken accepts nothing, or a token (RFC 9110 5.6.2).
func checkToken(what, v string) error {
	for i := range len(v) {
		if !isToken[v[i]] {
			return fmt.Errorf("%s %q: not a token", what, v)
		}
	}
	return nil
}

func checkType(what, v string) error {
	main, rest, _ := strings.Cut(v, "/")
	sub, _, _ := strings.Cut(rest, ";")
	sub = strings.TrimRight(sub, " \t")
	if main == "" || sub == "" || checkToken("", main) != nil || checkToken("", sub) != nil {
		return fmt.Errorf("%s %q: not type/subtype", what, v)
	}
	return checkValue(what, v)
}

func checkDisposition(rules []Rule) error {
	var faults []error
	for _, r := range rules {
		if r.Value != "attachment" && r.Value != "inline" {
			faults = append(faults, fmt.Errorf("disposition rule %q: %q is neither attachment nor inline", r.Match, r.Value))
		}
	}
	return errors.Join(faults...)
}
