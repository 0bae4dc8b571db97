package http2

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Heads become those of HTTP/1.1, or are refused (RFC 9113 section 8).
func TestRequestHeads(t *testing.T) {
	const get = ":method=GET :scheme=https :path=/f :authority=h"
	for _, c := range []struct{ fields, want string }{
		{get, "GET /f HTTP/1.1\r\nHost: h\r\n\r\n"},
		{":method=GET :scheme=https :path=/f host=h", "GET /f HTTP/1.1\r\nHost: h\r\n\r\n"},
		{get + " host=other accept=*/*", "GET /f HTTP/1.1\r\nHost: h\r\naccept: */*\r\n\r\n"},
		{get + " cookie=a cookie=b te=trailers", "GET /f HTTP/1.1\r\nHost: h\r\nCookie: a; b\r\n\r\n"},
		{get + " content-length=0", "GET /f HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"+" + get + " content-length=7", "GET /f HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n"},
		{"+" + get, "GET /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{":method=OPTIONS :scheme=https :path=*", "OPTIONS * HTTP/1.1\r\n\r\n"},
		{":method=CONNECT :authority=h:1", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"},

		{get + " content-length=7", ""}, // without a body
		{"+" + get + " content-length=7 content-length=8", ""},
		{"+" + get + " content-length=-7", ""},
		{"+" + get + " content-length=99999999999999999999", ""},
		{":method=GET :scheme=https :authority=h", ""},
		{":scheme=https :path=/f", ""},
		{":method=GET :path=/f", ""},
		{":method=GET :scheme=https :path=", ""},
		{":method=GET :scheme=https :path=http://x/f", ""},
		{":method=GET :scheme=https :path=*", ""},
		{":method=CONNECT :authority=h:1 :path=/", ""},
		{get + " :method=GET", ""},
		{get + " :status=200", ""},
		{":method=GET :scheme=https accept=x :path=/f", ""},
		{get + " Accept=x", ""}, {get + " connection=close", ""}, {get + " keep-alive=1", ""}, {get + " upgrade=h2c", ""},
		{get + " transfer-encoding=chunked", ""}, {get + " proxy-connection=x", ""}, {get + " te=gzip", ""}, {get + " =x", ""},
		{get + " x=a\rb", ""}, {get + " x=a\nb", ""}, {get + " x=a\x00b", ""}, {get + " a\tb=x", ""},
		{":method=G\tT :scheme=https :path=/f", ""}, {":method=GET :scheme=https :path=/\x7f", ""},
	} {
		r := newRequest(1000)
		ends := !strings.HasPrefix(c.fields, "+")
		for _, f := range strings.Split(strings.TrimPrefix(c.fields, "+"), " ") {
			i := strings.LastIndexByte(f[:strings.IndexByte(f, '=')+1], '=')
			r.field(hpack.HeaderField{Name: f[:i], Value: f[i+1:]})
		}
		head, ok := r.head(ends)
		if ok != (c.want != "") || string(head) != c.want {
			t.Errorf("%q:\n%q, %v", c.fields, head, ok)
		}
		r.free()
	}
}

// Of a head that is too long no more is kept than was allowed for.
func TestLargeRequest(t *testing.T) {
	r := newRequest(1000)
	defer r.free()
	for range 100 {
		r.field(hpack.HeaderField{Name: "x", Value: strings.Repeat("v", 100)})
	}
	if !r.large || len(r.fields) > 1000 {
		t.Errorf("%d bytes, too many: %v", len(r.fields), r.large)
	}
}
