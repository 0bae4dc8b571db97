package server_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// has reports whether a record has a message and all parts in its fields.
func (l *logs) has(message string, parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		text := ""
		r.Attrs(func(a slog.Attr) bool { text += a.String() + " "; return true })
		if r.Message == message && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
			return true
		}
	}
	return false
}

// What an operator would want to know of a request that fails is logged, once for each
// path, with the client and the reason; that a name is not there is not.
func TestFaultsAreLogged(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		outside := filepath.Join(t.TempDir(), "secret")
		writeFile(t, outside, []byte("x"))
		g.write("dir/f", "x")
		for name, make := range map[string]func(path string) error{
			"fifo": func(p string) error { return unix.Mkfifo(p, 0o600) },
			"out":  func(p string) error { return os.Symlink("../../../../../../../.."+outside, p) },
			"loop": func(p string) error { return os.Symlink("loop", p) },
		} {
			if err := make(filepath.Join(g.root, name)); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]string{
			"/fifo": "not a regular file status=404", "/out": "a symbolic link leaves the root status=404",
			"/loop": "too many symbolic links status=403",
			"/dir/": "a directory without an index file, and listings are off status=403",
		}
		c := g.dial()
		for path := range want {
			for range 3 {
				c.get(path)
			}
		}
		for _, path := range []string{"/none", "/.hidden", "/dir/f/x", "/dir/f"} {
			c.get(path)
		}
		for path, reason := range want {
			if !testenv.Eventually(patience, func() bool { return g.logs.has("request failed", "path="+path+" ", reason, "client=127.0.0.1 ") }) {
				t.Errorf("%s: not logged", path)
			}
		}
		if n := g.logs.count("request failed"); n != len(want) {
			t.Errorf("%d lines, want %d", n, len(want))
		}
	})
}

// So it is where another server's goroutines ask.
func TestFaultsOfHandlersAreLogged(t *testing.T) {
	l := &logs{}
	cfg := server.Config{Site: server.Site{Root: t.TempDir()}, Log: slog.New(l)}
	if err := unix.Mkfifo(filepath.Join(cfg.Root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := server.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, path := range []string{"/fifo", "/fifo", "/none"} {
		q := &server.Query{Target: path, Client: netip.MustParseAddr("192.0.2.1")}
		q.Method = httpfile.MethodGet
		a := h.Answer(q)
		if a.Status() != 404 || a.Close() != nil {
			t.Errorf("%s: %d", path, a.Status())
		}
	}
	if !testenv.Eventually(patience, func() bool { return l.has("request failed", "path=/fifo ", "client=192.0.2.1 ") }) || l.count("request failed") != 1 {
		t.Errorf("%d lines", l.count("request failed"))
	}
}

// What an answer goes on without is logged, if it is there: sidecars and pages of failures that cannot
// be read.
func TestUnusedFilesAreLogged(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	writeFile(t, outside, []byte("secret"))
	up := strings.Repeat("../", 20)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		for _, name := range []string{"a.js", "b.js", "b.js.br/f", "pages/403.html", "pages/404.html", "dir/f"} {
			writeFile(t, filepath.Join(root, name), []byte("here"))
		}
		g := start(t, d, server.Config{Site: server.Site{Root: root, Precompressed: true, ErrorPages: map[int]server.Page{
			403: {Path: "/pages/403.html"}, 404: {Path: "/pages/404.html"},
		}}})
		for _, name := range []string{"403.html", "404.html"} { // they were there when it started
			if err := os.Remove(filepath.Join(root, "pages", name)); err != nil {
				t.Fatal(err)
			}
		}
		for name, make := range map[string]func(path string) error{
			"a.js.gz":        func(p string) error { return unix.Mkfifo(p, 0o600) },
			"a.js.br":        func(p string) error { return os.Symlink(up+outside, p) },
			"pages/404.html": func(p string) error { return os.Symlink("404.html", p) },
		} {
			if err := make(filepath.Join(g.root, name)); err != nil {
				t.Fatal(err)
			}
		}
		c := g.dial()
		for range 3 {
			c.get("/a.js", "Accept-Encoding: br, gzip").want(t, 200, "here")
			c.get("/b.js", "Accept-Encoding: br, gzip").want(t, 200, "here") // there are none, one is a directory
			c.get("/nothing").want(t, 404)
			c.get("/dir/").want(t, 403) // its page is gone
		}
		want := map[string]string{
			"/a.js.gz": "not a regular file", "/a.js.br": "a symbolic link leaves the root", "/pages/404.html": "too many symbolic links",
		}
		for path, reason := range want {
			if !testenv.Eventually(patience, func() bool {
				return g.logs.has("file not used", "path="+path+" ", "reason="+reason+" ", "client=127.0.0.1 ")
			}) {
				t.Errorf("%s: not logged", path)
			}
		}
		if n := g.logs.count("file not used"); n != len(want) {
			t.Errorf("%d lines, want %d", n, len(want))
		}
	})
	l := &logs{} // and where another server's goroutines ask
	cfg := server.Config{Site: server.Site{Root: t.TempDir(), ErrorPages: map[int]server.Page{404: {Path: "/page"}}}, Log: slog.New(l)}
	page := filepath.Join(cfg.Root, "page")
	writeFile(t, page, nil)
	h, err := server.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := errors.Join(os.Remove(page), unix.Mkfifo(page, 0o600)); err != nil {
		t.Fatal(err)
	}
	q := &server.Query{Target: "/none", Client: netip.MustParseAddr("192.0.2.1")}
	q.Method = httpfile.MethodGet
	if a := h.Answer(q); a.Status() != 404 || a.Close() != nil {
		t.Errorf("status %d", a.Status())
	}
	if !testenv.Eventually(patience, func() bool { return l.has("file not used", "path=/page ", "client=192.0.2.1 ") }) {
		t.Error("not logged")
	}
}
