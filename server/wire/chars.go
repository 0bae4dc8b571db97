package wire

import (
	"encoding/binary"
	"math/bits"
)

// Classes of bytes, as bits of charClass.
const (
	isToken = 1 << iota // tchar, RFC 9110 section 5.6.2
	isPlain             // may stand in a request-target; not '?' and '%', which mean something there
	isHost              // may stand in a reg-name: RFC 3986 without pct-encoded
	isValue             // may stand in a field value: HTAB, SP, VCHAR, obs-text
	isHex
)

// charClass gives the classes of each byte.
//
// Targets are taken as browsers send them: of the bytes that RFC 3986 does not
// allow, those that the WHATWG URL standard leaves unescaped ([ ] ^ ` { | } \
// and bytes from 0x80, which are some clients' unescaped UTF-8) pass. None of
// them can be taken for the end of the target. " < > and # do not pass; ? and
// % are looked at one by one.
var charClass = func() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= isValue
		}
		if c > ' ' && c != 0x7f {
			t[c] |= isPlain
		}
	}
	for _, c := range []byte("\"<>#?%") {
		t[c] &^= isPlain
	}
	for c := range 26 {
		t['a'+c] |= isToken | isHost
		t['A'+c] |= isToken | isHost
	}
	for c := range 10 {
		t['0'+c] |= isToken | isHost | isHex
	}
	for c := range 6 {
		t['a'+c] |= isHex
		t['A'+c] |= isHex
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= isToken
	}
	for _, c := range []byte("-._~!$&'()*+,;=") {
		t[c] |= isHost
	}
	return t
}()

// IsToken reports whether b may stand in a token, as methods and names of fields are.
func IsToken(b byte) bool { return charClass[b]&isToken != 0 }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// controls marks, with the high bit of the byte, bytes of x below 0x20 and
// bytes equal to 0x7f. Only the lowest mark is exact: the borrow out of a
// marked byte may mark bytes above it.
func controls(x uint64) uint64 {
	del := x ^ 0x7f*ones
	return ((x-0x20*ones)&^x | (del-ones)&^del) & highs
}

// scanText returns the index of the first byte of b from i on that is a
// control character other than HTAB, or len(b).
func scanText(b []byte, i int) int {
	for i < len(b) {
		if i+8 <= len(b) {
			m := controls(binary.LittleEndian.Uint64(b[i:]))
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		if charClass[b[i]]&isValue == 0 {
			return i
		}
		i++
	}
	return len(b)
}

// trim returns the bounds of b[i:j] without leading and trailing SP and HTAB.
func trim(b []byte, i, j int) (int, int) {
	for i < j && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	for i < j && (b[j-1] == ' ' || b[j-1] == '\t') {
		j--
	}
	return i, j
}

// equalFold reports whether b is the lower-case ASCII text s, case-insensitively.
// s consists of letters, digits and '-'.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// nextMember cuts the first member off a comma-separated list and reports
// whether another one follows. Members are trimmed and may be empty.
func nextMember(list []byte) (member, rest []byte, more bool) {
	j := 0
	for j < len(list) && list[j] != ',' {
		j++
	}
	if j < len(list) {
		rest, more = list[j+1:], true
	}
	a, z := trim(list, 0, j)
	return list[a:z], rest, more
}
