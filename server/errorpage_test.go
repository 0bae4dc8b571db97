package server_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

func TestErrorPages(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		big := strings.Repeat("precondition ", 100_000)
		writeFile(t, filepath.Join(root, ".pages", "404.html"), []byte("<p>nothing here"))
		writeFile(t, filepath.Join(root, "range.txt"), []byte("no such range"))
		writeFile(t, filepath.Join(root, "412"), []byte(big))
		writeFile(t, filepath.Join(root, "f.txt"), []byte(hello))
		writeFile(t, filepath.Join(root, "400.html"), []byte("bad"))
		g := start(t, d, server.Config{Site: server.Site{
			Root: root, ErrorPages: map[int]server.Page{
				400: {Path: "/400.html"}, 404: {Path: "/.pages/404.html"}, 412: {Path: "/412"}, 416: {Path: "/range.txt"}, 405: {Path: "/400.html"}, 403: {Path: "/400.html"},
			},
		}})
		c := g.dial()
		for range 3 {
			r := c.get("/nothing")
			r.want(t, 404, "<p>nothing here")
			r.wantField(t, "Content-Type", "text/html; charset=utf-8")
			r.wantField(t, "Cache-Control", "no-store")
			for _, field := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Range"} {
				r.wantField(t, field, "")
			}
			r = c.do(http.MethodHead, "/nothing")
			r.want(t, 404)
			r.wantField(t, "Content-Length", "15")
			// Neither a range nor a precondition is about the page.
			c.get("/nothing", "Range: bytes=0-1", "If-None-Match: *").want(t, 404, "<p>nothing here")
			c.get("/.pages/404.html").want(t, 404, "<p>nothing here") // hidden all the same
			r = c.get("/f.txt", "Range: bytes=100-")
			r.want(t, 416, "no such range")
			r.wantField(t, "Content-Range", "bytes */20")
			c.get("/f.txt", `If-Match: "x"`).want(t, 412, big)
			r = c.do(http.MethodPost, "/f.txt")
			r.want(t, 405, "bad")
			r.wantField(t, "Allow", "GET, HEAD, OPTIONS")
			c.get("/").want(t, 403, "bad")
			c.get("/%2e%2e/x").want(t, 400, "bad")
			c.get("/f.txt").want(t, 200, hello)
			c.get("/range.txt").want(t, 200, "no such range")
		}
		bad := g.dial()
		bad.send("GET / HTTP/1.1\r\nbad line\r\n\r\n")
		r := bad.read(http.MethodGet)
		r.want(t, 400, "bad")
		r.wantField(t, "Connection", "close")
		bad.wantEnd()
	})
}

// A page that has gone leaves the short text, and one that has come is seen. (On
// tmpfs the server has to wait to know that a name is not there.)
func TestErrorPageGoesAway(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := memoryDir(t)
		page := filepath.Join(root, "404.html")
		writeFile(t, page, []byte("one"))
		g := start(t, d, server.Config{Site: server.Site{Root: root, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}}}})
		c := g.dial()
		becomes := func(body string) {
			t.Helper()
			if !testenv.Eventually(patience, func() bool {
				r := c.get("/nothing")
				r.want(t, 404)
				return string(r.body) == body
			}) {
				t.Fatalf("the page has not become %q", body)
			}
		}
		becomes("one")
		if err := os.Remove(page); err != nil {
			t.Fatal(err)
		}
		becomes("404 Not Found\n")
		c.get("/404.html").want(t, 404, "404 Not Found\n")
		if err := os.Mkdir(page, 0o755); err != nil {
			t.Fatal(err)
		}
		c.get("/nothing").want(t, 404, "404 Not Found\n")
		next := filepath.Join(root, "next") // by rename: what is rewritten in place is cut off
		writeFile(t, next, []byte("back"))
		if err := errors.Join(unix.Rmdir(page), os.Rename(next, page)); err != nil {
			t.Fatal(err)
		}
		becomes("back")
	})
}

// Names below /proc/sys are never known without asking (their file system refuses
// RESOLVE_CACHED), so the page is opened off the loop while the request waits.
func TestErrorPageThatMustBeWaitedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const root = "/proc/sys/kernel"
		if _, err := os.Stat(root + "/ostype"); err != nil {
			t.Skip(err)
		}
		g := start(t, d, server.Config{Site: server.Site{
			Root: root, ErrorPages: map[int]server.Page{
				404: {Path: "/ostype"}, 405: {Path: "/ostype"}, 400: {Path: "/ostype"}, 431: {Path: "/ostype"}},
		}})
		c := g.dial()
		// The page's size is 0, as all files there have: that tells it from the text.
		c.send(request("GET", "/nothing") + request("HEAD", "/nothing") + request("PUT", "/x", "Content-Length: 3") + "abc" +
			request("GET", "/%2e%2e/x") + request("GET", "/nothing"))
		for _, want := range []struct {
			method string
			status int
		}{{"GET", 404}, {"HEAD", 404}, {"PUT", 405}, {"GET", 400}, {"GET", 404}} {
			r := c.read(want.method)
			r.want(t, want.status, "")
			r.wantField(t, "Content-Length", "0")
		}
		gone := g.dial()
		gone.send(request("GET", "/nothing"))
		if err := gone.conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		gone.conn.Close()
		g.wantOpen(1)
		// A request that could not be read does not wait: text or page, it is answered.
		bad := g.dial()
		bad.send("GET / HTTP/1.1\r\nbad line\r\n\r\n")
		bad.read(http.MethodGet).want(t, 400)
		bad.wantEnd()
	})
}

func TestErrorPagesAreChecked(t *testing.T) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "p.html"), []byte("page"))
	writeFile(t, filepath.Join(root, "dir", "x"), nil)
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, pages := range map[string]map[int]server.Page{
		"missing":        {404: {Path: "/nothing.html"}},
		"directory":      {404: {Path: "/dir"}},
		"slash":          {404: {Path: "/p.html/"}},
		"fifo":           {404: {Path: "/fifo"}},
		"relative":       {404: {Path: "p.html"}},
		"outside":        {404: {Path: "/../p.html"}},
		"root":           {404: {Path: "/"}},
		"empty":          {404: {Path: ""}},
		"no failure":     {200: {Path: "/p.html"}},
		"interim":        {100: {Path: "/p.html"}},
		"not a status":   {499: {Path: "/p.html"}},
		"beyond":         {600: {Path: "/p.html"}},
		"one of them":    {404: {Path: "/p.html"}, 403: {Path: "/nothing.html"}},
		"negative":       {-404: {Path: "/p.html"}},
		"not modified":   {304: {Path: "/p.html"}},
		"through a dir":  {404: {Path: "/p.html/p.html"}},
		"another status": {404: {Path: "/p.html", Status: 301}},
	} {
		srv, err := server.New(server.Config{Site: server.Site{Root: root, ErrorPages: pages}, Listen: []string{"127.0.0.1:0"},
			Engine: engine.Config{Driver: engine.DriverFallback, Loops: 1}})
		if err == nil {
			srv.Close()
		}
		if !errors.Is(err, server.ErrConfig) {
			t.Errorf("%s: %v, want an ErrConfig", name, err)
		}
	}
}
