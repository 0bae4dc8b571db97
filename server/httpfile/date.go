package httpfile

import (
	"strings"
	"time"
)

// DateLen is the length of an HTTP-date in the preferred form, which is the
// only form that is sent.
const DateLen = len("Sun, 06 Nov 1994 08:49:37 GMT")

const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// AppendDate appends the HTTP-date of an instant (Unix time in seconds), always
// DateLen bytes.
func AppendDate(dst []byte, unixSec int64) []byte {
	t := time.Unix(unixSec, 0).UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, dateLayout)
	}
	hour, minute, second := t.Clock()
	dst = append(append(dst, t.Weekday().String()[:3]...), ", "...)
	dst = append(appendTwo(dst, day), ' ')
	dst = append(append(dst, month.String()[:3]...), ' ')
	dst = append(appendTwo(appendTwo(dst, year/100), year%100), ' ')
	dst = append(appendTwo(dst, hour), ':')
	dst = append(appendTwo(dst, minute), ':')
	return append(appendTwo(dst, second), " GMT"...)
}

func appendTwo(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// floorSec returns whole seconds of an instant in ns, rounded down also before 1970.
func floorSec(ns int64) int64 {
	s := ns / 1e9
	if ns%1e9 < 0 {
		s--
	}
	return s
}

// parseDate reads an HTTP-date in any of the three forms that must be accepted
// (RFC 9110 5.6.7) as Unix time in seconds. nowNs settles the century of
// two-digit years.
func parseDate(b []byte, nowNs int64) (sec int64, ok bool) {
	b = trimOWS(b)
	if len(b) < len("Sun Nov  6 08:49:37 1994") {
		return 0, false
	}
	switch {
	case b[3] == ',':
		return parseIMF(b)
	case b[3] == ' ':
		return parseAsctime(b)
	}
	return parseRFC850(b, nowNs)
}

// parseIMF reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMF(b []byte) (int64, bool) {
	if len(b) != DateLen || !isDayName(b[:3]) || b[4] != ' ' || b[7] != ' ' ||
		b[11] != ' ' || b[16] != ' ' || string(b[25:]) != " GMT" {
		return 0, false
	}
	var d dateParts
	d.day = twoDigits(b[5:])
	d.year = twoDigits(b[12:])*100 + twoDigits(b[14:])
	if twoDigits(b[12:]) < 0 || twoDigits(b[14:]) < 0 {
		return 0, false
	}
	d.month = parseMonth(b[8:11])
	return d.unix(b[17:25])
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(b []byte) (int64, bool) {
	if len(b) != 24 || !isDayName(b[:3]) || b[7] != ' ' || b[10] != ' ' || b[19] != ' ' {
		return 0, false
	}
	var d dateParts
	if b[8] == ' ' {
		d.day = twoDigits([]byte{'0', b[9]})
	} else {
		d.day = twoDigits(b[8:])
	}
	hi, lo := twoDigits(b[20:]), twoDigits(b[22:])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	d.year = hi*100 + lo
	d.month = parseMonth(b[4:7])
	return d.unix(b[11:19])
}

// parseRFC850 reads "Sunday, 06-Nov-94 08:49:37 GMT". A year that appears to be
// more than 50 years in the future is the most recent past one with the same
// last two digits (RFC 9110 5.6.7).
func parseRFC850(b []byte, nowNs int64) (int64, bool) {
	comma := 0
	for comma < len(b) && b[comma] != ',' {
		comma++
	}
	if len(b)-comma != len(", 06-Nov-94 08:49:37 GMT") || !isLongDayName(b[:comma]) {
		return 0, false
	}
	b = b[comma:]
	if b[1] != ' ' || b[4] != '-' || b[8] != '-' || b[11] != ' ' || string(b[20:]) != " GMT" {
		return 0, false
	}
	var d dateParts
	d.day = twoDigits(b[2:])
	d.month = parseMonth(b[5:8])
	yy := twoDigits(b[9:])
	if yy < 0 {
		return 0, false
	}
	now := time.Unix(0, nowNs).UTC()
	d.year = now.Year() - now.Year()%100 + yy
	sec, ok := d.unix(b[12:20])
	if ok && sec > now.AddDate(50, 0, 0).Unix() {
		d.year -= 100
		return d.unix(b[12:20])
	}
	return sec, ok
}

type dateParts struct {
	year, day int
	month     time.Month
}

// unix combines a date with "08:49:37". A second of 60 is a leap second.
func (d dateParts) unix(clock []byte) (int64, bool) {
	if clock[2] != ':' || clock[5] != ':' {
		return 0, false
	}
	h, m, s := twoDigits(clock), twoDigits(clock[3:]), twoDigits(clock[6:])
	if h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 || d.month == 0 || d.day < 1 {
		return 0, false
	}
	t := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC)
	if t.Day() != d.day { // normalised: there is no such day in the month
		return 0, false
	}
	return t.Unix() + int64(h*3600+m*60+s), true
}

// twoDigits returns the number in the first two bytes of b, or a number far below
// zero if they are not digits.
func twoDigits(b []byte) int {
	hi, lo := b[0]-'0', b[1]-'0'
	if hi > 9 || lo > 9 {
		return -1 << 20
	}
	return int(hi)*10 + int(lo)
}

// parseMonth returns 0 for what is no month's name.
func parseMonth(b []byte) time.Month {
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	i := strings.Index(names, string(b))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}

// isDayName and isLongDayName accept any day: that it is the right one for the
// date is not asked.
func isDayName(b []byte) bool {
	switch string(b) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

func isLongDayName(b []byte) bool {
	switch string(b) {
	case "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday":
		return true
	}
	return false
}
