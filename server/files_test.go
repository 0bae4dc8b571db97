package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

const (
	hello        = "0123456789abcdefghij"
	lastModified = "Fri, 17 May 2024 10:20:30 GMT" // of settled
)

// etag is the tag of a settled file of n bytes.
func etag(n int64) string { return fmt.Sprintf(`"%x-%x"`, settled.UnixNano(), n) }

func TestGetAndHead(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		g.write("empty", "")
		const bigSize = 3<<20 + 17
		big := g.pattern("big.iso", 1, bigSize)
		c := g.dial()

		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodGet} {
			r := c.do(method, "/f.txt")
			r.want(t, 200)
			r.wantField(t, "Content-Type", "text/plain; charset=utf-8")
			r.wantField(t, "Content-Length", "20")
			r.wantField(t, "Last-Modified", lastModified)
			r.wantField(t, "Etag", etag(20))
			r.wantField(t, "Accept-Ranges", "bytes")
			r.wantField(t, "X-Content-Type-Options", "nosniff")
			r.wantField(t, "Connection", "")
			if method == http.MethodGet {
				r.want(t, 200, hello)
			}
		}
		r := c.get("/big.iso")
		r.want(t, 200)
		if err := big.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		r = c.do(http.MethodHead, "/big.iso")
		r.want(t, 200)
		r.wantField(t, "Content-Length", fmt.Sprint(bigSize))
		c.get("/empty").want(t, 200, "")
		c.do(http.MethodHead, "/empty").want(t, 200)
		c.get("/f.txt?what=ever").want(t, 200, hello)
		c.get("http://other.example/f.txt").want(t, 200, hello)
		r = c.get("/nothing")
		r.want(t, 404, "404 Not Found\n")
		r.wantField(t, "Cache-Control", "no-store")
		r.wantField(t, "Etag", "")
		c.do(http.MethodHead, "/nothing").want(t, 404)
		c.get("/f.txt").want(t, 200, hello) // the connection has lived through all that
	})
}

func TestSingleRange(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		g.write("empty", "")
		const bigSize = 1<<20 + 3
		big := g.pattern("big.bin", 2, bigSize)
		c := g.dial()
		for _, test := range []struct {
			ranges  string
			status  int
			body    string
			content string // Content-Range
		}{
			{"bytes=0-0", 206, "0", "bytes 0-0/20"},
			{"bytes=0-4", 206, "01234", "bytes 0-4/20"},
			{"BYTES=0-4", 206, "01234", "bytes 0-4/20"},
			{"bytes=18-", 206, "ij", "bytes 18-19/20"},
			{"bytes=-3", 206, "hij", "bytes 17-19/20"},
			{"bytes=-100", 206, hello, "bytes 0-19/20"},
			{"bytes=5-1000", 206, hello[5:], "bytes 5-19/20"},
			{"bytes=20-", 416, "416 Range Not Satisfiable\n", "bytes */20"},
			{"bytes=-0", 416, "416 Range Not Satisfiable\n", "bytes */20"},
			{"bytes=abc", 416, "416 Range Not Satisfiable\n", "bytes */20"},
			{"items=0-4", 200, hello, ""},
		} {
			r := c.get("/f.txt", "Range: "+test.ranges)
			r.want(t, test.status, test.body)
			r.wantField(t, "Content-Range", test.content)
		}
		r := c.do(http.MethodHead, "/f.txt", "Range: bytes=0-4")
		r.want(t, 200)
		r.wantField(t, "Content-Length", "20")
		c.get("/empty", "Range: bytes=0-").want(t, 200, "")
		c.get("/f.txt", "Range: bytes=0-1", "Range: bytes=2-3").want(t, 200, hello)

		for _, span := range [][2]int64{{0, 1}, {4095, 4097}, {1 << 19, bigSize}, {bigSize - 1, bigSize}, {0, bigSize}} {
			r := c.get("/big.bin", fmt.Sprintf("Range: bytes=%d-%d", span[0], span[1]-1))
			r.want(t, 206)
			r.wantField(t, "Content-Length", fmt.Sprint(span[1]-span[0]))
			if err := big.Check(r.body, span[0]); err != nil {
				t.Error(err)
			}
		}
	})
}

// part is one part of a multipart answer.
type part struct {
	contentRange, contentType string
	body                      []byte
}

