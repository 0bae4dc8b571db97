package httpfile

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// latin1 makes a string of one rune per byte, so that a regular expression sees bytes.
func latin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

var modelTag = regexp.MustCompile(`^[\t ,]*(W/)?("[\x21\x23-\x7e\x{80}-\x{ff}]*")[\t ]*(?:,|$)`)

// modelTags returns the entity tags of a list up to its first fault.
func modelTags(list string) (tags []string) {
	for {
		m := modelTag.FindStringSubmatch(latin1(list))
		if m == nil {
			return tags
		}
		tags = append(tags, m[1]+m[2])
		list = list[len([]rune(m[0])):]
	}
}

// modelMatch compares a list with a tag: strongly, or weakly.
func modelMatch(list, tag string, weakly bool) bool {
	if strings.Trim(list, " \t") == "*" {
		return true
	}
	for _, t := range modelTags(list) {
		if t == tag && !strings.HasPrefix(tag, "W/") {
			return true
		}
		if weakly && strings.TrimPrefix(t, "W/") == latin1(strings.TrimPrefix(tag, "W/")) {
			return true
		}
	}
	return false
}

func TestETagList(t *testing.T) {
	for _, c := range []struct {
		list         string
		strong, weak bool
	}{
		{`"x"`, true, true},
		{`W/"x"`, false, true},
		{`w/"x"`, false, false},
		{` "x" `, true, true},
		{`"a","x"`, true, true},
		{`"a" ,	"x"`, true, true},
		{`,,"a",, "x",`, true, true},
		{`"a, "x"`, false, false}, // a space is no etagc
		{`"a,","x"`, true, true},
		{`"a""x"`, false, false},
		{`"a" "x"`, false, false},
		{`a, "x"`, false, false},
		{`"x", a`, true, true}, // found before the fault
		{`"x" a`, false, false},
		{`"x`, false, false},
		{`x`, false, false},
		{`"X"`, false, false},
		{`""`, false, false},
		{`W/W/"x"`, false, false},
		{`W/ "x"`, false, false},
		{`*, "a"`, false, false},
		{`"*"`, false, false},
		{`*`, true, true},
		{` *	`, true, true},
		{``, false, false},
		{`,`, false, false},
	} {
		if got := matchAny([]byte(c.list), `"x"`); got != c.strong {
			t.Errorf("If-Match: %s: %v", c.list, got)
		}
		if got := matchNone([]byte(c.list), `"x"`); got != c.weak {
			t.Errorf("If-None-Match: %s: %v", c.list, got)
		}
	}
}

func FuzzETagList(f *testing.F) {
	for _, list := range []string{
		`"x"`, `W/"x"`, `"a", "x"`, `"a","W/"x"`, `*`, `"x", a`, ` , "a" ,W/"x"`, `"a""x"`, "\"\x80\", \"x\"", `"x" a`, "\"a\x7f\",\"x\"",
	} {
		f.Add(list)
	}
	f.Fuzz(checkTags)
}

// checkTags compares both kinds of match with the model.
func checkTags(t *testing.T, list string) {
	for _, tag := range []string{`"x"`, `""`} {
		if got, want := matchAny([]byte(list), tag), modelMatch(list, tag, false); got != want {
			t.Errorf("%q matches %s strongly: %v, want %v", list, tag, got, want)
		}
		if got, want := matchNone([]byte(list), tag), modelMatch(list, tag, true); got != want {
			t.Errorf("%q matches %s weakly: %v, want %v", list, tag, got, want)
		}
	}
	any := strings.Trim(list, " \t") == "*"
	if matchAny([]byte(list), "") != any || matchNone([]byte(list), "") != any {
		t.Errorf("%q matches what has no tag", list)
	}
}

// The three forms of an HTTP-date (RFC 9110 5.6.7).
var (
	modelIMF   = regexp.MustCompile(`^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$`)
	model850   = regexp.MustCompile(`^[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$`)
	modelASCII = regexp.MustCompile(`^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$`)
	modelLeap  = regexp.MustCompile(`:60 `)
)

// modelDate parses a date with package time.
func modelDate(s string, now time.Time) (time.Time, bool) {
	s = strings.Trim(s, " \t")
	layout := ""
	switch {
	case modelIMF.MatchString(s):
		layout = "Mon, 02 Jan 2006 15:04:05 GMT"
	case model850.MatchString(s):
		layout = "Monday, 02-Jan-06 15:04:05 GMT"
	case modelASCII.MatchString(s):
		layout = "Mon Jan _2 15:04:05 2006"
	default:
		return time.Time{}, false
	}
	leap := modelLeap.MatchString(s)
	if leap {
		s = modelLeap.ReplaceAllString(s, ":59 ")
	}
	d, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, false
	}
	if leap {
		d = d.Add(time.Second)
	}
	if layout[6] == ',' { // two digits of the year: package time takes 69-99 for 19xx
		day := d.Day()
		d = nearCentury(d, now)
		return d, d.Day() == day // 29 February is not in every century
	}
	return d, true
}

