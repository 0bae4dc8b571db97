package httpfile

import "bytes"

// PathError says why a request target is refused, always with 400.
type PathError string

func (e PathError) Error() string { return "request target: " + string(e) }

// The reasons why NormalizePath refuses a path.
const (
	ErrTargetForm    = PathError("neither a path nor an http URI")
	ErrBadByte       = PathError("forbidden byte")
	ErrBadEscape     = PathError("bad percent-encoding")
	ErrEncodedDotDot = PathError("encoded dot-dot segment")
	ErrOutsideRoot   = PathError("path leaves the root")
)

// NormalizePath returns the decoded, normalised form of the path of a request target
// (RFC 9112 3.2), as it came, without its query. That is done once: the same bytes are to
// route, to limit and to open. It begins with one slash; an empty path, as of "http://host",
// is "/".
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
// The path aliases raw if there was nothing to change, and else is made in
// dst[:0], which must not overlap raw; nothing is allocated if dst has room
// for the path as it came.
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

// AppendPath appends a part of a normalised path, percent-encoded as by AppendLocation.
func AppendPath(dst, part []byte) []byte { return appendEscaped(dst, part, &keepPath) }

// AppendQuery appends a query, percent-encoded as by AppendLocation, without its '?'.
func AppendQuery(dst, query []byte) []byte { return appendEscaped(dst, query, &keepQuery) }

func appendQuery(dst, query []byte) []byte {
	if query == nil {
		return dst
	}
	return appendEscaped(append(dst, '?'), query, &keepQuery)
}
