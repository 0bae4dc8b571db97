package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// answersOf is a server that answers without files and tries several.
func answersOf(t *testing.T, d engine.DriverKind) *rig {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"index.html": "app", "about.html": "about", "f.txt": hello, "d/index.html": "d", "bare/x": "x", ".html": "hidden",
		"assets/a.js": "js", "maintenance.html": "soon", "closed/f": "closed", "listed/x": "x", "dl/a": "a", "dl/none.txt": "none",
	} {
		writeFile(t, filepath.Join(root, name), []byte(content))
	}
	nobody, err := server.ParseNetworks([]string{"all"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(match string, s server.Site) server.Location {
		s.Root = root
		return server.Location{Match: match, Site: s}
	}
	return start(t, d, server.Config{
		Site: server.Site{Root: root, Try: []string{"$uri", "$uri/", "$uri.html", "/index.html"}},
		Locations: []server.Location{
			at("/assets/", server.Site{Try: []string{"$uri", "=404"}}),
			at("/old/", server.Site{Redirect: server.Redirect{To: "/new{uri}", Status: 308}, Headers: []server.HeaderRule{{Match: "/", Name: "X-A", Value: "b"}}}),
			at("= /health", server.Site{Respond: server.Respond{Body: "ok\n"}}),
			at("= /empty", server.Site{Respond: server.Respond{Status: 204}}),
			at("= /gone", server.Site{Respond: server.Respond{Status: 410}}),
			at("/api/", server.Site{Respond: server.Respond{Status: 503, Body: "{}", Type: "application/json"}}),
			at("/down/", server.Site{Respond: server.Respond{Status: 503}, ErrorPages: map[int]server.Page{503: {Path: "/maintenance.html"}}}),
			at("/spa/", server.Site{ErrorPages: map[int]server.Page{404: {Path: "/index.html", Status: 200}, 412: {Path: "/about.html", Status: 200}}}),
			at("/moved/", server.Site{ErrorPages: map[int]server.Page{404: {Path: "/about.html", Status: 410}}}),
			at("/closed/", server.Site{Access: server.Access{Deny: nobody}}),
			at("/toclosed/", server.Site{Try: []string{"$uri", "/closed/f"}}),
			at("/toold/", server.Site{Try: []string{"/old/x"}}),
			at("/listed/", server.Site{Try: []string{"$uri", "$uri/", "=410"}, Listing: true}),
			{Match: "/dl/", Alias: true, Site: server.Site{Root: filepath.Join(root, "dl"), Try: []string{"$uri", "/dl/none.txt", "=404"}}},
			at("/more/", server.Site{Try: []string{"$uri", "/f.txt", "=404"}}),
			at("/last/", server.Site{Try: []string{"$uri.html", "$uri"}}),
		},
	})
}

func TestAnswersWithoutFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := answersOf(t, d)
		c := g.dial()
		for range 2 {
			r := c.get("/old/a%20b?q=1", "Range: bytes=0-1", "If-None-Match: *")
			r.want(t, 308, "308 Permanent Redirect\n")
			r.wantField(t, "Location", "/new/old/a%20b?q=1")
			r.wantField(t, "X-A", "b")
			r = c.do(http.MethodHead, "/old/f")
			r.want(t, 308)
			r.wantField(t, "Content-Length", "23")
			c.do(http.MethodPost, "/old/f", "Content-Length: 0").want(t, 308, "308 Permanent Redirect\n")
			c.do(http.MethodOptions, "/old/f").want(t, 308, "308 Permanent Redirect\n")
			c.do("BREW", "/old/f").want(t, 501)

			r = c.get("/health", "Range: bytes=0-0", "If-None-Match: *")
			r.want(t, 200, "ok\n")
			r.wantField(t, "Content-Type", "text/plain; charset=utf-8")
			r.wantField(t, "Cache-Control", "")
			r = c.do(http.MethodHead, "/health")
			r.want(t, 200)
			r.wantField(t, "Content-Length", "3")
			r = c.get("/empty")
			r.want(t, 204, "")
			r.wantField(t, "Allow", "")
			r.wantField(t, "Content-Length", "")
			c.get("/gone").want(t, 410, "410 Gone\n")
			r = c.get("/api/x")
			r.want(t, 503, "{}")
			r.wantField(t, "Content-Type", "application/json")
			r.wantField(t, "Retry-After", "1")
			r.wantField(t, "Cache-Control", "no-store")
			r = c.get("/down/x")
			r.want(t, 503, "soon")
			r.wantField(t, "Retry-After", "1")
		}
	})
}

