package server_test

import (
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
