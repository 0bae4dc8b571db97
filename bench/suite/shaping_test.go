package suite

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fserve/fserve/bench/peer"
)

func TestExpand(t *testing.T) {
	all := expand([]string{"1k", ShapeGroup})
	if len(all) < 10 || all[0] != "1k" || !slices.Contains(all, "shape-10k") {
		t.Errorf("%v", all)
	}
	for _, name := range all[1:] {
		if !strings.HasPrefix(name, "shape-") {
			t.Errorf("%s is no case of shaping", name)
		}
	}
	for _, name := range Usual() {
		if strings.HasPrefix(name, "shape-") {
			t.Errorf("%s is measured although nobody asked for it", name)
		}
	}
}

// Servers take part where they have such a limit.
func TestShapingExcluded(t *testing.T) {
	for name, withNginx := range map[string]bool{"shape-one": true, "shape-10k": true, "shape-global": false, "shape-client": false} {
		sel, err := selectCases([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		c := sel[0]
		if out := c.excluded(peer.Nginx) != ""; out == withNginx || c.excluded(peer.Fserve) != "" || c.excluded(peer.Floor) == "" {
			t.Errorf("%s: nginx is left out: %v", name, out)
		}
	}
}

func TestPutRate(t *testing.T) {
	var got, method, path string
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Rate string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		got, method, path = body.Rate, r.Method, r.URL.Path
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "no such rate")
	}))
	defer srv.Close()
	s := &peer.Server{Admin: srv.Listener.Addr().String()}
	if _, err := putRate(t.Context(), s, "5MiB/s"); err != nil || got != "5MiB/s" || method != http.MethodPut || path != "/limits/global" {
		t.Errorf("%s %s %q, error %v", method, path, got, err)
	}
	status = http.StatusBadRequest
	if _, err := putRate(t.Context(), s, "5"); err == nil || !strings.Contains(err.Error(), "no such rate") {
		t.Errorf("error %v", err)
	}
}
