package httpfile

import "math"

// span is the half-open range [off, end) of a representation.
type span struct{ off, end int64 }

// rangeResult says what becomes of a Range field.
type rangeResult uint8

const (
	// rangeIgnored: another unit, or more than can be served as ranges: 200.
	rangeIgnored rangeResult = iota
	// rangeInvalid: no valid set of byte ranges, or none that the
	// representation has: 416.
	rangeInvalid
	// rangeOK: the spans are what to send: 206.
	rangeOK
)

// rangeSet returns the set after "bytes=" (the unit in any case: RFC 9110
// 14.1), not ok if the field is of another unit.
func rangeSet(field []byte) (set []byte, ok bool) {
	const unit = "bytes="
	field = trimOWS(field)
	if len(field) < len(unit) || !equalFold(field[:len(unit)], unit) {
		return nil, false
	}
	return trimOWS(field[len(unit):]), true
}

// parseSpan reads one int-range or suffix-range for a representation of size
// bytes (size > 0). valid: it is one. have: the representation has some of it.
func parseSpan(b []byte, size int64) (s span, valid, have bool) {
	first, rest := cutNumber(b)
	if len(rest) == 0 || rest[0] != '-' {
		return s, false, false
	}
	last, tail := cutNumber(rest[1:])
	switch {
	case len(tail) > 0:
		return s, false, false
	case len(first) == 0: // suffix
		n := min(number(last), size)
		return span{size - n, size}, len(last) > 0, n > 0
	}
	off := number(first)
	if len(last) == 0 {
		return span{off, size}, true, off < size
	}
	if lessDigits(last, first) {
		return s, false, false
	}
	end := number(last)
	return span{off, min(end, size-1) + 1}, true, off < size
}

// cutNumber returns the digits at the start of b, and what follows them.
func cutNumber(b []byte) (digits, rest []byte) {
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	return b[:n], b[n:]
}

// number returns the value of digits, or the greatest int64 if that is less.
func number(digits []byte) int64 {
	var v int64
	for _, c := range digits {
		d := int64(c - '0')
		if v > (math.MaxInt64-d)/10 {
			return math.MaxInt64
		}
		v = v*10 + d
	}
	return v
}

// lessDigits compares numbers of any length.
func lessDigits(a, b []byte) bool {
	for len(a) > 0 && a[0] == '0' {
		a = a[1:]
	}
	for len(b) > 0 && b[0] == '0' {
		b = b[1:]
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return string(a) < string(b)
}

// spanList collects the ranges of a set. Ranges that are few and apart stay as they
// came. Once there are more than max, or two overlap, all that overlap or lie closer
// than gap are merged, in the order of their first appearance (RFC 9110 15.3.7.2). If
// more than max stand apart even so, or all that is asked for is more than there is, the
// whole representation is the better answer.
type spanList struct {
	spans   []span
	max     int
	gap     int64
	left    int64 // of the size: how many bytes more may be asked for
	merging bool
	tooMuch bool
}

// start empties l and keeps its memory.
func (l *spanList) start(p *Policy) {
	*l = spanList{spans: l.spans[:0], max: p.maxRanges, gap: p.mergeGap}
}

// parseRanges reads a set of ranges. A fault anywhere makes all of it invalid.
func (l *spanList) parseRanges(set []byte, size int64) rangeResult {
	l.left = size
	for len(set) > 0 {
		var elem []byte
		elem, set = cutList(set)
		if len(elem) == 0 { // empty list elements are allowed (RFC 9110 5.6.1.2)
			continue
		}
		s, valid, have := parseSpan(elem, size)
		if !valid {
			return rangeInvalid
		}
		if have && !l.tooMuch {
			l.add(s)
		}
	}
	switch {
	case l.tooMuch:
		return rangeIgnored
	case len(l.spans) == 0:
		return rangeInvalid
	}
	return rangeOK
}

func (l *spanList) add(s span) {
	if l.left -= s.end - s.off; l.left < 0 {
		l.tooMuch = true
		return
	}
	if !l.merging {
		if len(l.spans) < l.max && !l.overlaps(s) {
			l.spans = append(l.spans, s)
			return
		}
		l.startMerging()
	}
	l.merge(s)
	l.tooMuch = len(l.spans) > l.max
}

func (l *spanList) overlaps(s span) bool {
	for _, t := range l.spans {
		if s.off < t.end && t.off < s.end {
			return true
		}
	}
	return false
}

// startMerging merges what is there.
func (l *spanList) startMerging() {
	l.merging = true
	old := l.spans
	l.spans = l.spans[:0]
	for _, s := range old { // merge writes no further than it has read
		l.merge(s)
	}
}

// merge adds s, united with all spans that it overlaps or nearly touches, in the
// place of the first of these, or at the end if there are none. One pass is enough: the
// spans in the list are at least gap apart, so a span that is not near s is not near the
// united span either.
func (l *spanList) merge(s span) {
	kept := l.spans[:0]
	place := -1
	for _, t := range l.spans {
		if s.off-t.end >= l.gap || t.off-s.end >= l.gap {
			kept = append(kept, t)
			continue
		}
		s = span{min(s.off, t.off), max(s.end, t.end)}
		if place < 0 {
			place = len(kept)
			kept = append(kept, t)
		}
	}
	if place < 0 {
		l.spans = append(kept, s)
		return
	}
	kept[place] = s
	l.spans = kept
}
