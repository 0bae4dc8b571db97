package httpfile

import (
	"strings"
	"testing"
)

// lines joins the lines of a head.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

var headConfig = Config{
	Server:        "fserve",
	DownloadParam: "download",
	CacheControl:  []Rule{{"/a/", "max-age=60"}},
	Disposition:   []Rule{{"*.pdf", "inline"}, {"*.zip", "attachment"}},
}

// TestHead compares whole heads, byte for byte.
func TestHead(t *testing.T) {
	const date = "Date: " + nowDate
	const modified = "Last-Modified: " + testDate
	const text = "Content-Type: text/plain; charset=utf-8"
	const nosniff = "X-Content-Type-Options: nosniff"
	for _, c := range []struct {
		name string
		file File
		now  int64
		req  string
		want string
	}{
		{"plain", testFile, testNow, "GET", lines("HTTP/1.1 200 OK", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text, "Content-Length: 20")},
		{"indistinct", indistinct(), testNow, "GET", lines("HTTP/1.1 200 OK", date, "Server: fserve", modified,
			"Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text, "Content-Length: 20")},
		{"no date", File{Path: "/a/file.txt", Size: 20, MtimeNs: 1e9, CtimeNs: 2, Inode: 3}, testNow, "GET", lines("HTTP/1.1 200 OK", date, "Server: fserve",
			`ETag: "3b9aca00-14-3-2"`, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text, "Content-Length: 20")},
		{"one range", testFile, testNow, "GET\nRange: bytes=5-9", lines("HTTP/1.1 206 Partial Content", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text,
			"Content-Range: bytes 5-9/20", "Content-Length: 5")},
		{"indistinct range", indistinct(), testNow, "GET\nRange: bytes=5-9", lines("HTTP/1.1 206 Partial Content", date, "Server: fserve", modified,
			"Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text,
			"Content-Range: bytes 5-9/20", "Content-Length: 5")},
		{"two ranges", testFile, testNow, "GET\nRange: bytes=0-1,5-6", lines("HTTP/1.1 206 Partial Content", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff,
			"Content-Type: multipart/byteranges; boundary=10000000000000002000000000000000", "Content-Length: 264")},
		{"304", testFile, testNow, "GET\nIf-None-Match: *", lines("HTTP/1.1 304 Not Modified", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60")},
		{"304 indistinct", indistinct(), testNow, "GET\nIf-None-Match: *", lines("HTTP/1.1 304 Not Modified", date, "Server: fserve", modified,
			"Cache-Control: max-age=60")},
		{"304 negotiable", File{Path: "/a/file.txt", Size: 20, MtimeNs: testMtime, Negotiable: true}, testNow, "GET\nIf-None-Match: *",
			lines("HTTP/1.1 304 Not Modified", date, "Server: fserve", modified,
				"ETag: "+testTag, "Cache-Control: max-age=60", "Vary: Accept-Encoding")},
		{"sidecar", File{Path: "/b.js", Size: 9, MtimeNs: testMtime, Coding: Brotli, Negotiable: true}, testNow, "GET",
			lines("HTTP/1.1 200 OK", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9-br"`, "Vary: Accept-Encoding",
				"Accept-Ranges: bytes", "Content-Encoding: br", nosniff, "Content-Type: text/javascript; charset=utf-8", "Content-Length: 9")},
		{"sidecar range", File{Path: "/b.js", Size: 9, MtimeNs: testMtime, Coding: Gzip, Negotiable: true}, testNow, "GET\nRange: bytes=-4",
			lines("HTTP/1.1 206 Partial Content", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9-gz"`, "Vary: Accept-Encoding",
				"Accept-Ranges: bytes", "Content-Encoding: gzip", nosniff, "Content-Type: text/javascript; charset=utf-8",
				"Content-Range: bytes 5-8/9", "Content-Length: 4")},
		// Multipart framing would stand outside of the coding: the whole it is.
		{"sidecar ranges", File{Path: "/b.js", Size: 9, MtimeNs: testMtime, Coding: Zstd, Negotiable: true}, testNow, "GET\nRange: bytes=0-1,5-6",
			lines("HTTP/1.1 200 OK", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9-zst"`, "Vary: Accept-Encoding",
				"Accept-Ranges: bytes", "Content-Encoding: zstd", nosniff, "Content-Type: text/javascript; charset=utf-8", "Content-Length: 9")},
		{"416", testFile, testNow, "GET\nRange: bytes=20-", lines("HTTP/1.1 416 Range Not Satisfiable", date, "Server: fserve",
			"Content-Range: bytes */20", "Cache-Control: no-store", nosniff, text, "Content-Length: 26")},
		{"416 negotiable", File{Path: "/b.js", Size: 9, MtimeNs: testMtime, Negotiable: true}, testNow, "GET\nRange: bytes=9-",
			lines("HTTP/1.1 416 Range Not Satisfiable", date, "Server: fserve",
				"Content-Range: bytes */9", "Cache-Control: no-store", "Vary: Accept-Encoding", nosniff, text, "Content-Length: 26")},
		{"412 negotiable", File{Path: "/b.js", Size: 9, MtimeNs: testMtime, Negotiable: true}, testNow, "GET\nIf-Match: \"x\"",
			lines("HTTP/1.1 412 Precondition Failed", date, "Server: fserve",
				"Cache-Control: no-store", "Vary: Accept-Encoding", nosniff, text, "Content-Length: 24")},
		{"405", testFile, testNow, "POST", lines("HTTP/1.1 405 Method Not Allowed", date, "Server: fserve",
			"Allow: GET, HEAD, OPTIONS", "Cache-Control: no-store", nosniff, text, "Content-Length: 23")},
		{"501", testFile, testNow, "BREW", lines("HTTP/1.1 501 Not Implemented", date, "Server: fserve",
			"Cache-Control: no-store", nosniff, text, "Content-Length: 20")},
		{"options", testFile, testNow, "OPTIONS", lines("HTTP/1.1 204 No Content", date, "Server: fserve",
			"Allow: GET, HEAD, OPTIONS")},
		{"download", testFile, testNow, "GET /a/file.txt?download", lines("HTTP/1.1 200 OK", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text,
			`Content-Disposition: attachment; filename="file.txt"`, "Content-Length: 20")},
		{"another query", testFile, testNow, "GET /a/file.txt?upload", lines("HTTP/1.1 200 OK", date, "Server: fserve", modified,
			"ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text, "Content-Length: 20")},
		{"download of a part", testFile, testNow, "GET /a/file.txt?download\nRange: bytes=0-0", lines("HTTP/1.1 206 Partial Content", date,
			"Server: fserve", modified, "ETag: "+testTag, "Cache-Control: max-age=60", "Accept-Ranges: bytes", nosniff, text,
			`Content-Disposition: attachment; filename="file.txt"`, "Content-Range: bytes 0-0/20", "Content-Length: 1")},
		{"download for inline", File{Path: "/x.pdf", Size: 9, MtimeNs: testMtime}, testNow, "GET /x.pdf?a=1&download=1",
			lines("HTTP/1.1 200 OK", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9"`, "Accept-Ranges: bytes", nosniff,
				"Content-Type: application/pdf", `Content-Disposition: attachment; filename="x.pdf"`, "Content-Length: 9")},
		{"inline by rule", File{Path: "/x.pdf", Size: 9, MtimeNs: testMtime}, testNow, "GET",
			lines("HTTP/1.1 200 OK", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9"`, "Accept-Ranges: bytes", nosniff,
				"Content-Type: application/pdf", `Content-Disposition: inline; filename="x.pdf"`, "Content-Length: 9")},
		{"attachment by rule, ranges", File{Path: "/x.ZIP", Size: 9, MtimeNs: testMtime}, testNow, "GET\nRange: bytes=0-0,8-8",
			lines("HTTP/1.1 206 Partial Content", date, "Server: fserve", modified, `ETag: "ae1b981da166f00-9"`, "Accept-Ranges: bytes", nosniff,
				"Content-Type: multipart/byteranges; boundary=10000000000000002000000000000000",
				`Content-Disposition: attachment; filename="x.ZIP"`, "Content-Length: 240")},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := testFacts(t, headConfig, c.file)
			var p Plan
			req := parseRequest(t, c.req)
			planned(t, &p, req, f, c.now)
			if got := string(p.AppendHead(nil, []byte(nowDate), ConnImplied)); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// TestNotes compares heads of answers without a file.
func TestNotes(t *testing.T) {
	const date = "Date: " + nowDate
	const tail = "Content-Type: text/plain; charset=utf-8"
	const nosniff = "X-Content-Type-Options: nosniff"
	pol := testPolicy(t, Config{})
	for _, c := range []struct {
		name string
		plan func(p *Plan, req *Request)
		want string
		body string
	}{
		{"404", func(p *Plan, req *Request) { p.Fail(404, req, pol) },
			lines("HTTP/1.1 404 Not Found", date, "Cache-Control: no-store", nosniff, tail, "Content-Length: 14"), "404 Not Found\n"},
		{"406", func(p *Plan, req *Request) { p.Fail(406, req, pol) },
			lines("HTTP/1.1 406 Not Acceptable", date, "Cache-Control: no-store", "Vary: Accept-Encoding", nosniff, tail, "Content-Length: 19"),
			"406 Not Acceptable\n"},
		{"416 without a size", func(p *Plan, req *Request) { p.Fail(416, req, pol) },
			lines("HTTP/1.1 416 Range Not Satisfiable", date, "Cache-Control: no-store", nosniff, tail, "Content-Length: 26"),
			"416 Range Not Satisfiable\n"},
		{"503", func(p *Plan, req *Request) { p.Fail(503, req, pol) },
			lines("HTTP/1.1 503 Service Unavailable", date, "Retry-After: 1", "Cache-Control: no-store", nosniff, tail, "Content-Length: 24"),
			"503 Service Unavailable\n"},
		{"429 with its own time", func(p *Plan, req *Request) { p.Fail(429, req, pol); p.RetryAfter = 7 },
			lines("HTTP/1.1 429 Too Many Requests", date, "Retry-After: 7", "Cache-Control: no-store", nosniff, tail, "Content-Length: 22"),
			"429 Too Many Requests\n"},
		{"unknown code", func(p *Plan, req *Request) { p.Fail(299, req, pol) },
			lines("HTTP/1.1 500 Internal Server Error", date, "Cache-Control: no-store", nosniff, tail, "Content-Length: 26"),
			"500 Internal Server Error\n"},
		{"code out of range", func(p *Plan, req *Request) { p.Fail(-1, req, pol) },
			lines("HTTP/1.1 500 Internal Server Error", date, "Cache-Control: no-store", nosniff, tail, "Content-Length: 26"),
			"500 Internal Server Error\n"},
		{"directory", func(p *Plan, req *Request) { p.RedirectDir(req, pol) },
			lines("HTTP/1.1 301 Moved Permanently", date, "Location: /dir/?a=b", nosniff, tail, "Content-Length: 22"),
			"301 Moved Permanently\n"},
		{"content", func(p *Plan, req *Request) {
			p.Content(req, pol, "application/json", []byte("{}"))
			p.Extra = []byte("Cache-Control: no-cache\r\n")
		},
			lines("HTTP/1.1 200 OK", date, nosniff, "Content-Type: application/json", "Content-Length: 2", "Cache-Control: no-cache"), "{}"},
		{"empty content", func(p *Plan, req *Request) { p.Content(req, pol, "text/html", nil) },
			lines("HTTP/1.1 200 OK", date, nosniff, "Content-Type: text/html", "Content-Length: 0"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := parseRequest(t, "GET /dir?a=b")
			var p Plan
			c.plan(&p, req)
			rendered(t, &p, req)
			if got := string(p.AppendHead(nil, []byte(nowDate), ConnImplied)); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			if got := memory(&p); got != c.body {
				t.Errorf("content %q, want %q", got, c.body)
			}
			req.Method = MethodHead
			c.plan(&p, req)
			rendered(t, &p, req)
			if got := string(p.AppendHead(nil, []byte(nowDate), ConnImplied)); got != c.want || len(p.Segments()) != 0 {
				t.Errorf("HEAD: %d segments after\n%s", len(p.Segments()), got)
			}
		})
	}
}

// memory returns what a plan sends from memory.
func memory(p *Plan) string {
	var b strings.Builder
	for _, s := range p.Segments() {
		b.Write(s.Mem)
	}
	return b.String()
}

func TestUsePage(t *testing.T) {
	page := testFacts(t, headConfig, File{Path: "/errors/416.html", Size: 500, MtimeNs: testMtime})
	f := testFacts(t, headConfig, testFile)
	var p Plan
	req := parseRequest(t, "GET\nRange: bytes=20-")
	planned(t, &p, req, f, testNow)
	p.UsePage(req, page)
	rendered(t, &p, req)
	want := lines("HTTP/1.1 416 Range Not Satisfiable", "Date: "+nowDate, "Server: fserve", "Content-Range: bytes */20",
		"Cache-Control: no-store", "X-Content-Type-Options: nosniff", "Content-Type: text/html; charset=utf-8", "Content-Length: 500")
	if got := string(p.AppendHead(nil, []byte(nowDate), ConnImplied)); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := fileSpans(&p); len(got) != 1 || got[0] != (span{0, 500}) {
		t.Errorf("sends %v", got)
	}

	req = parseRequest(t, "HEAD")
	p.Fail(404, req, page.policy)
	p.UsePage(req, page)
	if r := rendered(t, &p, req); r.status != 404 || r.fields.Get("Content-Length") != "500" || r.fields.Get("ETag") != "" {
		t.Errorf("HEAD: %v", r)
	}
}

func TestConnection(t *testing.T) {
	f := testFacts(t, Config{}, testFile)
	for _, c := range []struct {
		http10, keep bool
		want         string
	}{
		{false, true, ""},
		{false, false, "close"},
		{true, true, "keep-alive"},
		{true, false, "close"},
	} {
		req := parseRequest(t, "GET")
		req.HTTP10 = c.http10
		var p Plan
		p.Decide(req, f, testNow, Entropy{})
		for _, head := range [][]byte{
			p.AppendHead(nil, []byte(nowDate), req.Conn(c.keep)),
			f.AppendOK(nil, []byte(nowDate), req.Conn(c.keep)),
		} {
			if got := readHead(t, head).fields.Get("Connection"); got != c.want {
				t.Errorf("HTTP/1.0 %v, keep %v: Connection %q", c.http10, c.keep, got)
			}
		}
	}
}

// TestAppendOK compares the rendered head with the planned one.
func TestAppendOK(t *testing.T) {
	for _, file := range []File{
		testFile, indistinct(),
		{Path: "/a/x.js", Size: 1 << 40, MtimeNs: testMtime, Coding: Gzip, Negotiable: true},
		{Path: "/ä.zip", Size: 0, MtimeNs: testMtime},
	} {
		f := testFacts(t, headConfig, file)
		var p Plan
		p.Decide(parseRequest(t, "GET"), f, testNow, Entropy{})
		want := string(p.AppendHead([]byte("x"), []byte(nowDate), ConnImplied))
		got := string(f.AppendOK([]byte("x"), []byte(nowDate), ConnImplied))
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if got[1+OKDateOffset:][:DateLen] != nowDate {
			t.Errorf("no date at OKDateOffset of %q", got)
		}
	}
}
