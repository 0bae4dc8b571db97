package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// A root is what is at its path, not what was there at the start; while nothing
// is there, what was open is served on. Each is logged once.
func TestRootIsFollowed(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		one, two := dirWith(t, "f", "one", "big", strings.Repeat("1", 20_000)), dirWith(t, "f", "two", "big", strings.Repeat("2", 20_000))
		current := filepath.Join(t.TempDir(), "current")
		to := func(dir string) {
			t.Helper()
			if err := errors.Join(os.Symlink(dir, current+".new"), os.Rename(current+".new", current)); err != nil {
				t.Fatal(err)
			}
		}
		to(one)
		g := start(t, d, server.Config{Site: site(current)})
		c := g.dial()
		eventually := func(target, want string) {
			t.Helper()
			if !testenv.Eventually(patience, func() bool { r := c.get(target); return r.status == 200 && string(r.body) == want }) {
				t.Errorf("%s is not what it should be", target)
			}
		}
		logged := func(message string, n int) {
			t.Helper()
			if !testenv.Eventually(patience, func() bool { return g.logs.count(message) >= n }) || g.logs.count(message) > n {
				t.Errorf("%q was logged %d times, want %d", message, g.logs.count(message), n)
			}
		}
		eventually("/f", "one")
		eventually("/big", strings.Repeat("1", 20_000))
		to(two)
		eventually("/f", "two")
		eventually("/big", strings.Repeat("2", 20_000))
		logged("root replaced: another directory is at its path", 1)
		if err := os.Remove(current); err != nil {
			t.Fatal(err)
		}
		logged("root lost: what was open is served on", 1)
		c.get("/f").want(t, 200, "two")
		to(two)
		logged("root found again", 1)
		to(one)
		mustSwap(t, g.srv, server.Config{Site: site(current)}) // looks at once
		eventually("/f", "one")
	})
}

// The same of a handler for other servers, whose root is made anew.
func TestRootOfHandlerIsFollowed(t *testing.T) {
	testenv.LeakCheck(t)
	root := filepath.Join(t.TempDir(), "root")
	writeFile(t, filepath.Join(root, "f"), []byte("old"))
	h, err := nethttp.New(server.Config{Site: site(root)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "f"), []byte("new"))
	if !testenv.Eventually(patience, func() bool {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/f", nil))
		return w.Body.String() == "new"
	}) {
		t.Error("the directory that was made anew is not served")
	}
}
