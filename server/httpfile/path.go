package httpfile

import "bytes"

// PathError says why a request target is refused, always with 400.
type PathError string

func (e PathError) Error() string { return "request target: " + string(e) }

// The reasons why ParsePath refuses a target.
const (
	ErrTargetForm    = PathError("neither a path nor an http URI")
	ErrBadByte       = PathError("forbidden byte")
	ErrBadEscape     = PathError("bad percent-encoding")
	ErrEncodedDotDot = PathError("encoded dot-dot segment")
	ErrOutsideRoot   = PathError("path leaves the root")
)

// ParsePath returns the path and the query of a request target in origin-form
// or absolute-form (RFC 9112 3.2). The path is decoded and normalised, once:
// the same bytes are to route, to limit and to open. It begins with one slash.
//
//   - Percent-encodings are decoded one time; "%252e" is the name "%2e".
//   - Repeated slashes become one; "." segments go.
//   - A ".." that stays inside the root is resolved, as clients do before they
//     send; one that leaves it is refused. One with an encoded dot or beside an
//     encoded slash is refused wherever it stands: no client sends it in good faith,
//     and a proxy that routes by prefix may have missed it.
//   - An encoded slash is a slash, as in nginx: npm asks for "/@scope%2fname". See
//     Policy.Refuses.
//   - NUL is refused, which no name holds, and so are control characters, spaces and '#'
//     that are not encoded. All other bytes are of names, valid UTF-8 or not.
//
// "*" and authority-form are refused; methods that use them are answered by
// Plan.Decline, without a path. The query is returned as it came, nil if there
// is none.
//
// The path aliases target if there was nothing to change, and else is made in
// dst[:0], which must not overlap target; nothing is allocated if dst has room
// for the path as it came.
func ParsePath(dst, target []byte) (path, query []byte, err error) {
	_, raw, query, err := SplitTarget(target)
	if err != nil {
		return nil, nil, err
	}
	path, err = NormalizePath(dst, raw)
	return path, query, err
}

// NormalizePath is ParsePath for a raw path that was cut from its target
// already. An empty one, as in "http://host", is "/".
func NormalizePath(dst, raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return append(dst[:0], '/'), nil
	}
	if raw[0] != '/' {
		return nil, ErrTargetForm
	}
	clean, err := isClean(raw)
	switch {
	case err != nil:
		return nil, err
	case clean:
		return raw, nil
	}
	return normalize(dst[:0], raw)
}

// SplitTarget cuts a request target into authority (nil in origin-form; in
// absolute-form it takes the place of Host, RFC 9112 3.2.2), raw path and query.
func SplitTarget(target []byte) (authority, path, query []byte, err error) {
	if len(target) == 0 {
		return nil, nil, nil, ErrTargetForm
	}
	path = target
	if path[0] != '/' {
		n := schemeLen(target)
		if n == 0 {
			return nil, nil, nil, ErrTargetForm
		}
		end := n
		for end < len(target) && target[end] != '/' && target[end] != '?' {
			end++
		}
		authority, path = target[n:end], target[end:]
		if !validAuthority(authority) {
			return nil, nil, nil, ErrTargetForm
		}
	}
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i+1:]
		for _, c := range query {
			if c <= ' ' || c == 0x7f || c == '#' {
				return nil, nil, nil, ErrBadByte
			}
		}
	}
	return authority, path, query, nil
}

func schemeLen(target []byte) int {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(target) >= len(scheme) && equalFold(target[:len(scheme)], scheme) {
			return len(scheme)
		}
	}
	return 0
}

// validAuthority accepts host and port in their usual bytes; user information
// is refused (RFC 9110 4.2.4).
func validAuthority(b []byte) bool {
	for _, c := range b {
		if !isAuthority[c] {
			return false
		}
	}
	return len(b) > 0
}

