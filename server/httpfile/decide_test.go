package httpfile

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// summary describes a plan in a few words: status, Content-Range, and the file
// ranges that are sent.
func summary(p *Plan, r response) string {
	out := fmt.Sprint(r.status)
	if cr := r.fields.Get("Content-Range"); cr != "" {
		out += " " + cr
	}
	var spans []string
	for _, s := range fileSpans(p) {
		spans = append(spans, fmt.Sprintf("%d-%d", s.off, s.end-1))
	}
	if spans != nil {
		out += " [" + strings.Join(spans, " ") + "]"
	}
	return out
}

// TestDecide has one line per case: what the file's size is, the request, and
// the plan in the words of summary.
func TestDecide(t *testing.T) {
	most := "bytes=" + strings.Join(every(100, 64), ",")
	tooMany := "bytes=" + strings.Join(every(100, 65), ",")
	for _, c := range []struct {
		size int64
		req  string
		want string
	}{
		// Methods
		{20, "GET", "200 [0-19]"},
		{20, "HEAD", "200"},
		{20, "POST", "405"},
		{20, "PUT", "405"},
		{20, "DELETE", "405"},
		{20, "TRACE", "405"},
		{20, "PATCH", "405"},
		{20, "OPTIONS", "204"},
		{20, "get", "501"},
		{20, "BREW", "501"},
		{20, "POST\nIf-Match: \"x\"", "405"}, // preconditions do not apply (RFC 9110 13.2.1)
		{0, "GET", "200"},
		{0, "HEAD", "200"},

		// One range
		{20, "GET\nRange: bytes=0-4", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-0", "206 bytes 0-0/20 [0-0]"},
		{20, "GET\nRange: bytes=19-19", "206 bytes 19-19/20 [19-19]"},
		{20, "GET\nRange: bytes=5-", "206 bytes 5-19/20 [5-19]"},
		{20, "GET\nRange: bytes=0-", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: bytes=0-19", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: bytes=0-20", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: bytes=10-9999", "206 bytes 10-19/20 [10-19]"},
		{20, "GET\nRange: bytes=-1", "206 bytes 19-19/20 [19-19]"},
		{20, "GET\nRange: bytes=-20", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: bytes=-100", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: BYTES=0-4", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nrange: Bytes=0-4", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes= 0-4 ", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=00000000000000000000000-0004", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-99999999999999999999999", "206 bytes 0-19/20 [0-19]"},
		{20, "GET\nRange: bytes=-99999999999999999999999", "206 bytes 0-19/20 [0-19]"},
		{20, "HEAD\nRange: bytes=0-4", "200"},
		{20, "HEAD\nRange: bytes=20-", "200"},

		// Other units and what is no ranges-specifier at all
		{20, "GET\nRange: items=0-4", "200 [0-19]"},
		{20, "GET\nRange: ", "200 [0-19]"},
		{20, "GET\nRange: bytes", "200 [0-19]"},
		{20, "GET\nRange: bytes 0-4", "200 [0-19]"},
		{20, "GET\nRange: bytes =0-4", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nRange: bytes=5-6", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nRange: bytes=0-4", "200 [0-19]"},

		// Not satisfiable
		{20, "GET\nRange: bytes=20-", "416 bytes */20"},
		{20, "GET\nRange: bytes=20-30", "416 bytes */20"},
		{20, "GET\nRange: bytes=99999999999999999999999-", "416 bytes */20"},
		{20, "GET\nRange: bytes=-0", "416 bytes */20"},
		{20, "GET\nRange: bytes=-00", "416 bytes */20"},
		{20, "GET\nRange: bytes=20-,30-40", "416 bytes */20"},

		// Invalid
		{20, "GET\nRange: bytes=abc", "416 bytes */20"},
		{20, "GET\nRange: bytes=5-2", "416 bytes */20"},
		{20, "GET\nRange: bytes=0--1", "416 bytes */20"},
		{20, "GET\nRange: bytes=-", "416 bytes */20"},
		{20, "GET\nRange: bytes=--1", "416 bytes */20"},
		{20, "GET\nRange: bytes=", "416 bytes */20"},
		{20, "GET\nRange: bytes=,", "416 bytes */20"},
		{20, "GET\nRange: bytes=5", "416 bytes */20"},
		{20, "GET\nRange: bytes=0 - 4", "416 bytes */20"},
		{20, "GET\nRange: bytes=0x0-4", "416 bytes */20"},
		{20, "GET\nRange: bytes=+0-4", "416 bytes */20"},
		{20, "GET\nRange: bytes=0-1;5-6", "416 bytes */20"},
		{20, "GET\nRange: bytes=0-1,abc", "416 bytes */20"},
		{20, "GET\nRange: bytes=0-1,99999999999999999999999-99999999999999999999998", "416 bytes */20"},

		// Nothing of an empty file can be asked for
		{0, "GET\nRange: bytes=0-", "200"},
		{0, "GET\nRange: bytes=0-0", "200"},
		{0, "GET\nRange: bytes=-1", "200"},
		{0, "GET\nRange: bytes=-0", "200"},
		{0, "GET\nRange: bytes=0-1,5-6", "200"},
		{0, "GET\nRange: bytes=abc", "200"},

		// Several
		{20, "GET\nRange: bytes=0-1,5-6", "206 [0-1 5-6]"},
		{20, "GET\nRange: bytes=5-6,0-1", "206 [5-6 0-1]"},
		{20, "GET\nRange: bytes=0-1 , 5-6", "206 [0-1 5-6]"},
		{20, "GET\nRange: bytes=0-1,\t5-6,", "206 [0-1 5-6]"},
		{20, "GET\nRange: bytes=,,0-1,,5-6", "206 [0-1 5-6]"},
		{20, "GET\nRange: bytes=0-4,5-9", "206 [0-4 5-9]"},
		{20, "GET\nRange: bytes=0-1,-2", "206 [0-1 18-19]"},
		{20, "GET\nRange: bytes=0-1,5-6,9-9", "206 [0-1 5-6 9-9]"},
		{20, "GET\nRange: bytes=0-4,20-", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=20-,-0,0-4", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-4,", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-4,2-6", "206 bytes 0-6/20 [0-6]"},
		{20, "GET\nRange: bytes=0-4,0-4", "206 bytes 0-4/20 [0-4]"},
		// More than there is
		{20, "GET\nRange: bytes=0-,-1", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-18,-1", "206 [0-18 19-19]"},
		{20, "GET\nRange: bytes=0-18,-2", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-9,5-14", "206 bytes 0-14/20 [0-14]"},
		{20, "GET\nRange: bytes=0-18,-2,x", "416 bytes */20"},
		{math.MaxInt64, "GET\nRange: bytes=0-,0-", fmt.Sprintf("200 [0-%d]", math.MaxInt64-1)},
		{math.MaxInt64, "GET\nRange: bytes=0-,0-,0-", fmt.Sprintf("200 [0-%d]", math.MaxInt64-1)},
		{math.MaxInt64, "GET\nRange: bytes=-2,0-1", fmt.Sprintf("206 [%d-%d 0-1]", math.MaxInt64-2, math.MaxInt64-1)},
		{20, "GET\nRange: bytes=0-4,2-6,15-16", "206 bytes 0-16/20 [0-16]"},

		// Merging: only when they overlap or are more than 64, by gaps under 80, in order
		{9999, "GET\nRange: bytes=0-9,5-14,95-99", "206 [0-14 95-99]"},
		{9999, "GET\nRange: bytes=0-9,5-14,94-99", "206 bytes 0-99/9999 [0-99]"},
		{9999, "GET\nRange: bytes=0-9,89-99", "206 [0-9 89-99]"},
		{9999, "GET\nRange: bytes=500-509,0-9,505-514", "206 [500-514 0-9]"},
		{9999, "GET\nRange: bytes=0-9,500-509,1000-1009,5-504", "206 [0-509 1000-1009]"},
		{9999, "GET\nRange: bytes=1000-1009,500-509,0-9,5-504", "206 [1000-1009 0-509]"},
		{9999, "GET\nRange: " + most, "206 [" + strings.Join(every(100, 64), " ") + "]"},
		{9999, "GET\nRange: " + tooMany, "200 [0-9998]"},
		{9999, "GET\nRange: " + tooMany + ",abc", "416 bytes */9999"},
		{9999, "GET\nRange: " + most + ",10000-", "206 [" + strings.Join(every(100, 64), " ") + "]"},
		{9999, "GET\nRange: bytes=" + strings.Join(every(80, 65), ","), "206 bytes 0-5120/9999 [0-5120]"},
		{9999, "GET\nRange: bytes=" + strings.Join(every(81, 65), ","), "200 [0-9998]"},

		// If-Range
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + testTag, "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: W/" + testTag, "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: \"other\"", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + testTag + ", \"other\"", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: *", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: ", "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + testDate, "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: Sunday, 06-Nov-94 08:49:37 GMT", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + olderDate, "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + laterDate, "200 [0-19]"},
		{20, "GET\nRange: bytes=0-4\nIf-Range: " + testTag + "\nIf-Range: " + testTag, "200 [0-19]"},
		{20, "GET\nRange: bytes=20-\nIf-Range: \"other\"", "200 [0-19]"},
		{20, "GET\nRange: bytes=20-\nIf-Range: " + testTag, "416 bytes */20"},
		{20, "GET\nIf-Range: \"other\"", "200 [0-19]"},
		{20, "HEAD\nRange: bytes=0-4\nIf-Range: " + testTag, "200"},

		// If-Match and If-Unmodified-Since
		{20, "GET\nIf-Match: " + testTag, "200 [0-19]"},
		{20, "GET\nIf-Match: *", "200 [0-19]"},
		{20, "GET\nIf-Match: \"other\"", "412"},
		{20, "HEAD\nIf-Match: \"other\"", "412"},
		{20, "GET\nIf-Match: W/" + testTag, "412"},
		{20, "GET\nIf-Match: \"other\", " + testTag, "200 [0-19]"},
		{20, "GET\nIf-Match: \"other\"\nIf-Match: " + testTag, "200 [0-19]"},
		{20, "GET\nIf-Match: ", "412"},
		{20, "GET\nIf-Match: unquoted", "412"},
		{20, "GET\nIf-Match: " + testTag + "\nIf-Unmodified-Since: " + olderDate, "200 [0-19]"},
		{20, "GET\nIf-Match: \"other\"\nIf-Unmodified-Since: " + laterDate, "412"},
		{20, "GET\nIf-Unmodified-Since: " + testDate, "200 [0-19]"},
		{20, "GET\nIf-Unmodified-Since: " + laterDate, "200 [0-19]"},
		{20, "GET\nIf-Unmodified-Since: " + olderDate, "412"},
		{20, "GET\nIf-Unmodified-Since: yesterday", "200 [0-19]"},
		{20, "GET\nIf-Unmodified-Since: " + olderDate + "\nIf-Unmodified-Since: " + olderDate, "200 [0-19]"},
		{20, "GET\nIf-Unmodified-Since: " + olderDate + "\nIf-None-Match: " + testTag, "412"},

		// If-None-Match and If-Modified-Since
		{20, "GET\nIf-None-Match: " + testTag, "304"},
		{20, "HEAD\nIf-None-Match: " + testTag, "304"},
		{20, "GET\nIf-None-Match: W/" + testTag, "304"},
		{20, "GET\nIf-None-Match: *", "304"},
		{20, "GET\nIf-None-Match: \"other\"", "200 [0-19]"},
		{20, "GET\nIf-None-Match: \"other\", W/" + testTag, "304"},
		{20, "GET\nIf-None-Match: \"other\"\nIf-None-Match: " + testTag, "304"},
		{20, "GET\nIf-None-Match: ", "200 [0-19]"},
		{20, "GET\nIf-None-Match: " + testTag + "\nRange: bytes=0-4", "304"},
		{20, "GET\nIf-None-Match: " + testTag + "\nRange: bytes=20-", "304"},
		{20, "GET\nIf-None-Match: \"other\"\nRange: bytes=0-4", "206 bytes 0-4/20 [0-4]"},
		{20, "GET\nIf-None-Match: " + testTag + "\nIf-Modified-Since: " + olderDate, "304"},
		{20, "GET\nIf-None-Match: \"other\"\nIf-Modified-Since: " + testDate, "200 [0-19]"},
		{20, "GET\nIf-Match: " + testTag + "\nIf-None-Match: " + testTag, "304"},
		{20, "GET\nIf-Modified-Since: " + testDate, "304"},
		{20, "HEAD\nIf-Modified-Since: " + testDate, "304"},
		{20, "GET\nIf-Modified-Since: " + laterDate, "304"},
		{20, "GET\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "304"},
		{20, "GET\nIf-Modified-Since: " + olderDate, "200 [0-19]"},
		{20, "GET\nIf-Modified-Since: Sun Nov  6 08:49:37 1994", "304"},
		{20, "GET\nIf-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", "304"},
		{20, "GET\nIf-Modified-Since: today", "200 [0-19]"},
		{20, "GET\nIf-Modified-Since: " + testDate + "\nIf-Modified-Since: " + testDate, "200 [0-19]"},
		{20, "GET\nIf-Modified-Since: " + testDate + "\nRange: bytes=0-4", "304"},
	} {
		f := testFacts(t, Config{}, File{Path: "/a/file.txt", Size: c.size, MtimeNs: testMtime, Hash: "ae1b981da166f00-14"})
		req := parseRequest(t, c.req)
		var p Plan
		if got := summary(&p, planned(t, &p, req, f, testNow)); got != c.want {
			t.Errorf("%d bytes, %q:\ngot  %s\nwant %s", c.size, c.req, got, c.want)
		}
	}
}

// every returns n ranges of one byte, step bytes apart.
func every(step, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%d-%d", i*step, i*step))
	}
	return out
}

// TestDecideWithoutValidators has the same form for files of which not all is certain.
func TestDecideWithoutValidators(t *testing.T) {
	const s = 1_000_000_000
	changed := testFile // an hour before the time that it was given
	changed.CtimeNs = testMtime - 3600*s
	const changedDate = "Sun, 06 Nov 1994 07:49:37 GMT"
	normal := File{Path: "/a/file.txt", Size: 20, MtimeNs: 315532800 * s, CtimeNs: 5, Inode: 7}
	const normalDate, normalTag = "Tue, 01 Jan 1980 00:00:00 GMT", `"460ff68eafc0000-14-7-5"`
	for _, c := range []struct {
		file File
		age  int64 // ns
		req  string
		want string
	}{
		// A date is no strong validator in its own second.
		{testFile, 0, "GET\nRange: bytes=0-4\nIf-Range: " + testTag, "206 bytes 0-4/20 [0-4]"},
		{testFile, s/2 - 1, "GET\nRange: bytes=0-4\nIf-Range: " + testDate, "200 [0-19]"},
		{testFile, s / 2, "GET\nRange: bytes=0-4\nIf-Range: " + testDate, "206 bytes 0-4/20 [0-4]"},
		{testFile, -60 * s, "GET\nIf-Modified-Since: " + olderDate, "200 [0-19]"},
		// Without a tag no tag is equal.
		{indistinct(), s, "GET\nRange: bytes=0-4\nIf-Range: " + testTag, "200 [0-19]"},
		{indistinct(), s, "GET\nRange: bytes=0-4\nIf-Range: ", "200 [0-19]"},
		{indistinct(), s, "GET\nRange: bytes=0-4\nIf-Range: " + testDate, "200 [0-19]"},
		{indistinct(), s, "GET\nRange: bytes=0-4", "206 bytes 0-4/20 [0-4]"},
		{indistinct(), s, "GET\nIf-Match: " + testTag, "412"},
		{indistinct(), s, "GET\nIf-Match: ", "412"},
		{indistinct(), s, "GET\nIf-Match: *", "200 [0-19]"},
		{indistinct(), s, "GET\nIf-None-Match: " + testTag, "200 [0-19]"},
		{indistinct(), s, "GET\nIf-None-Match: ", "200 [0-19]"},
		{indistinct(), s, "GET\nIf-None-Match: *", "304"},
		{indistinct(), s, "GET\nIf-Modified-Since: " + testDate, "304"},
		// A time that was in the future is replaced by that of the change, for good.
		{changed, -1800 * s, "GET\nIf-Unmodified-Since: " + changedDate, "200 [0-19]"},
		{changed, 3600 * s, "GET\nIf-Unmodified-Since: " + changedDate, "200 [0-19]"},
		{changed, -1800 * s, "GET\nIf-Modified-Since: " + changedDate, "304"},
		{changed, -1800 * s, "GET\nRange: bytes=0-4\nIf-Range: " + changedDate, "206 bytes 0-4/20 [0-4]"},
		{changed, -1800 * s, "GET\nRange: bytes=0-4\nIf-Range: " + testTag, "206 bytes 0-4/20 [0-4]"},
		{changed, 3600 * s, "GET\nRange: bytes=0-4\nIf-Range: " + testDate, "200 [0-19]"},
		// A time that all files have says nothing.
		{normal, s, "GET\nIf-Modified-Since: " + normalDate, "200 [0-19]"},
		{normal, s, "GET\nIf-Modified-Since: ", "200 [0-19]"},
		{normal, s, "GET\nIf-Unmodified-Since: " + olderDate, "200 [0-19]"},
		{normal, s, "GET\nRange: bytes=0-4\nIf-Range: " + normalDate, "200 [0-19]"},
		{normal, s, "GET\nRange: bytes=0-4\nIf-Range: " + normalTag, "206 bytes 0-4/20 [0-4]"},
		{normal, s, "GET\nIf-None-Match: " + normalTag, "304"},
	} {
		f := testFacts(t, Config{}, c.file)
		var p Plan
		if got := summary(&p, planned(t, &p, parseRequest(t, c.req), f, testMtime+c.age)); got != c.want {
			t.Errorf("%+v, age %d, %q: got %s, want %s", c.file, c.age, c.req, got, c.want)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		req  string
		want bool
	}{
		{"GET", true},
		{"GET\nAccept-Encoding: br", true},
		{"GET\nIf-Range: " + testTag, true}, // without Range it means nothing
		{"GET /f?", true},
		{"GET /f?download", false},
		{"HEAD", false},
		{"OPTIONS", false},
		{"GET\nRange: bytes=0-", false},
		{"GET\nRange: ", false},
		{"GET\nIf-Match: *", false},
		{"GET\nIf-None-Match: *", false},
		{"GET\nIf-Modified-Since: x", false},
		{"GET\nIf-Unmodified-Since: x", false},
	} {
		if got := parseRequest(t, c.req).Plain(); got != c.want {
			t.Errorf("%q: got %v", c.req, got)
		}
	}
}

// TestPlanReuse fills one plan with a sequence of different answers; each must
// be like that of a new plan.
func TestPlanReuse(t *testing.T) {
	f := testFacts(t, Config{DownloadParam: "download"}, File{Path: "/a/file.txt", Size: 9999, MtimeNs: testMtime, Negotiable: true})
	requests := []string{
		"GET\nRange: bytes=0-1,500-501,1000-1001,1500-1501", "GET", "GET\nRange: bytes=1-2",
		"POST", "GET /a/file.txt?download", "GET\nRange: bytes=9999-", "OPTIONS", "GET\nRange: bytes=0-1,500-501",
		"GET\nIf-None-Match: *", "HEAD", "GET\nRange: bytes=0-0,500-501,900-901", "GET\nIf-Match: \"x\"",
	}
	var reused Plan
	for i := range 3 * len(requests) {
		text := requests[(i*7)%len(requests)]
		var fresh Plan
		a, b := planned(t, &reused, parseRequest(t, text), f, testNow), planned(t, &fresh, parseRequest(t, text), f, testNow)
		if fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(reused.Segments()) != fmt.Sprint(fresh.Segments()) {
			t.Fatalf("%q: reused plan\n%v %v\nnew plan\n%v %v", text, a, reused.Segments(), b, fresh.Segments())
		}
	}
}
