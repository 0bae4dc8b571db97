package record

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// lineTime is the time of a loop's lines as text. It is rendered once a second, of
// which ms are then put in.
type lineTime struct {
	format string // of time.Time; at msAt it has ms
	msAt   int    // 0: it has none
	text   []byte
	second int64
	ms     int64 // that text has, in Unix time
}

const (
	// jsonTime is RFC 3339 with ms, and what stands around it in a line.
	jsonTime = `{"time":"2006-01-02T15:04:05.000Z07:00","client":"`
	// combinedTime is that of the common log format.
	combinedTime = ` [02/Jan/2006:15:04:05 -0700] "`
)

// Times of templates.
const (
	localTime = "02/Jan/2006:15:04:05 -0700"
	isoTime   = "2006-01-02T15:04:05-07:00"
)

func newLineTime(f LogFormat) lineTime {
	if f == LogJSON {
		return lineTime{format: jsonTime, msAt: len(`{"time":"2006-01-02T15:04:05.`)}
	}
	return lineTime{format: combinedTime}
}

// at returns the text for an instant in Unix ns.
func (t *lineTime) at(now int64) []byte {
	ms := now / int64(time.Millisecond)
	if ms == t.ms && t.text != nil {
		return t.text
	}
	t.ms = ms
	if second := ms / 1000; second != t.second || t.text == nil {
		t.second = second
		t.text = time.Unix(0, now).AppendFormat(t.text[:0], t.format)
		return t.text
	}
	if t.msAt > 0 {
		putDigits(t.text[t.msAt:t.msAt+3], int(ms%1000))
	}
	return t.text
}

// putDigits writes a number of three digits.
func putDigits(p []byte, n int) {
	_ = p[2]
	p[0], p[1], p[2] = byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10)
}

// appendMS appends ns as milliseconds, to the nearest us.
func appendMS(p []byte, ns int64) []byte {
	if ns <= 0 {
		return append(p, "0.000"...)
	}
	us := (ns + 500) / 1000
	p = strconv.AppendInt(p, us/1000, 10)
	p = append(p, ".000"...)
	putDigits(p[len(p)-3:], int(us%1000))
	return p
}

// appendAddr appends an address, or in its place what nginx writes for Unix
// sockets, or a dash.
func appendAddr(p []byte, a netip.Addr, unix bool) []byte {
	switch {
	case a.IsValid():
		return a.AppendTo(p)
	case unix:
		return append(p, "unix:"...)
	}
	return append(p, '-')
}

// escaped are the bytes that could break a line, its quotes or a terminal, and
// those that are not ASCII.
var escaped = func() (t [256]bool) {
	for i := range t {
		t[i] = i < ' ' || i == '"' || i == '\\' || i >= 0x7f
	}
	return t
}()

// plain returns the length of the part of v before the first byte in escaped. It
// looks at eight bytes at a time, as in Bit Twiddling Hacks ("determine if a word
// has a byte less than n"): the lowest bit that is found is right.
func plain(v []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(v)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(v[i:])
		quote, back, del := x^ones*'"', x^ones*'\\', x^ones*0x7f
		found := (x - ones*' ') &^ x
		found |= (quote-ones)&^quote | (back-ones)&^back | (del-ones)&^del | x
		if found &= high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(v) && !escaped[v[i]] {
		i++
	}
	return i
}

// appendEscaped writes what could break a line or its quotes as \xHH, as nginx does.
func appendEscaped(p, v []byte) []byte {
	const hex = "0123456789ABCDEF"
	for {
		n := plain(v)
		p, v = append(p, v[:n]...), v[n:]
		if len(v) == 0 {
			return p
		}
		p, v = append(p, '\\', 'x', hex[v[0]>>4], hex[v[0]&15]), v[1:]
	}
}

// appendQuoted appends v in quotes, a dash if it is empty.
func appendQuoted(p, v []byte) []byte {
	if len(v) == 0 {
		return append(p, `"-"`...)
	}
	return append(appendEscaped(append(p, '"'), v), '"')
}

// appendString appends v as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(p, v []byte) []byte { return append(appendJSONText(append(p, '"'), v), '"') }

// appendJSONText appends what is between the quotes of a JSON string.
func appendJSONText(p, v []byte) []byte {
	const hex = "0123456789abcdef"
	for {
		n := plain(v)
		p, v = append(p, v[:n]...), v[n:]
		if len(v) == 0 {
			return p
		}
		switch b := v[0]; {
		case b >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(v)
			p, v = utf8.AppendRune(p, r), v[n:]
			continue
		case b == '"' || b == '\\':
			p = append(p, '\\', b)
		default:
			p = append(p, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		v = v[1:]
	}
}