// parts takes a multipart/byteranges answer apart with a reader that is not ours.
func parts(t testing.TB, r *response) (all []part) {
	t.Helper()
	r.want(t, 206)
	kind, params, err := mime.ParseMediaType(r.get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("Content-Type %q: %v", r.get("Content-Type"), err)
	}
	r.wantField(t, "Content-Range", "")
	m := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for {
		p, err := m.NextRawPart()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part{p.Header.Get("Content-Range"), p.Header.Get("Content-Type"), body})
	}
}

func TestSeveralRanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		const size = 2 << 20
		big := g.pattern("big.bin", 3, size)
		c := g.dial()

		got := parts(t, c.get("/f.txt", "Range: bytes=0-1,5-6,-1"))
		want := []part{
			{"bytes 0-1/20", "text/plain; charset=utf-8", []byte("01")},
			{"bytes 5-6/20", "text/plain; charset=utf-8", []byte("56")},
			{"bytes 19-19/20", "text/plain; charset=utf-8", []byte("j")},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("parts %v, want %v", got, want)
		}
		r := c.get("/f.txt", "Range: bytes=0-1,50-60")
		r.want(t, 206, "01")
		r.wantField(t, "Content-Range", "bytes 0-1/20")
		c.get("/f.txt", "Range: bytes=30-40,50-60").want(t, 416)

		// Parts in the order of the request, small and large ones mixed.
		spans := [][2]int64{{size - 1000, size}, {0, 3}, {500_000, 1_500_000}, {100, 200}}
		var list []string
		for _, s := range spans {
			list = append(list, fmt.Sprintf("%d-%d", s[0], s[1]-1))
		}
		got = parts(t, c.get("/big.bin", "Range: bytes="+strings.Join(list, ", ")))
		if len(got) != len(spans) {
			t.Fatalf("%d parts, want %d", len(got), len(spans))
		}
		for i, s := range spans {
			if want := fmt.Sprintf("bytes %s/%d", list[i], int64(size)); got[i].contentRange != want {
				t.Errorf("part %d: %q, want %q", i, got[i].contentRange, want)
			}
			if err := big.Check(got[i].body, s[0]); err != nil || int64(len(got[i].body)) != s[1]-s[0] {
				t.Errorf("part %d: %d bytes: %v", i, len(got[i].body), err)
			}
		}
		c.get("/f.txt").want(t, 200, hello)
	})
}

func TestPreconditions(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		const (
			before = "Fri, 17 May 2024 10:20:29 GMT"
			after  = "Fri, 17 May 2024 10:20:31 GMT"
		)
		tag := etag(20)
		c := g.dial()
		for _, test := range []struct {
			fields string
			status int
		}{
			{"If-None-Match: " + tag, 304},
			{"If-None-Match: W/" + tag, 304},
			{"If-None-Match: *", 304},
			{`If-None-Match: "x", ` + tag, 304},
			{`If-None-Match: "x"` + "\r\nIf-None-Match: " + tag, 304},
			{`If-None-Match: "x"`, 200},
			{"If-None-Match: " + tag + "\r\nRange: bytes=0-1", 304},
			{"If-None-Match: " + tag + "\r\nIf-Modified-Since: " + before, 304},
			{`If-None-Match: "x"` + "\r\nIf-Modified-Since: " + after, 200},
			{"If-Modified-Since: " + lastModified, 304},
			{"If-Modified-Since: " + after, 304},
			{"If-Modified-Since: " + before, 200},
			{"If-Modified-Since: yesterday", 200},
			{"If-Match: " + tag, 200},
			{"If-Match: W/" + tag, 412},
			{`If-Match: "x"`, 412},
			{"If-Match: " + tag + "\r\nIf-Unmodified-Since: " + before, 200},
			{"If-Unmodified-Since: " + before, 412},
			{"If-Unmodified-Since: " + lastModified, 200},
			{"Range: bytes=0-1\r\nIf-Range: " + tag, 206},
			{"Range: bytes=0-1\r\nIf-Range: W/" + tag, 200},
			{`Range: bytes=0-1` + "\r\n" + `If-Range: "x"`, 200},
			{"Range: bytes=0-1\r\nIf-Range: " + lastModified, 206},
			{"Range: bytes=0-1\r\nIf-Range: " + after, 200},
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				want := test.status
				if method == http.MethodHead && want == 206 {
					want = 200 // Range is defined for GET
				}
				r := c.do(method, "/f.txt", test.fields)
				if r.status != want {
					t.Errorf("%s with %q: %d, want %d", method, test.fields, r.status, want)
				}
				if want == 304 {
					r.wantField(t, "Etag", tag)
					r.wantField(t, "Last-Modified", lastModified)
					r.wantField(t, "Content-Type", "")
				}
			}
		}
	})
}

