package nethttp_test

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/nethttp"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var settled = time.Date(2024, 5, 17, 10, 20, 30, 0, time.UTC)

// site makes files that are no longer young.
func site(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, settled, settled); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func handler(t *testing.T, cfg server.Config) http.Handler {
	t.Helper()
	h, err := nethttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// serve serves h by net/http, through an engine's listener.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	e, err := engine.New(engine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = e.Listener(ln)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// reply is what a client gets.
type reply struct {
	status int
	field  http.Header
	body   string
}

func ask(t *testing.T, url, method, target string, fields []string) reply {
	t.Helper()
	a := testenv.Ask(t, testenv.Single, method, url+target, "", fields...)
	return reply{a.StatusCode, a.Header, a.Body}
}

const (
	date   = "Fri, 17 May 2024 10:20:30 GMT" // settled
	before = "Fri, 17 May 2024 10:20:29 GMT"
	after  = "Fri, 17 May 2024 10:20:31 GMT"
)

// cases are those of net/http's own tests of its file server. differs names the entry
// of DIFFERENCES.md for an answer that is not its.
var cases = []struct {
	method, target string
	fields         []string
	differs        string
}{
	// Ranges.
	{"GET", "/f.txt", []string{"Range: bytes=0-4"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=2-"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=-5"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=3-7"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=5-1000"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-9"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-10"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-11"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=10-11"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=10-"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=11-"}, "unsatisfiable"},
	{"GET", "/f.txt", []string{"Range: bytes=11-12"}, "unsatisfiable"},
	{"GET", "/f.txt", []string{"Range: bytes=100-1000"}, "unsatisfiable"},
	{"GET", "/f.txt", []string{"Range: bytes=-0"}, "unsatisfiable"},
	{"GET", "/f.txt", []string{"Range: bytes=-1000"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-,1-,2-,3-,4-"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-3,2-5"}, "many ranges"},
	{"GET", "/f.txt", []string{"Range: bytes=5-1"}, "malformed range"},
	{"GET", "/f.txt", []string{"Range: bytes=foo"}, "malformed range"},
	{"GET", "/f.txt", []string{"Range: bytes=--1"}, "malformed range"},
	{"GET", "/f.txt", []string{"Range: bytes="}, "malformed range"},
	{"GET", "/f.txt", []string{"Range: cows=0-1"}, "malformed range"},
	{"GET", "/f.txt", []string{"Range:  bytes=0-4 "}, ""},
	{"GET", "/empty.txt", []string{"Range: bytes=0-0"}, ""},
	{"GET", "/empty.txt", []string{"Range: bytes=-5"}, "empty file"},
	{"HEAD", "/f.txt", []string{"Range: bytes=0-4"}, "HEAD with Range"},
	{"HEAD", "/f.txt", nil, ""},
	{"GET", "/f.txt", nil, ""},
	{"GET", "/empty.txt", nil, ""},
	// Conditionals.
	{"GET", "/f.txt", []string{"If-Modified-Since: " + date}, ""},
	{"GET", "/f.txt", []string{"If-Modified-Since: " + after}, ""},
	{"GET", "/f.txt", []string{"If-Modified-Since: " + before}, ""},
	{"GET", "/f.txt", []string{"If-Modified-Since: yesterday"}, ""},
	{"HEAD", "/f.txt", []string{"If-Modified-Since: " + date}, ""},
	{"GET", "/f.txt", []string{"If-Unmodified-Since: " + date}, ""},
	{"GET", "/f.txt", []string{"If-Unmodified-Since: " + before}, "failed precondition"},
	{"GET", "/f.txt", []string{"If-None-Match: *"}, ""},
	{"GET", "/f.txt", []string{`If-None-Match: "other"`, "If-Modified-Since: " + after}, ""},
	{"GET", "/f.txt", []string{`If-None-Match: W/"other"`}, ""},
	{"GET", "/f.txt", []string{`If-Match: "other"`}, "failed precondition"},
	{"GET", "/f.txt", []string{"If-Match: *"}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-4", "If-Range: " + date}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-4", "If-Range: " + before}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-4", "If-Range: " + after}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-4", `If-Range: "other"`}, ""},
	{"GET", "/f.txt", []string{"Range: bytes=0-4", `If-Range: W/"other"`}, ""},
	// Content types.
	{"GET", "/style.css", nil, ""},
	{"GET", "/page.html", nil, ""},
	{"GET", "/picture.png", nil, ""},
	{"GET", "/data.json", nil, ""},
	{"GET", "/none", nil, "no sniffing"},
	{"GET", "/f.unknownext", nil, "no sniffing"},
	// Paths.
	{"GET", "/dir/", nil, ""},
	{"GET", "/dir", nil, "redirects"},
	{"GET", "/dir?a=b", nil, "redirects"},
	{"GET", "/dir/index.html", nil, "index by name"},
	{"GET", "/f.txt/", nil, "slash after a file"},
	{"GET", "/bare/", nil, "listings"},
	{"GET", "/nothing", nil, "short errors"},
	{"GET", "/.dot", nil, "dotfiles"},
	{"GET", "/with%20space.txt", nil, ""},
	{"GET", "/with%3Fmark.txt", nil, ""},
	{"GET", "//f.txt", nil, ""},
	{"GET", "/dir/../f.txt", nil, ""},
	{"GET", "/%2e%2e/f.txt", nil, "dot segments"},
	{"GET", "/x%00y", nil, "bad paths"},
	{"GET", "/dir%2findex.html", nil, "index by name"},
	{"GET", "/dir/..%2ff.txt", nil, "dot segments"},
	{"GET", "/out", nil, "links that leave"},
	// Methods.
	{"POST", "/f.txt", nil, "methods"},
	{"OPTIONS", "/f.txt", nil, "methods"},
	{"BREW", "/f.txt", nil, "methods"},
}

