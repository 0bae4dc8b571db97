package httpfile

import (
	"bufio"
	"bytes"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
)

// The file of the tables: 20 bytes, modified at 1994-11-06 08:49:37.5 UTC, an hour ago.
const (
	testMtime int64 = 784111777_500000000
	testNow         = testMtime + 3600_000000000
	testTag         = `"ae1b981da166f00-14"`
	testDate        = "Sun, 06 Nov 1994 08:49:37 GMT"
	olderDate       = "Sun, 06 Nov 1994 08:49:36 GMT"
	laterDate       = "Sun, 06 Nov 1994 08:49:38 GMT"
	nowDate         = "Sun, 06 Nov 1994 09:49:37 GMT"
)

var testFile = File{Path: "/a/file.txt", Size: 20, MtimeNs: testMtime}

// indistinct returns testFile as it is while it may change without a trace.
func indistinct() File {
	f := testFile
	f.Indistinct = true
	return f
}

func testPolicy(tb testing.TB, c Config) *Policy {
	tb.Helper()
	p, err := NewPolicy(c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func testFacts(tb testing.TB, c Config, f File) *Facts {
	tb.Helper()
	return testPolicy(tb, c).MakeFacts(f)
}

// parsePath is NormalizePath for a target with a query.
func parsePath(dst, target []byte) (path, query []byte, err error) {
	raw, query, ok := bytes.Cut(target, []byte("?"))
	if path, err = NormalizePath(dst, raw); err != nil || !ok {
		return path, nil, err
	}
	return path, query, nil
}

// parseRequest makes a request from "METHOD target" and field lines, all in one
// string with lines ended by "\n".
func parseRequest(tb testing.TB, text string) *Request {
	tb.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	if target == "" {
		target = "/a/file.txt"
	}
	path, query, err := parsePath(nil, []byte(target))
	if err != nil {
		tb.Fatalf("%q: %v", target, err)
	}
	r := &Request{Method: ParseMethod([]byte(method)), Path: path, Query: query}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if !r.AddField([]byte(name), []byte(value)) {
			tb.Fatalf("field %q is not known", name)
		}
	}
	return r
}

// response is a head that was read back.
type response struct {
	line   string
	status int
	fields textproto.MIMEHeader
}

// readHead parses a rendered head strictly, so that a stray byte fails.
func readHead(tb testing.TB, head []byte) response {
	tb.Helper()
	if n := bytes.Index(head, []byte("\r\n\r\n")); n != len(head)-4 {
		tb.Fatalf("head does not end with its only empty line: %q", head)
	}
	line, rest, _ := strings.Cut(string(head), "\r\n")
	for l := range strings.SplitSeq(strings.TrimSuffix(rest, "\r\n\r\n"), "\r\n") {
		name, value, ok := strings.Cut(l, ": ")
		if !ok || name == "" || strings.Trim(name, tokenBytes) != "" || strings.ContainsAny(value, "\r\n\x00") || value != strings.TrimSpace(value) {
			tb.Fatalf("bad field line %q", l)
		}
	}
	fields, err := textproto.NewReader(bufio.NewReader(strings.NewReader(rest))).ReadMIMEHeader()
	if err != nil {
		tb.Fatalf("%v in %q", err, head)
	}
	for name, values := range fields {
		if len(values) != 1 {
			tb.Fatalf("field %s %d times in %q", name, len(values), head)
		}
	}
	status, err := strconv.Atoi(line[len("HTTP/1.1 "):][:3])
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
		tb.Fatalf("status line %q", line)
	}
	return response{line, status, fields}
}

const tokenBytes = "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// planned runs Decide and AppendHead with the clock of the tables and checks what must hold for every plan.
func planned(tb testing.TB, p *Plan, req *Request, f *Facts, now int64) response {
	tb.Helper()
	p.Decide(req, f, now, Entropy{1, 2})
	return rendered(tb, p, req)
}

// rendered renders a plan and checks what must hold for every one.
func rendered(tb testing.TB, p *Plan, req *Request) response {
	tb.Helper()
	const before = "bytes before"
	out := p.AppendHead([]byte(before), []byte(nowDate), ConnImplied)
	head, ok := bytes.CutPrefix(out, []byte(before))
	if !ok {
		tb.Fatalf("head was not appended: %q", out)
	}
	r := readHead(tb, head)
	if r.fields.Get("Date") != nowDate {
		tb.Fatalf("no date in %q", head)
	}
	if r.status != p.Status {
		tb.Fatalf("status line %q of status %d", r.line, p.Status)
	}
	checkLength(tb, p, req, r)
	return r
}

// checkLength compares Content-Length with the segments.
func checkLength(tb testing.TB, p *Plan, req *Request, r response) {
	tb.Helper()
	var sum int64
	for _, s := range p.Segments() {
		if s.N <= 0 || s.Kind == SegmentMemory && s.N != int64(len(s.Mem)) {
			tb.Fatalf("bad segment %+v", s)
		}
		sum += s.N
	}
	length, has := r.fields["Content-Length"]
	switch {
	case p.ContentLength < 0:
		if has || sum != 0 {
			tb.Fatalf("length %v and %d bytes of an answer without content", length, sum)
		}
	case !has || length[0] != strconv.FormatInt(p.ContentLength, 10):
		tb.Fatalf("Content-Length %v, planned %d", length, p.ContentLength)
	case req.Method == MethodHead && sum != 0, req.Method != MethodHead && sum != p.ContentLength:
		tb.Fatalf("segments have %d bytes, Content-Length says %d", sum, p.ContentLength)
	}
}

// fileSpans returns the file ranges that a plan sends.
func fileSpans(p *Plan) (out []span) {
	for _, s := range p.Segments() {
		if s.Kind == SegmentFile {
			out = append(out, span{s.Off, s.Off + s.N})
		}
	}
	return out
}
