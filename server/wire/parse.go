package wire

import (
	"bytes"
	"encoding/binary"
)

// maxMethod bounds methods; the longest one registered has 17 letters.
const maxMethod = 32

// Parse reads a request head from the beginning of buf. It returns
//
//	n > 0, OK: a head of n bytes; buf[n:] is its body or the next request
//	0, OK:     more bytes are needed
//	0, other:  the request is to be refused with the reason's status
//
// seen is how many bytes of buf were already there when Parse last asked for more, 0 at
// first. Those bytes are not looked at again until the head is complete, so a head that
// arrives in many pieces costs time linear in its length. The result does not depend on
// the pieces. Only a fault may be found some bytes later: a fault within a line at the end
// of the line, a fault between lines at the end of the head.
func (h *Head) Parse(buf []byte, seen int, lim Limits) (n int, r Reason) {
	lim = lim.WithDefaults()
	if seen = min(seen, len(buf)); seen > 0 && !worthParsing(buf, seen, lim) {
		return 0, OK
	}
	n, r = h.parse(buf, lim)
	if r == more {
		return 0, OK
	}
	return n, r
}

func (h *Head) parse(buf []byte, lim Limits) (int, Reason) {
	src := buf[:min(len(buf), lim.MaxHead)]
	h.reset(src)
	i, r := h.requestLine(src, lim.MaxTarget)
	if r == OK {
		h.lines = uint32(i)
		i, r = h.fieldLines(src, i, lim.MaxFields)
	}
	if r == OK {
		h.buf = src[:i:i]
		r = h.finish()
	}
	if r == OK {
		return i, OK
	}
	if r == more && len(src) == lim.MaxHead {
		r = HeadTooLarge
	}
	return 0, r
}

// worthParsing reports whether the bytes after the first seen ones can have
// changed the answer "more": they end the request line or the head, hold a
// fault, or reach a limit. Everything before is known to be harmless so far.
func worthParsing(buf []byte, seen int, lim Limits) bool {
	if len(buf) >= lim.MaxHead {
		return true
	}
	i := seen
	if buf[i-1] == '\r' {
		i--
	}
	for {
		end := scanText(buf, i)
		if end == len(buf) || buf[end] == '\r' && end+1 == len(buf) {
			// No line ended, but the target may have become too long.
			return len(buf) > lim.MaxTarget && bytes.IndexByte(buf[2:], '\n') < 0
		}
		if buf[end] != '\r' {
			return true
		}
		line := bytes.LastIndexByte(buf[:end], '\n') + 1
		if line <= 2 || line == end {
			return true // the request line or the empty line
		}
		if _, r := scanField(buf, line); r != OK {
			return true
		}
		i = end + 2
	}
}

// requestLine reads method SP request-target SP HTTP-version CRLF and returns
// the index after it.
func (h *Head) requestLine(src []byte, maxTarget int) (int, Reason) {
	i, r := skipEmptyLine(src)
	if r != OK {
		return 0, r
	}
	start := i
	i, r = scanMethod(src, i)
	if r != OK {
		return 0, r
	}
	h.method = makeSpan(start, i)
	start = i + 1
	end, query, r := scanTarget(src, start, maxTarget)
	if r != OK {
		return 0, r
	}
	h.target = makeSpan(start, end)
	if i, r = h.version(src, end+1); r != OK {
		return 0, r
	}
	return i, h.targetForm(src, query)
}

// skipEmptyLine skips one CRLF (RFC 9112 section 2.2).
func skipEmptyLine(src []byte) (int, Reason) {
	if len(src) == 0 {
		return 0, more
	}
	if src[0] != '\r' {
		return 0, OK
	}
	if len(src) == 1 {
		return 0, more
	}
	if src[1] != '\n' {
		return 0, BareCR
	}
	return 2, OK
}

