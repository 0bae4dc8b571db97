package server_test

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// Strict-Transport-Security is in every encrypted answer, be it of a file in memory, a failure, a
// redirect or a handler that does not set it itself, and in none that is not encrypted.
func TestHSTS(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const year = "max-age=31536000; includeSubDomains"
		dir := dirWith(t, "f", "small", "dir/f", "f")
		own := site(dir)
		own.HSTS = "max-age=60"
		top := server.Site{Root: dir, HSTS: year, Headers: []server.HeaderRule{{Match: "/", Name: "X-A", Value: "b"}}}
		moved := server.Site{HSTS: year, Redirect: server.Redirect{To: "https://other.example/"}}
		handler := func(ctx *fasthttp.RequestCtx) {
			if ctx.QueryArgs().Has("own") && ctx.IsTLS() {
				ctx.Response.Header.Set("Strict-Transport-Security", "max-age=1")
			}
			if ctx.QueryArgs().Has("file") {
				if err := server.ServeFile(ctx, "/f"); err != nil {
					t.Error(err)
				}
			}
		}
		cfg := withTLS(t, server.Config{Routes: []server.Route{{Prefix: "/api", Handler: handler}, {Prefix: "/slow", Handler: handler, Blocking: true}}, Site: top, Hosts: []server.Host{
			{Names: []string{"own.example"}, Site: own}, {Names: []string{"none.example"}, Site: site(dir)}, {Names: []string{"moved.example"}, Site: moved},
		}})
		g := start(t, d, cfg)
		for _, test := range []struct {
			host, request string
			status        int
			want          string
		}{
			{"a", "GET /f", 200, year},
			{"a", "GET /f", 200, year}, // from memory
			{"a", "HEAD /f", 200, year},
			{"a", "GET /f HTTP/1.1\r\nRange: bytes=1-2", 206, year},
			{"a", "GET /f HTTP/1.1\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", 304, year},
			{"a", "GET /none", 404, year},
			{"a", "GET /dir", 301, year},
			{"a", "POST /f", 405, year},
			{"own.example", "GET /f", 200, "max-age=60"},
			{"none.example", "GET /f", 200, ""},
			{"moved.example", "GET /f", 302, year},
			{"a", "GET /api", 200, year},
			{"a", "HEAD /slow", 200, year},
			{"a", "GET /slow?own", 200, "max-age=1"},
			{"a", "GET /api?file", 200, year},
			{"a", "GET /api?file&own", 200, year},
			{"none.example", "GET /api", 200, ""},
			{"none.example", "GET /api?own", 200, "max-age=1"},
			{"none.example", "GET /api?file&own", 200, "max-age=1"},
			{"own.example", "GET /slow", 200, "max-age=60"},
			{"a", "GET /f HTTP/1.1\r\nBad : x", 400, year},
		} {
			line, more, _ := strings.Cut(test.request, " HTTP/1.1\r\n")
			raw := line + " HTTP/1.1\r\nHost: " + test.host + "\r\n" + more
			raw = strings.TrimSuffix(raw, "\r\n") + "\r\n\r\n"
			method, _, _ := strings.Cut(line, " ")
			for range 2 { // each way comes after the other
				plain, secure := g.dial(), g.mustTLS()
				plain.send(raw)
				secure.send(raw)
				p, s := plain.read(method), secure.read(method)
				if got := s.fields.Values("Strict-Transport-Security"); strings.Join(got, "|") != test.want || s.status != test.status {
					t.Errorf("%s: encrypted %d with %q, want %d with %q", raw, s.status, got, test.status, test.want)
				}
				if got := p.get("Strict-Transport-Security"); got != "" || p.status != test.status {
					t.Errorf("%s: not encrypted %d with %q", raw, p.status, got)
				}
				if strings.HasSuffix(test.request, " /f") && test.status == 200 && test.host == "a" && s.get("X-A") != "b" {
					t.Errorf("%s: the other rules are gone", raw)
				}
			}
		}
	})
}

func TestHSTSIsChecked(t *testing.T) {
	dir := t.TempDir()
	rule := []server.HeaderRule{{Match: "*.html", Name: "strict-transport-security", Value: "max-age=1"}}
	for want, s := range map[string]server.Site{
		"hsts sets it": {Root: dir, HSTS: "max-age=1", Headers: rule},
		"control":      {Root: dir, HSTS: "max-age=1\r\nX: y"},
		"":             {Root: dir, Headers: rule},
	} {
		err := server.Check(server.Config{Site: s, Listen: []string{":80"}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
