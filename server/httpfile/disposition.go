package httpfile

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// dispositionNames returns the file name parameters for the last segment of a
// path: `; filename="…"` in plain ASCII, and `; filename*=UTF-8”…` (RFC 8187)
// where that says more. A path that ends in a slash has none.
func dispositionNames(path string) string {
	name := cleanName(path[strings.LastIndexByte(path, '/')+1:])
	if name == "" {
		return ""
	}
	ascii := asciiName(name)
	out := `; filename="` + ascii + `"`
	if ascii != name {
		out += "; filename*=UTF-8''" + escapeExtValue(name)
	}
	return out
}

// cleanName replaces characters that a name must not bring into a dialogue or a file
// system: control characters, path separators, bytes that are no UTF-8, and the marks
// that turn the direction of text. Such a mark can make "gpj.exe" read as "exe.jpg".
func cleanName(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		switch {
		case r == utf8.RuneError && n == 1, unicode.IsControl(r), r == '/', r == '\\',
			unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			b.WriteByte('_')
		default:
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}

// asciiName replaces characters of a clean name that clients read differently in a
// quoted string (RFC 6266 appendix D): '"', for which some know no escape, '%', which
// some decode, and all that is not ASCII.
func asciiName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || r == '"' || r == '%' {
			return '_'
		}
		return r
	}, name)
}

// isAttrChar marks attr-char (RFC 8187 3.2.1).
var isAttrChar = byteSet("!#$&+-.^_`|~0123456789" +
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

func escapeExtValue(name string) string {
	return string(appendEscaped(nil, name, &isAttrChar))
}

// appendEscaped appends s with the bytes outside of keep percent-encoded.
func appendEscaped[T string | []byte](dst []byte, s T, keep *[256]bool) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; keep[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}