// scanMethod returns the index of the SP after the method that begins at i.
func scanMethod(src []byte, i int) (int, Reason) {
	start := i
	for ; i < len(src); i++ {
		if charClass[src[i]]&isToken != 0 {
			if i-start == maxMethod {
				return 0, MethodTooLong
			}
			continue
		}
		if src[i] != ' ' || i == start {
			return 0, lineFault(src, i, BadMethod)
		}
		return i, OK
	}
	return 0, more
}

const version11 = 'H' | 'T'<<8 | 'T'<<16 | 'P'<<24 | '/'<<32 | '1'<<40 | '.'<<48 | '1'<<56

// version reads HTTP-version CRLF at i and returns the index after it.
func (h *Head) version(src []byte, i int) (int, Reason) {
	if len(src)-i < len("HTTP/1.1\r\n") {
		return 0, badVersion(src[i:], more)
	}
	v := src[i : i+10]
	if v[8] != '\r' || v[9] != '\n' {
		return 0, badVersion(v, BadVersion)
	}
	if binary.LittleEndian.Uint64(v) == version11 {
		h.Minor = 1
		return i + 10, OK
	}
	if r := badVersion(v, OK); r != OK {
		return 0, r
	}
	if v[5] != '1' {
		return 0, UnsupportedVersion
	}
	if v[7] != '0' {
		h.Minor = 1
	}
	return i + 10, OK
}

// badVersion finds the fault of a version that may be cut off; otherwise it returns r.
func badVersion(v []byte, r Reason) Reason {
	const pattern = "HTTP/0.0\r\n"
	for i, c := range v {
		if c == pattern[i] || pattern[i] == '0' && '0' <= c && c <= '9' {
			continue
		}
		if pattern[i] == '\n' {
			return BareCR
		}
		return lineFault(v, i, BadVersion)
	}
	return r
}

// fieldLines reads field lines and the empty line, and returns the index after it.
func (h *Head) fieldLines(src []byte, i, maxFields int) (int, Reason) {
	for count := 0; i < len(src); count++ {
		if src[i] == '\r' {
			if i+1 == len(src) {
				return 0, more
			}
			if src[i+1] != '\n' {
				return 0, BareCR
			}
			return i + 2, OK
		}
		l, r := scanField(src, i)
		if r != OK {
			return 0, r
		}
		if count == maxFields {
			return 0, TooManyFields
		}
		if f := lookup(src[i:l.colon]); f != noField {
			if r := h.record(f, l.start, l.end); r != OK {
				return 0, r
			}
		}
		i = l.next
	}
	return 0, more
}

// fieldLine is where the parts of a field line are: the name ends at colon,
// the trimmed value is [start, end), the next line begins at next.
type fieldLine struct{ colon, start, end, next int }

// scanField reads the field line that begins at i.
func scanField(src []byte, i int) (l fieldLine, r Reason) {
	start := i
	for i < len(src) && charClass[src[i]]&isToken != 0 {
		i++
	}
	if i == len(src) {
		return l, more
	}
	if src[i] != ':' || i == start {
		return l, nameFault(src, start, i)
	}
	l.colon = i
	end := scanText(src, i+1)
	if end == len(src) {
		return l, more
	}
	if src[end] != '\r' || end+1 == len(src) || src[end+1] != '\n' {
		return l, lineFault(src, end, BadFieldValue)
	}
	l.next = end + 2
	l.start, l.end = trim(src, i+1, end)
	return l, OK
}

// nameFault returns the reason for a name that begins at start and has a wrong byte at i.
func nameFault(src []byte, start, i int) Reason {
	if i == start && (src[i] == ' ' || src[i] == '\t') {
		return ObsFold
	}
	return lineFault(src, i, BadFieldName)
}

// lineFault returns the reason for byte i: a lone LF, a lone CR, or r for any other byte.
// A CR that is the last byte so far may still be followed by LF.
func lineFault(src []byte, i int, r Reason) Reason {
	switch {
	case src[i] == '\n':
		return BareLF
	case src[i] != '\r':
		return r
	case i+1 == len(src):
		return more
	case src[i+1] != '\n':
		return BareCR
	}
	return r
}

func makeSpan(start, end int) span { return span{uint32(start), uint32(end)} }