func TestAgainstFileServer(t *testing.T) {
	testenv.LeakCheck(t)
	root := site(t, map[string]string{
		"f.txt": "0123456789\n", "empty.txt": "", "style.css": "a{}", "page.html": "<p>page", "picture.png": "\x89PNG",
		"data.json": "{}", "none": "text", "f.unknownext": "text", "dir/index.html": "<p>index", "bare/x.txt": "x",
		".dot": "dot", "with space.txt": "space", "with?mark.txt": "mark",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	known := differences(t)
	ours := serve(t, handler(t, server.Config{Site: server.Site{Root: root, Files: httpfile.Config{AllowSniffing: true}}}))
	theirs := serve(t, http.FileServer(http.Dir(root)))
	used := map[string]bool{}
	for _, c := range cases {
		got, want := ask(t, ours, c.method, c.target, c.fields), ask(t, theirs, c.method, c.target, c.fields)
		diff := compare(got, want)
		name := fmt.Sprintf("%s %s %v", c.method, c.target, c.fields)
		switch {
		case c.differs == "" && diff != "":
			t.Errorf("%s: %s", name, diff)
		case c.differs != "" && diff == "":
			t.Errorf("%s: there is no difference any more (%s)", name, c.differs)
		case c.differs != "" && !known[c.differs]:
			t.Errorf("%s: %q is not in DIFFERENCES.md: %s", name, c.differs, diff)
		}
		used[c.differs] = true
	}
	for d := range known {
		if !used[d] {
			t.Errorf("DIFFERENCES.md: no case shows %q", d)
		}
	}
}

// compared are the fields that say what a body is. The file server sets no ETag, and Vary
// is about sidecars.
var compared = []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Last-Modified", "Location", "Allow"}

func compare(got, want reply) string {
	var b strings.Builder
	if got.status != want.status {
		fmt.Fprintf(&b, "status %d, theirs %d; ", got.status, want.status)
	}
	for _, name := range compared {
		if g, w := got.field.Values(name), want.field.Values(name); fmt.Sprint(g) != fmt.Sprint(w) {
			fmt.Fprintf(&b, "%s %q, theirs %q; ", name, g, w)
		}
	}
	if got.body != want.body {
		fmt.Fprintf(&b, "body %.60q, theirs %.60q", got.body, want.body)
	}
	return b.String()
}

// differences returns the names of the entries of DIFFERENCES.md.
func differences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("DIFFERENCES.md")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "- **"); ok {
			name, _, _ := strings.Cut(rest, "**")
			all[name] = true
		}
	}
	return all
}

// TestParts compares the parts of a multipart answer with those of the file server.
func TestParts(t *testing.T) {
	testenv.LeakCheck(t)
	p := testenv.NewPattern(1)
	root := t.TempDir()
	name := p.File(t, root, 200_000).Name()
	url := serve(t, handler(t, server.Config{Site: server.Site{Root: root}}))
	res := ask(t, url, http.MethodGet, "/"+filepath.Base(name), []string{"Range: bytes=0-99,10000-109999,-50"})
	if res.status != 206 || !strings.HasPrefix(res.field.Get("Content-Type"), "multipart/byteranges") ||
		res.field.Get("Content-Length") != fmt.Sprint(len(res.body)) {
		t.Fatalf("%d, %v", res.status, res.field)
	}
	for _, r := range [][2]int64{{0, 100}, {10_000, 100_000}, {199_950, 50}} {
		if !strings.Contains(res.body, string(p.Bytes(r[0], int(r[1])))) {
			t.Errorf("the range %v is not in the body", r)
		}
	}
}