func TestTry(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := answersOf(t, d)
		c := g.dial()
		for range 2 {
			for path, want := range map[string]string{
				"/": "200 app", "/f.txt": "200 " + hello, "/about": "200 about", "/about.html": "200 about", "/d/": "200 d", "/none": "200 app", "/a/b/c": "200 app",
				"/about/": "200 app", "/f.txt/": "200 app", "/bare/": "403", "/.hidden": "404", "/assets/a.js": "200 js", "/assets/none": "404", "/assets/": "404",
				"/dl/a": "200 a", "/dl/b": "200 none", "/more/x": "200 " + hello, "/toclosed/x": "403", "/listed/x": "200 x", "/listed/none/": "410", "/listed/none": "410",
				"/last/f": "404", "/last/": "404",
			} {
				r := c.get(path)
				status, body, ok := strings.Cut(want, " ")
				if status != strconv.Itoa(r.status) || ok && string(r.body) != body {
					t.Errorf("%s: %d %q, want %s", path, r.status, r.body, want)
				}
			}
			r := c.get("/d?q")
			r.want(t, 301)
			r.wantField(t, "Location", "/d/?q")
			r = c.get("/toold/x")
			r.want(t, 308)
			r.wantField(t, "Location", "/new/old/x")
			if r = c.get("/listed/"); r.status != 200 || !strings.Contains(string(r.body), "none.txt") && !strings.Contains(string(r.body), ">x<") {
				t.Errorf("/listed/: %d %.200q", r.status, r.body)
			}
			// What was found is a file like others.
			r = c.get("/none", "Range: bytes=1-")
			r.want(t, 206, "pp")
			r.wantField(t, "Content-Type", "text/html; charset=utf-8")
			tag := r.fields.Get("Etag")
			c.get("/none", "If-None-Match: "+tag).want(t, 304, "")
			c.do(http.MethodHead, "/none").want(t, 200)
			c.do(http.MethodPost, "/none", "Content-Length: 0").want(t, 405)
		}
		// What is tried is looked for again.
		writeFile(t, filepath.Join(g.root, "none"), []byte("now"))
		c.get("/none").want(t, 200, "now")
		if err := os.Remove(filepath.Join(g.root, "index.html")); err != nil {
			t.Fatal(err)
		}
		if !testenv.Eventually(patience, func() bool { return c.get("/other").status == 404 }) {
			t.Error("the last is still there")
		}
	})
}

// A page with the status 200 is answered as if it had been asked for.
func TestPagesWithAStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		c := answersOf(t, d).dial()
		for range 2 {
			r := c.get("/spa/x")
			r.want(t, 200, "app")
			r.wantField(t, "Cache-Control", "")
			r.wantField(t, "Accept-Ranges", "bytes")
			tag := r.fields.Get("Etag")
			c.get("/spa/x", "If-None-Match: "+tag).want(t, 304, "")
			c.get("/spa/x", "Range: bytes=0-0").want(t, 206, "a")
			c.get("/spa/x", "Range: bytes=9-").want(t, 416)
			r = c.do(http.MethodHead, "/spa/x")
			r.want(t, 200)
			r.wantField(t, "Content-Length", "3")
			c.do(http.MethodPost, "/spa/x", "Content-Length: 0").want(t, 405)
			// That page fails, too, and its own is no way out.
			c.get("/spa/x", `If-Match: "x"`).want(t, 412, "about")
			r = c.get("/moved/x")
			r.want(t, 410, "about")
			r.wantField(t, "Cache-Control", "no-store")
		}
	})
}

// Failures are pages for those who prefer HTML, problems for those who prefer JSON, and text for all others.
func TestStyledFailures(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f", hello)
		c := g.dial()
		const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
		page := c.get("/none", browser)
		page.want(t, 404)
		page.wantField(t, "Content-Type", "text/html; charset=utf-8")
		page.wantField(t, "Cache-Control", "no-store")
		for _, part := range []string{"<title>404 Not Found</title>", "prefers-color-scheme:dark", "<h1>404</h1>"} {
			if !strings.Contains(string(page.body), part) {
				t.Errorf("no %s in %s", part, page.body)
			}
		}
		head := c.do(http.MethodHead, "/none", browser)
		head.want(t, 404)
		head.wantField(t, "Content-Length", page.fields.Get("Content-Length"))
		r := c.get("/f", browser, "Range: bytes=99-")
		r.want(t, 416)
		r.wantField(t, "Content-Range", "bytes */20")
		r.wantField(t, "Content-Type", "text/html; charset=utf-8")
		c.get("/f", browser, "Range: bytes=0-1", `If-Match: "x"`).want(t, 412)
		c.get("/none", browser, "Range: bytes=0-1").want(t, 404, string(page.body))
		for _, accept := range []string{"*/*", "text/*", "text/html;q=0", "text/html;q=0.1, text/plain", "image/png"} {
			c.get("/none", "Accept: "+accept).want(t, 404, "404 Not Found\n")
		}
		c.get("/none").want(t, 404, "404 Not Found\n")
		c.get("/none", "Accept: application/json, text/html;q=0.5").wantField(t, "Content-Type", "application/problem+json")
	})
}

// What is tried first, found by its extension or pattern, or needs no file costs no memory;
// redirects and pages cost little.
func TestAnswersCostNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := answersOf(t, d)
		for head, most := range map[string]float64{
			"GET /f.txt": 0.1, "GET /d/": 0.1, "GET /assets/a.js": 0.1, "GET /dl/a": 0.1, "GET /health": 0.1, "GET /gone": 0.1, "GET /spa/x": 4.1,
			"GET /gone\r\nAccept: text/html": 1.1, "GET /gone\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": 1.1, "GET /old/x": 3.1,
		} {
			if n := g.mallocs(head); n > most {
				t.Errorf("%q: %.2f allocations a request, at most %.1f are expected", head, n, most)
			}
		}
	})
}

// One line takes a host from HTTP to HTTPS: what is there already is answered.
func TestRedirectToHTTPS(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		to := server.Redirect{To: "https://{host}{uri}", Status: 301}
		g := start(t, d, withTLS(t, server.Config{Hosts: []server.Host{
			{Names: []string{"files.example"}, Site: server.Site{Root: dirWith(t, "f", "secret"), Redirect: to}},
		}}))
		for range 2 {
			r := g.once(http.MethodGet, "/f?q")
			r.want(t, 301)
			r.wantField(t, "Location", "https://files.example/f?q")
			g.mustTLS().do(http.MethodGet, "/f?q").want(t, 200, "secret")
		}
	})
}
