package suite

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fserve/fserve/bench/peer"
)

func TestGroups(t *testing.T) {
	sel, err := selectCases([]string{"1k", ShapeGroup})
	if err != nil || len(sel) < 10 || sel[0].name != "1k" {
		t.Fatalf("%d cases, error %v", len(sel), err)
	}
	for _, c := range sel[1:] {
		if !strings.HasPrefix(c.name, "shape-") {
			t.Errorf("%s is no case of shaping", c.name)
		}
	}
	for _, name := range Usual() {
		if strings.HasPrefix(name, "shape-") {
			t.Errorf("%s is measured although nobody asked for it", name)
		}
	}
	if sel, err := selectCases([]string{BuildsGroup, "1k"}); err != nil || len(sel) != 7 || sel[6].name != "cold" {
		t.Errorf("%d cases, error %v", len(sel), err)
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
