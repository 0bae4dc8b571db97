package listing

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/fserve/fserve/engine/openfile"
)

// So many may wait as there are loops for, and who has exited makes room.
func TestGateIsBounded(t *testing.T) {
	g := NewGate(2, slog.Default())
	n := 0
	for g.Enter() {
		n++
	}
	if want := maxListings + 2*maxWaiting; n != want || g.Enter() {
		t.Fatalf("%d have entered, want %d", n, want)
	}
	g.Exit()
	if !g.Enter() || g.Enter() {
		t.Error("who exits makes room for other than one")
	}
}

// Listings that are made at once are each of what is there.
func TestGateMakes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", ".b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := openfile.OpenRoot(dir, openfile.SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	g, d := NewGate(1, slog.Default()), Directory{Root: root, Path: "/x/", Hidden: func(path []byte) bool { return string(path) == "/x/.b" }}
	view, _ := ParseView("")
	var all sync.WaitGroup
	for range 3 * maxListings {
		all.Go(func() {
			if p, e := g.Make(&d, view, true); e != 0 || len(p.Body) == 0 || p.Type != "application/json" {
				t.Errorf("%q of type %s, %v", p.Body, p.Type, e)
			}
		})
	}
	all.Wait()
	if view, ok := ParseView("page=2"); !ok {
		t.Error("there is no second page to ask for")
	} else if _, e := g.Make(&d, view, true); e != syscall.ENOENT {
		t.Errorf("a page that is not there: %v", e)
	}
	if _, e := g.Make(&Directory{Root: root, Below: "none/", Path: "/x/none/"}, view, true); e != syscall.ENOENT {
		t.Errorf("a directory that is not there: %v", e)
	}
}
