package http2_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// A host that is bound to the listener answers there, and says what its encrypted answers say.
func TestBoundHosts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("bound"), 0o644); err != nil {
		t.Fatal(err)
	}
	here := server.Host{Names: []string{"here.example"}, Listen: []string{"127.0.0.1:0"}, Site: server.Site{Root: dir, HSTS: "max-age=60"}}
	g := start(t, engine.DriverFallback, server.Config{Hosts: []server.Host{here}})
	g.write("f", []byte("other"))
	c := g.client(true)
	for host, want := range map[string]string{"here.example": "bound", "there.example": "other"} {
		r, err := http.NewRequest(http.MethodGet, "https://"+g.addr+"/f", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if sts := resp.Header.Get("Strict-Transport-Security"); err != nil || resp.ProtoMajor != 2 || string(body) != want || (sts == "max-age=60") != (want == "bound") {
			t.Errorf("%s: %q over %s with %q, %v", host, body, resp.Proto, sts, err)
		}
	}
}
