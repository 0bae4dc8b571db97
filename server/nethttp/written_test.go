package nethttp_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/server"
)

// A file that somebody writes is waited for, or refused; one that grows is served.
func TestBeingWritten(t *testing.T) {
	half := strings.Repeat("x", 20_000)
	begin := func(name string) (root string, f *os.File) {
		root = t.TempDir()
		f, err := os.Create(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString(half); err != nil {
			t.Fatal(err)
		}
		return root, f
	}
	get := func(h http.Handler, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	root, f := begin("f")
	refuses := handler(t, server.Config{Site: server.Site{Root: root, WriteWait: -1}})
	if w := get(refuses, "/f"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Skipf("status %d: no leases here", w.Code)
	}
	waits := handler(t, server.Config{Site: server.Site{Root: root, WriteWait: time.Minute}})
	got := make(chan *httptest.ResponseRecorder)
	go func() { got <- get(waits, "/f") }()
	select {
	case w := <-got:
		t.Fatalf("status %d, %d bytes of a file that is being written", w.Code, w.Body.Len())
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := f.WriteString(half); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if w := <-got; w.Code != 200 || w.Body.String() != half+half {
		t.Errorf("status %d, %d bytes when it is written", w.Code, w.Body.Len())
	}
	root, _ = begin("f.log")
	grows := handler(t, server.Config{Site: server.Site{Root: root, WriteWait: time.Minute, Growing: []string{"*.log"}}})
	if w := get(grows, "/f.log"); w.Code != 200 || w.Body.String() != half {
		t.Errorf("status %d, %d bytes of a file that grows", w.Code, w.Body.Len())
	}
}