func TestSidecarsPagesAndRules(t *testing.T) {
	testenv.LeakCheck(t)
	root := site(t, map[string]string{"a.js": "source", "a.js.br": "brotli", "a.js.gz": "gzip", "404.html": "<p>nothing", "b.js": "b"})
	url := serve(t, handler(t, server.Config{
		Site: server.Site{
			Root: root, Precompressed: true, Listing: true, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}},
			Headers: []server.HeaderRule{{Match: "*.js", Name: "X-Kind", Value: "script"}},
		},
	}))
	for _, c := range []struct {
		target, accept string
		status         int
		coding, body   string
	}{
		{"/a.js", "br, gzip", 200, "br", "brotli"},
		{"/a.js", "gzip", 200, "gzip", "gzip"},
		{"/a.js", "zstd", 200, "", "source"},
		{"/a.js", "zstd, gzip;q=0.1", 200, "gzip", "gzip"},
		{"/a.js", "identity;q=0", 406, "", "406 Not Acceptable\n"},
		{"/b.js", "br", 200, "", "b"},
		{"/nothing", "br", 404, "", "<p>nothing"},
	} {
		res := ask(t, url, http.MethodGet, c.target, []string{"Accept-Encoding: " + c.accept})
		if res.status != c.status || res.field.Get("Content-Encoding") != c.coding || res.body != c.body {
			t.Errorf("%+v: %+v", c, res)
		}
		if want := strings.HasSuffix(c.target, ".js"); want != (res.field.Get("X-Kind") == "script") {
			t.Errorf("%+v: X-Kind %q", c, res.field.Get("X-Kind"))
		}
	}
	if res := ask(t, url, http.MethodGet, "/", []string{"Accept: application/json"}); !strings.Contains(res.body, `"a.js"`) || res.status != 200 {
		t.Errorf("listing: %+v", res)
	}
	etag := ask(t, url, http.MethodGet, "/a.js", nil).field.Get("Etag")
	if res := ask(t, url, http.MethodGet, "/a.js", []string{"If-None-Match: " + etag}); res.status != 304 || res.body != "" || etag == "" {
		t.Errorf("%q: %+v", etag, res)
	}
}

