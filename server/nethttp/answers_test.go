package nethttp_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fserve/fserve/server"
)

// What is answered without files, and what is tried, is the same here.
func TestAnswersWithoutFiles(t *testing.T) {
	root := site(t, map[string]string{"index.html": "app", "f.txt": "file"})
	h := handler(t, server.Config{Site: server.Site{Root: root}, Locations: []server.Location{
		{Match: "/app/", Site: server.Site{Root: root, Try: []string{"$uri", "/index.html"}}},
		{Match: "/out/", Site: server.Site{Redirect: server.Redirect{To: "{scheme}://x.example{uri}"}}},
		{Match: "/in/", Site: server.Site{Redirect: server.Redirect{To: "/new{uri}", Status: 308}}},
		{Match: "= /health", Site: server.Site{Respond: server.Respond{Body: "ok"}}},
		{Match: "/spa/", Site: server.Site{Root: root, ErrorPages: map[int]server.Page{404: {Path: "/index.html", Status: 200}}}},
	}})
	get := func(target, accept string, secure bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/p"+target, http.NoBody)
		if secure {
			r.TLS = &tls.ConnectionState{}
		}
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		http.StripPrefix("/p", h).ServeHTTP(w, r)
		return w
	}
	for target, want := range map[string]string{"/app/x": "app", "/health": "ok", "/spa/x": "app", "/f.txt": "file"} {
		if w := get(target, "*/*", false); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, w.Body, want)
		}
	}
	for _, c := range []struct {
		target string
		secure bool
		status int
		want   string
	}{
		{"/out/a?q", false, 302, "http://x.example/out/a?q"}, {"/out/a", true, 302, "https://x.example/out/a"},
		{"/in/a%20b", false, 308, "/p/new/in/a%20b"}, // below what StripPrefix has taken
	} {
		if w := get(c.target, "*/*", c.secure); w.Code != c.status || w.Header().Get("Location") != c.want {
			t.Errorf("%s: %d to %q, want %q", c.target, w.Code, w.Header().Get("Location"), c.want)
		}
	}
	if w := get("/none", "text/html,*/*;q=0.8", false); w.Code != 404 || !strings.Contains(w.Body.String(), "<h1>404</h1>") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := get("/none", "*/*", false); w.Code != 404 || w.Body.String() != "404 Not Found\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