// A version has one tag for life, from the first request on where the file system tells
// changes apart. Elsewhere it has none at first.
func TestTagsDoNotTurn(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		path := filepath.Join(g.root, "f.txt")
		if err := os.WriteFile(path, []byte(hello), 0o644); err != nil {
			t.Fatal(err)
		}
		tag := g.once(http.MethodGet, "/f.txt").get("Etag")
		if tag == "" {
			t.Skip("the file system does not tell changes apart")
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"%x-%x"`, st.ModTime().UnixNano(), len(hello)); tag != want {
			t.Errorf("%s at once, want %s", tag, want)
		}
		g.once(http.MethodGet, "/f.txt", "Range: bytes=0-1", "If-Range: "+tag).want(t, 206, hello[:2])
		g.once(http.MethodGet, "/f.txt", "If-None-Match: "+tag).want(t, 304)
	})
}

// A time of modification in the future is that of a wrong clock: the date that is sent is
// that of the change, and it holds in preconditions.
func TestTimeInTheFuture(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		future := time.Now().Add(8 * time.Hour)
		if err := os.Chtimes(filepath.Join(g.root, "f.txt"), future, future); err != nil {
			t.Fatal(err)
		}
		r := g.once(http.MethodGet, "/f.txt")
		r.want(t, 200, hello)
		date, tag := r.get("Last-Modified"), r.get("Etag")
		if at, err := http.ParseTime(date); err != nil || at.After(time.Now()) {
			t.Fatalf("Last-Modified: %s", date)
		}
		g.once(http.MethodGet, "/f.txt", "Range: bytes=0-1", "If-Unmodified-Since: "+date).want(t, 206, hello[:2])
		g.once(http.MethodGet, "/f.txt", "If-Modified-Since: "+date).want(t, 304)
		if tag != "" { // the file system tells changes apart
			g.once(http.MethodGet, "/f.txt", "Range: bytes=0-1", "If-Range: "+tag).want(t, 206, hello[:2])
		}
	})
}

// Two versions of one size whose times were normalised, and a link that is switched.
func TestNormalisedTimes(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		at, link := time.Unix(1, 0), filepath.Join(g.root, "current")
		for _, name := range []string{"one", "two"} {
			g.write(name, "content of "+name)
			if err := os.Chtimes(filepath.Join(g.root, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		var tag string
		for _, name := range []string{"one", "two"} {
			if err := os.RemoveAll(link); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(name, link); err != nil {
				t.Fatal(err)
			}
			if !testenv.Eventually(patience, func() bool { return string(g.once(http.MethodGet, "/current").body) == "content of "+name }) {
				t.Fatalf("the link is not seen to lead to %s", name)
			}
			r := g.once(http.MethodGet, "/current", "If-None-Match: "+tag)
			r.want(t, 200, "content of "+name)
			r.wantField(t, "Last-Modified", "")
			g.once(http.MethodGet, "/current", "Range: bytes=0-1", "If-Range: "+tag).want(t, 200, "content of "+name)
			g.once(http.MethodGet, "/current", "If-Modified-Since: "+at.UTC().Format(http.TimeFormat)).want(t, 200, "content of "+name)
			tag = r.get("Etag")
		}
	})
}

func TestIndexAndRedirect(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Index: []string{"index.html", "index.txt"}}})
		g.write("index.html", "root")
		g.write("a/index.txt", "second choice")
		g.write("both/index.html", "first")
		g.write("both/index.txt", "second")
		g.write("bare/f", "f")
		g.write("odd/index.html/index.txt", "a directory with the name of an index")
		g.write("with space/index.html", "space")
		c := g.dial()
		r := c.get("/")
		r.want(t, 200, "root")
		r.wantField(t, "Content-Type", "text/html; charset=utf-8")
		c.get("/a/").want(t, 200, "second choice")
		c.get("/both/").want(t, 200, "first")
		c.get("/bare/").want(t, 403)
		c.get("/none/").want(t, 404)
		c.get("/none").want(t, 404)
		c.get("/odd/").want(t, 403)
		c.get("/odd/index.html/").want(t, 200, "a directory with the name of an index")
		c.get("/f/").want(t, 404)
		c.get("/index.html/").want(t, 404)
		c.get("/a/", "Range: bytes=0-5").want(t, 206, "second")

		for target, location := range map[string]string{
			"/a":                    "/a/",
			"/a?q=1&r=%20":          "/a/?q=1&r=%20",
			"//a":                   "/a/",
			"/bare":                 "/bare/",
			"/with%20space":         "/with%20space/",
			"http://evil.example/a": "/a/",
			"//a?//evil.example":    "/a/?//evil.example",
		} {
			r := c.get(target)
			r.want(t, 301)
			r.wantField(t, "Location", location)
		}
	})
}

// A redirect whose Location began with two slashes would send the client to
// another host.
func TestRedirectNeverNamesAHost(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("evil.example/f", "")
		g.write("A/evil.example/f", "")
		g.write(`\evil.example/f`, "")
		c := g.dial()
		for _, target := range []string{
			"//evil.example", "///evil.example", "/.//evil.example", "/x/..//evil.example", "/%2e//evil.example",
			"/\t/evil.example", "/%5cevil.example", "/%2fevil.example", "/A//evil.example", "http://h//evil.example",
		} {
			c := c
			if strings.Contains(target, "\t") {
				c = g.dial() // refused by the parser, with the connection
			}
			r := c.get(target)
			location := r.get("Location")
			if r.status == 301 && (location == "" || location[0] != '/' || strings.HasPrefix(location, "//") ||
				strings.HasPrefix(location, `/\`)) || r.status != 301 && r.status != 400 {
				t.Errorf("%q: %d, Location %q", target, r.status, location)
			}
		}
	})
}

func TestMethods(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		c := g.dial()
		const allow = "GET, HEAD, OPTIONS"
		for _, test := range []struct {
			method, target string
			status         int
			allow          string
		}{
			{"OPTIONS", "/f.txt", 204, allow},
			{"OPTIONS", "*", 204, allow},
			{"OPTIONS", "/nothing", 204, allow},
			{"POST", "/f.txt", 405, allow},
			{"PUT", "/new", 405, allow},
			{"DELETE", "/f.txt", 405, allow},
			{"TRACE", "/f.txt", 405, allow},
			{"CONNECT", "files.example:443", 405, allow},
			{"BREW", "/f.txt", 501, ""},
			{"get", "/f.txt", 501, ""},
		} {
			r := c.do(test.method, test.target)
			if r.status != test.status || r.get("Allow") != test.allow {
				t.Errorf("%s %s: %d, Allow %q; want %d, %q", test.method, test.target, r.status, r.get("Allow"), test.status, test.allow)
			}
		}
		if _, err := os.Stat(filepath.Join(g.root, "new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("PUT made a file: %v", err)
		}
		c.get("/f.txt").want(t, 200, hello)
	})
}

// The Date of every response is the second in which it was made, also when a
// second begins on a connection that is kept, and in the kept answers of small
// files.
func TestDateIsRight(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		g.pattern("big.bin", 4, 1<<20)
		c := g.dial()
		seen := make(map[string]bool)
		ok := testenv.Eventually(patience, func() bool {
			for _, target := range []string{"/f.txt", "/big.bin", "/nothing"} {
				before := time.Now().Truncate(time.Second)
				r := c.do(http.MethodHead, target)
				after := time.Now()
				date, err := time.Parse(http.TimeFormat, r.get("Date"))
				if err != nil || date.Before(before) || date.After(after) {
					t.Fatalf("%s: Date %v (%v), made from %v to %v", target, date, err, before, after)
				}
				seen[r.get("Date")] = true
			}
			return len(seen) == 2
		})
		if !ok {
			t.Errorf("saw %d dates, want the next second", len(seen))
		}
	})
}

func TestHeadersByConfiguration(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Files: httpfile.Config{
			Server:        "fserve",
			CacheControl:  []httpfile.Rule{{Match: "/assets/", Value: "public, max-age=31536000, immutable"}},
			DownloadParam: "download",
		}}})
		g.write("assets/app.js", "js")
		g.write("f.txt", hello)
		c := g.dial()
		r := c.get("/assets/app.js")
		r.want(t, 200, "js")
		r.wantField(t, "Server", "fserve")
		r.wantField(t, "Cache-Control", "public, max-age=31536000, immutable")
		r.wantField(t, "Content-Disposition", "")
		c.get("/f.txt").wantField(t, "Cache-Control", "")
		r = c.get("/f.txt?download")
		r.want(t, 200, hello)
		if got := r.get("Content-Disposition"); !strings.HasPrefix(got, "attachment") || !strings.Contains(got, "f.txt") {
			t.Errorf("Content-Disposition %q", got)
		}
	})
}