// What a response varies by is what the handlers around it say, the file's codings, and who asks.
func TestVary(t *testing.T) {
	root := site(t, map[string]string{"f.txt": "text", "f.txt.gz": "packed"})
	h, err := nethttp.New(server.Config{Site: server.Site{Root: root, Precompressed: true, Headers: []server.HeaderRule{{Match: "/", Name: "Vary", Value: "X-A"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Origin")
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/f.txt", nil))
	if got := strings.Join(w.Result().Header.Values("Vary"), ", "); got != "Origin, Accept-Encoding, X-A" {
		t.Errorf("Vary: %s", got)
	}
}

func TestStripPrefix(t *testing.T) {
	testenv.LeakCheck(t)
	root := site(t, map[string]string{"dir/index.html": "index", "bare/b c.txt": "b", "f.txt": "file"})
	h := handler(t, server.Config{Site: server.Site{Root: root, Listing: true}})
	for _, prefix := range []string{"/st atic", "/st atic/"} {
		mux := http.NewServeMux()
		mux.Handle("/st%20atic/", http.StripPrefix(prefix, h))
		mux.Handle("/st%20atic", http.StripPrefix(strings.TrimSuffix(prefix, "/"), h))
		url := serve(t, mux)
		if res := ask(t, url, http.MethodGet, "/st%20atic/f.txt", nil); res.body != "file" {
			t.Errorf("%s: %+v", prefix, res)
		}
		for target, want := range map[string]string{
			"/st%20atic/dir?q=1": "/st%20atic/dir/?q=1", "/st%20atic/bare": "/st%20atic/bare/", "/st%20atic?page=1": "/st%20atic/?page=1",
		} {
			if res := ask(t, url, http.MethodGet, target, nil); res.status != 301 || res.field.Get("Location") != want {
				t.Errorf("%s, %s: %d %q, want %q", prefix, target, res.status, res.field.Get("Location"), want)
			}
			w := httptest.NewRecorder() // a target in absolute-form
			if mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url+target, nil)); w.Code != 301 || w.Header().Get("Location") != want {
				t.Errorf("%s, absolute %s: %d %q, want %q", prefix, target, w.Code, w.Header().Get("Location"), want)
			}
		}
		checkLinks(t, url, "/st%20atic/", 4) // the heads of the table, and what is there
		checkLinks(t, url, "/st%20atic/bare/", 3)
	}
}

// checkLinks follows all links of a listing, of which there are so many at least.
func checkLinks(t *testing.T, url, target string, least int) {
	t.Helper()
	page := ask(t, url, http.MethodGet, target, nil)
	links := regexp.MustCompile(`href="([^"#]*)"`).FindAllStringSubmatch(page.body, -1)
	if page.status != 200 || len(links) < least {
		t.Fatalf("%s: %d, %d links", target, page.status, len(links))
	}
	base, err := neturl.Parse(url + target)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		to, err := base.Parse(html.UnescapeString(l[1]))
		if err != nil {
			t.Fatal(err)
		}
		if res := ask(t, url, http.MethodGet, to.RequestURI(), nil); res.status != 200 && l[1] != "../" {
			t.Errorf("%s leads to %s: %d", l[1], to, res.status)
		}
	}
}

// Addresses come with and without a port; what is none is not that of a Unix socket.
func TestClientAddress(t *testing.T) {
	networks := func(list ...string) (n server.Networks) {
		n, err := server.ParseNetworks(list)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	root := site(t, map[string]string{"f.txt": "content"})
	for _, c := range []struct {
		access     server.Access
		remote     string
		unix       bool
		wantStatus int
	}{
		{server.Access{Deny: networks("192.0.2.0/24")}, "192.0.2.1:80", false, 403},
		{server.Access{Deny: networks("192.0.2.0/24")}, "192.0.2.1", false, 403},
		{server.Access{Deny: networks("192.0.2.0/24")}, "nonsense", false, 403},
		{server.Access{Deny: networks("192.0.2.0/24")}, "", false, 403},
		{server.Access{Deny: networks("192.0.2.0/24")}, "198.51.100.1", false, 200},
		{server.Access{Deny: networks("2001:db8::/32")}, "2001:db8::1", false, 403},
		{server.Access{Deny: networks("2001:db8::/32")}, "[2001:db8::1]:80", false, 403},
		{server.Access{Allow: networks("unix")}, "", false, 403},
		{server.Access{Allow: networks("unix")}, "@", true, 200},
		{server.Access{Allow: networks("unix")}, "/run/client.sock", true, 200},
		{server.Access{Allow: networks("unix")}, "nonsense", true, 403},
		{server.Access{Allow: networks("unix")}, "192.0.2.1", true, 403},
	} {
		h := handler(t, server.Config{Site: server.Site{Root: root, Access: c.access}})
		r := httptest.NewRequest(http.MethodGet, "/f.txt", nil)
		r.RemoteAddr = c.remote
		var local net.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
		if c.unix {
			local = &net.UnixAddr{Net: "unix", Name: "/run/server.sock"}
		}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != c.wantStatus {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

func TestContentTags(t *testing.T) {
	const hash = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73" // of "content"
	root := site(t, map[string]string{"f.txt": "content", "f.txt.sha256": hash + "  f.txt\n", "g.txt": "other"})
	url := serve(t, handler(t, server.Config{Site: server.Site{Root: root, ContentTags: true}}))
	for name, want := range map[string]string{"f.txt": `"` + hash + `"`, "g.txt": ""} {
		if res := ask(t, url, http.MethodGet, "/"+name, nil); res.status != 200 || res.field.Get("Etag") != want {
			t.Errorf("%s: %+v, want the tag %s", name, res, want)
		}
	}
}

// Files may be as long as an offset goes.
func TestHugeFile(t *testing.T) {
	root, err := os.MkdirTemp("/dev/shm", "huge")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(root)
	path := filepath.Join(root, "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, math.MaxInt64); err != nil {
		t.Skip(err)
	}
	url := serve(t, handler(t, server.Config{Site: server.Site{Root: root}})) + "/f"
	for field, want := range map[string]string{"bytes=0-9": "0123456789", "bytes=-10": string(make([]byte, 10))} {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Range", field)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != http.StatusPartialContent || string(got) != want {
			t.Errorf("%s: %d %q, %v", field, a.StatusCode, got, err)
		}
		a.Body.Close()
	}
}

// TestFileChanges has a file change while it is sent: the client gets no whole body.
func TestFileChanges(t *testing.T) {
	testenv.LeakCheck(t)
	const size = 32 << 20
	for _, how := range []string{"shrinks", "changes"} {
		root := t.TempDir()
		path := filepath.Join(root, "f")
		if err := os.WriteFile(path, bytes.Repeat([]byte{1}, size), 0o644); err != nil {
			t.Fatal(err)
		}
		url := serve(t, handler(t, server.Config{Site: server.Site{Root: root}}))
		res, err := testenv.Single.Get(url + "/f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
			t.Fatal(err)
		}
		if how == "shrinks" {
			err = os.Truncate(path, size/2)
		} else {
			err = os.Chtimes(path, settled, settled)
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if err == nil || n+1000 >= size {
			t.Errorf("%s: %d bytes, %v", how, n+1000, err)
		}
		res.Body.Close()
	}
}

func TestConfig(t *testing.T) {
	if _, err := nethttp.New(server.Config{}); err == nil {
		t.Error("a handler without a root")
	}
	if _, err := nethttp.New(server.Config{Site: server.Site{Root: "/nothing/here"}}); err == nil {
		t.Error("a root that is not there")
	}
}