var isAuthority = byteSet("-._~!$&'()*+,;=:[]%0123456789" +
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// What a byte does to a raw path, as bits.
const (
	pathEscape = 1 << iota // begins a percent-encoding
	pathBad                // must not be there
)

var pathClass = makePathClass()

func makePathClass() (class [256]uint8) {
	for c := range 0x21 { // controls and space
		class[c] = pathBad
	}
	class[0x7f], class['#'] = pathBad, pathBad
	class['%'] = pathEscape
	return class
}

var twoSlashes, slashDot = []byte("//"), []byte("/.")

// isClean reports whether a raw path is normalised as it stands. A segment that
// begins with a dot is left to normalize.
func isClean(raw []byte) (bool, error) {
	var seen uint8
	for _, c := range raw {
		seen |= pathClass[c]
	}
	if seen&pathBad != 0 {
		return false, ErrBadByte
	}
	return seen == 0 && !bytes.Contains(raw, twoSlashes) && !bytes.Contains(raw, slashDot), nil
}

// normalize appends the decoded, normalised form of raw, which begins with a
// slash and holds no bytes that isClean refuses.
func normalize(out, raw []byte) ([]byte, error) {
	for len(raw) > 0 {
		escaped := raw[0] == '%' // the slash before the segment
		if escaped {
			raw = raw[2:]
		}
		raw = raw[1:]
		end := slash(raw)
		last := end == len(raw)
		start := len(out)
		out = append(out, '/')
		var dotEscaped bool
		var err error
		if out, dotEscaped, err = appendDecoded(out, raw[:end]); err != nil {
			return nil, err
		}
		raw = raw[end:]
		escaped = escaped || dotEscaped || !last && raw[0] == '%'
		switch name := out[start+1:]; string(name) {
		case "", ".":
			out = out[:start]
		case "..":
			if escaped {
				return nil, ErrEncodedDotDot
			}
			if start == 0 {
				return nil, ErrOutsideRoot
			}
			out = out[:bytes.LastIndexByte(out[:start], '/')]
		default:
			continue
		}
		if last { // "", "." and ".." at the end name a directory
			out = append(out, '/')
		}
	}
	return out, nil
}

// slash returns the index of the first slash in raw, encoded or not, or len(raw).
func slash(raw []byte) int {
	for i, c := range raw {
		if c == '/' || c == '%' && isSlash(raw[i:]) {
			return i
		}
	}
	return len(raw)
}

// isSlash reports whether b begins with an encoded slash.
func isSlash(b []byte) bool { return len(b) >= 3 && b[1] == '2' && b[2]|0x20 == 'f' }

// appendDecoded appends a segment with its percent-encodings decoded, and says
// whether a dot was among them.
func appendDecoded(out, seg []byte) (_ []byte, dotEscaped bool, err error) {
	for i := 0; i < len(seg); i++ {
		c := seg[i]
		if c == '%' {
			if i+2 >= len(seg) {
				return nil, false, ErrBadEscape
			}
			hi, lo := unhex[seg[i+1]], unhex[seg[i+2]]
			if hi|lo > 15 {
				return nil, false, ErrBadEscape
			}
			c = hi<<4 | lo
			i += 2
			if c == 0 {
				return nil, false, ErrBadByte
			}
			dotEscaped = dotEscaped || c == '.'
		}
		out = append(out, c)
	}
	return out, dotEscaped, nil
}

var unhex = makeUnhex()

func makeUnhex() (t [256]uint8) {
	for c := range t {
		t[c] = 0xff
	}
	for i := range 10 {
		t['0'+i] = uint8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = uint8(10+i), uint8(10+i)
	}
	return t
}

var (
	keepPath = byteSet("-._~!$&()*+,;=:@/0123456789" +
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	keepQuery = byteSet("-._~!$&()*+,;=:@/?%'[]0123456789" +
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
)

// AppendLocation appends the path-absolute reference to a normalised path, with
// a query as it came in a request target (nil: none). What is not safe in a
// field value or a URI is percent-encoded, and the result never begins with
// two slashes, which would name a host.
func AppendLocation(dst, path, query []byte) []byte {
	for len(path) > 0 && path[0] == '/' {
		path = path[1:]
	}
	dst = append(dst, '/')
	dst = appendEscaped(dst, path, &keepPath)
	return appendQuery(dst, query)
}

func appendQuery(dst, query []byte) []byte {
	if query == nil {
		return dst
	}
	return appendEscaped(append(dst, '?'), query, &keepQuery)
}