// nearCentury moves a date with a two-digit year into the century of now, or
// the one before where that is more than 50 years in the future.
func nearCentury(d, now time.Time) time.Time {
	year := now.Year()/100*100 + d.Year()%100
	d = time.Date(year, d.Month(), d.Day(), d.Hour(), d.Minute(), d.Second(), 0, time.UTC)
	if d.After(now.AddDate(50, 0, 0).Truncate(time.Second)) {
		d = time.Date(year-100, d.Month(), d.Day(), d.Hour(), d.Minute(), d.Second(), 0, time.UTC)
	}
	return d
}

func TestDate(t *testing.T) {
	const want = 784111777
	in2026 := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for _, c := range []struct {
		date string
		sec  int64 // 0: invalid
	}{
		{testDate, want},
		{" " + testDate + "\t", want},
		{"Sunday, 06-Nov-94 08:49:37 GMT", want},
		{"Sun Nov  6 08:49:37 1994", want},
		{"Mon, 06 Nov 1994 08:49:37 GMT", want}, // the wrong day is not refused
		{"Sun Nov 06 08:49:37 1994", want},
		{"Sat Jan  1 00:00:00 2000", 946684800},
		{"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
		{"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
		{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
		{"Thu, 01 Jan 1970 00:00:01 GMT", 1},
		{"Wed, 31 Dec 1969 23:59:59 GMT", -1},
		{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
		{"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
		{"Monday, 01-Jun-76 00:00:00 GMT", 3358195200}, // 50 years ahead: 2076
		{"Tuesday, 02-Jun-76 00:00:00 GMT", 202521600}, // more: 1976
		{"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
		{"Wed, 29 Feb 2023 00:00:00 GMT", 0},
		{"Wed, 29 Feb 1900 00:00:00 GMT", 0},
		{"Wed, 31 Apr 2023 00:00:00 GMT", 0},
		{"Wed, 00 Apr 2023 00:00:00 GMT", 0},
		{"Wed, 32 Jan 2023 00:00:00 GMT", 0},
		{"Sun, 06 Nov 1994 24:00:00 GMT", 0},
		{"Sun, 06 Nov 1994 08:60:00 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:61 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:37 UTC", 0},
		{"Sun, 06 Nov 1994 08:49:37 +0000", 0},
		{"Sun, 06 Nov 1994 08:49:37", 0},
		{"sun, 06 nov 1994 08:49:37 gmt", 0},
		{"Son, 06 Nov 1994 08:49:37 GMT", 0},
		{"Sun, 06 Dez 1994 08:49:37 GMT", 0},
		{"Sun, 6 Nov 1994 08:49:37 GMT", 0},
		{"Sun,  6 Nov 1994 08:49:37 GMT", 0},
		{"Sun, 06-Nov-1994 08:49:37 GMT", 0},
		{"Sun, 06-Nov-94 08:49:37 GMT", 0},
		{"Sunday, 06 Nov 94 08:49:37 GMT", 0},
		{"Sun Nov 6 08:49:37 1994", 0},
		{"Sun Nov  6 08:49:37 199x", 0},
		{"Sunday, 06-Nov-x4 08:49:37 GMT", 0},
		{"Sun, 06 Nov 1x94 08:49:37 GMT", 0},
		{"784111777", 0},
		{"", 0},
		{"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", 0},
	} {
		sec, ok := parseDate([]byte(c.date), in2026)
		if sec != c.sec && ok || ok != (c.sec != 0) {
			t.Errorf("%q: %d, %v, want %d", c.date, sec, ok, c.sec)
		}
	}
}

// TestDateBytes puts every interesting byte in every place of the three forms.
func TestDateBytes(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, form := range []string{testDate, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"} {
		for i := range len(form) + 1 {
			for _, c := range []byte("0123456789 ,:-/xGMTN\x00\xff") {
				checkDate(t, form[:i]+string([]byte{c})+form[min(i+1, len(form)):], now) // in its place
				checkDate(t, form[:i]+string([]byte{c})+form[i:], now)                   // before it
			}
			checkDate(t, form[:i], now)
			checkDate(t, form[:i]+form[min(i+1, len(form)):], now)
		}
	}
}

func checkDate(t *testing.T, date string, now time.Time) {
	t.Helper()
	want, valid := modelDate(date, now)
	if sec, ok := parseDate([]byte(date), now.UnixNano()); ok != valid || ok && sec != want.Unix() {
		t.Errorf("%q: %d, %v, want %v, %v", date, sec, ok, want, valid)
	}
}

func TestAppendDate(t *testing.T) {
	for _, sec := range []int64{0, 1, -1, 784111777, 253402300799, -62167219200, 951782400} {
		got := AppendDate([]byte("x"), sec)
		if len(got) != 1+DateLen || got[0] != 'x' {
			t.Errorf("%d: %q", sec, got)
		}
		if back, ok := parseDate(got[1:], 0); !ok || back != sec {
			t.Errorf("%d: %q is read as %d, %v", sec, got, back, ok)
		}
	}
	for _, c := range []struct{ ns, sec int64 }{{0, 0}, {1, 0}, {-1, -1}, {1e9 - 1, 0}, {1e9, 1}, {-1e9, -1}, {-1e9 - 1, -2}} {
		if got := floorSec(c.ns); got != c.sec {
			t.Errorf("floorSec(%d) = %d", c.ns, got)
		}
	}
}

// modelConditional evaluates RFC 9110 13.2.2 step by step, and Range as a
// question of yes or no.
func modelConditional(req *Request, tag string, modified, now time.Time) (status int) {
	seconds := modified.Truncate(time.Second)
	date := func(b []byte) (time.Time, bool) { return modelDate(string(b), now) }
	if req.IfMatch != nil { // step 1
		if !modelMatch(string(req.IfMatch), tag, false) {
			return 412
		}
	} else if since, ok := date(req.IfUnmodifiedSince); ok && seconds.After(since) { // step 2
		return 412
	}
	if req.IfNoneMatch != nil { // step 3
		if modelMatch(string(req.IfNoneMatch), tag, true) {
			return 304
		}
	} else if since, ok := date(req.IfModifiedSince); ok && !seconds.After(since) { // step 4
		return 304
	}
	if req.Method == MethodGet && req.Range != nil { // step 5
		if req.IfRange == nil {
			return 206
		}
		is, isDate := date(req.IfRange)
		past := !now.Before(seconds.Add(time.Second))
		if strings.Trim(string(req.IfRange), " \t") == tag || isDate && is.Equal(seconds) && past {
			return 206
		}
	}
	return 200 // step 6
}

func FuzzConditional(f *testing.F) {
	const absent = "\x00"
	values := []string{absent, "", testTag, "W/" + testTag, `"other"`, `"other", ` + testTag, "*", testDate, olderDate, laterDate,
		"Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sat, 31 Dec 2016 23:59:60 GMT", "Tue, 29 Feb 1994 00:00:00 GMT", "x"}
	for i, v := range values {
		f.Add(v, absent, absent, absent, absent, false, int64(i)*4e8)
		f.Add(absent, v, absent, absent, absent, true, int64(-i))
		f.Add(absent, absent, v, values[(i*3)%len(values)], absent, true, int64(3600e9))
		f.Add(absent, values[(i*7)%len(values)], absent, v, absent, false, int64(i)*1e9)
		f.Add(absent, absent, absent, absent, v, true, int64(i)*4e8)
		f.Add(values[(i*2)%len(values)], absent, absent, absent, v, true, int64(5e9))
	}
	f.Fuzz(conditionalChecker(f, absent))
}

type checkConditional func(t *testing.T, ifMatch, unmodified, ifNone, modified, ifRange string, ranged bool, age int64)

// conditionalChecker returns a function that compares a plan with the model's. A
// value that is absent stands for a field that is not there; age is in ns.
func conditionalChecker(tb testing.TB, absent string) checkConditional {
	facts := testFacts(tb, Config{}, testFile)
	var p Plan
	value := func(s string) []byte {
		if s == absent {
			return nil
		}
		return []byte(s)
	}
	return func(t *testing.T, ifMatch, unmodified, ifNone, modified, ifRange string, ranged bool, age int64) {
		age %= 100 * 365 * 24 * int64(time.Hour) // keeps now within int64 ns
		now := testMtime + age
		req := &Request{Method: MethodGet, IfMatch: value(ifMatch), IfUnmodifiedSince: value(unmodified),
			IfNoneMatch: value(ifNone), IfModifiedSince: value(modified), IfRange: value(ifRange)}
		if ranged {
			req.Range = []byte("bytes=0-4")
		}
		want := modelConditional(req, facts.ETag, time.Unix(0, testMtime).UTC(), time.Unix(0, now).UTC())
		if planned(t, &p, req, facts, now); p.Status != want {
			t.Errorf("%q of age %d: %d, want %d", []string{ifMatch, unmodified, ifNone, modified, ifRange}, age, p.Status, want)
		}
		req.Method = MethodHead
		if want == 206 {
			want = 200
		}
		if planned(t, &p, req, facts, now); p.Status != want {
			t.Errorf("HEAD: %d, want %d", p.Status, want)
		}
	}
}
