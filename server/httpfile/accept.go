package httpfile

import (
	"bytes"
	"strconv"
	"strings"
)

// PrefersJSON reports whether an Accept field ranks JSON above HTML: by its
// weight, and where that is equal by being named more exactly (RFC 9110 12.5.1).
// "*/*" and nothing at all get HTML.
func PrefersJSON(accept []byte) bool {
	if len(accept) == 0 {
		return false
	}
	value := string(accept)
	jsonQ, jsonBy := weightOf(value, "application", "json")
	htmlQ, htmlBy := weightOf(value, "text", "html")
	if jsonQ != htmlQ {
		return jsonQ > htmlQ
	}
	return jsonQ > 0 && jsonBy > htmlBy
}

var html, jsonName = []byte("html"), []byte("json")

// PrefersHTML reports whether an Accept field names HTML, as those of browsers do, and ranks
// neither plain text nor JSON above it.
func PrefersHTML(accept []byte) bool {
	if !bytes.Contains(accept, html) {
		return false
	}
	value := string(accept)
	q, by := weightOf(value, "text", "html")
	jsonQ, _ := weightOf(value, "application", "json")
	return by == byName && leads(value, q, jsonQ)
}

// prefersProblem reports whether an Accept field names JSON, or problems in JSON (RFC 9457), and ranks
// neither plain text nor HTML above it.
func prefersProblem(accept []byte) bool {
	if !bytes.Contains(accept, jsonName) {
		return false
	}
	value := string(accept)
	q, by := weightOf(value, "application", "json")
	problemQ, problemBy := weightOf(value, "application", "problem+json")
	htmlQ, _ := weightOf(value, "text", "html")
	return max(by, problemBy) == byName && leads(value, max(q, problemQ), htmlQ)
}

// leads reports whether a weight is above 0 and not below that of plain text and another.
func leads(accept string, q, other float64) bool {
	textQ, _ := weightOf(accept, "text", "plain")
	return q > 0 && q >= textQ && q >= other
}

// byName is how exactly a range names a type that it spells out.
const byName = 3

// weightOf returns the weight that an Accept field gives to a media type, 0 if
// it is not accepted, and how exactly the range that counts names it: 1 for
// "*/*" to 3 for the type itself, 0 for none.
func weightOf(accept, main, sub string) (q float64, by int) {
	for elem := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(elem, ";")
		exact := 0
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "*/*":
			exact = 1
		case main + "/*":
			exact = 2
		case main + "/" + sub:
			exact = byName
		}
		if exact > by {
			q, by = qualityOf(params), exact
		}
	}
	return q, by
}

// qualityOf returns the q among the parameters of a media range. What is not a
// weight is none: the range counts as if it had none.
func qualityOf(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
		}
	}
	return 1
}
