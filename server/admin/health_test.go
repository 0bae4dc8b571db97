package admin_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/config"
)

func TestReadiness(t *testing.T) {
	g := start(t, nil)
	g.want(http.StatusOK, g.do("GET", "/readyz", ""))
	if err := os.RemoveAll(g.root); err != nil {
		t.Fatal(err)
	}
	g.wantProblem(http.StatusServiceUnavailable, "", g.do("GET", "/readyz", ""))
	g.want(http.StatusOK, g.do("GET", "/livez", ""))
}

// A drain that is asked for makes the server unready at once, and is passed on.
func TestDrain(t *testing.T) {
	var asked atomic.Int32
	g := start(t, func(_ *server.Config, c *admin.Config) { c.Drain = func() { asked.Add(1) } })
	g.want(http.StatusAccepted, g.do("POST", "/-/drain", ""))
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	g.wantProblem(http.StatusServiceUnavailable, "", g.do("GET", "/readyz", ""))
	g.want(http.StatusOK, g.do("GET", "/livez", ""))
	if g.samples()["fserve_draining"] != 1 {
		t.Error("the metrics do not tell")
	}
	if !strings.Contains(g.logs.String(), `msg="drain requested" who=127.0.0.1:`) {
		t.Errorf("the log:\n%s", g.logs)
	}
}

// When the server has ended, what it counted is still told.
func TestAfterTheEnd(t *testing.T) {
	g := start(t, nil)
	g.file("f", 1000)
	if err := g.get(g.client(), "/f"); err != nil {
		t.Fatal(err)
	}
	if err := g.srv.Close(); err != nil {
		t.Fatal(err)
	}
	g.wantProblem(http.StatusServiceUnavailable, "", g.do("GET", "/readyz", ""))
	if n := g.samples()[`fserve_requests_total{code="2xx",host="default"}`]; n != 1 {
		t.Errorf("%v requests are told, want 1", n)
	}
	g.want(http.StatusOK, g.do("GET", "/limits", ""))
	g.want(http.StatusOK, g.do("GET", "/connections", ""))
}

// A reload tells what changes; a bad file changes nothing, and shows.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fserve.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("root: "+dir+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	flags := &config.Flags{}
	r, err := config.Start(&config.Sources{Flags: flags, Environ: []string{"FSERVE_CONFIG=" + file}}, config.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, func(_ *server.Config, c *admin.Config) { c.Reloader = r })
	write("limits:\n  client: 10MiB/s\nworkers: 7\n")
	type reloaded struct {
		Changes []struct {
			Path, Was, Is string
			Restart       bool `json:"needs_restart"`
		}
	}
	v := decode[reloaded](t, g.want(http.StatusOK, g.do("POST", "/-/reload", "")))
	found := make(map[string]bool)
	for _, c := range v.Changes {
		found[c.Path] = c.Restart
	}
	if restart, ok := found["workers"]; !ok || !restart {
		t.Errorf("%+v", v)
	}
	if restart, ok := found["limits.client"]; !ok || restart {
		t.Errorf("%+v", v)
	}
	m := g.samples()
	if m["fserve_config_last_reload_successful"] != 1 || m[`fserve_config_reloads_total{result="success"}`] != 1 || m["fserve_config_pending_changes"] != 1 ||
		time.Since(time.Unix(int64(m["fserve_config_last_reload_timestamp_seconds"]), 0)) > time.Hour {
		t.Error("the metrics do not tell of the reload")
	}
	write("limits:\n  client: 10\n")
	p := g.wantProblem(http.StatusUnprocessableEntity, "", g.do("POST", "/-/reload", ""))
	if !strings.Contains(p.Detail, "unit") {
		t.Errorf("the reason is not told: %+v", p)
	}
	m = g.samples()
	if m["fserve_config_last_reload_successful"] != 0 || m[`fserve_config_reloads_total{result="failure"}`] != 1 {
		t.Error("the metrics do not tell of the failure")
	}
}

type conns struct {
	Open        int
	Connections []struct {
		ID, Peer string
		Age      float64 `json:"age_seconds"`
		Requests int
		Response *struct {
			File, State string
			Seconds     float64
			Sent        int64              `json:"sent_bytes"`
			Left        int64              `json:"left_bytes"`
			Held        map[string]float64 `json:"held_seconds"`
		}
	}
}

// The connections that are slowest to move show with what they do.
func TestConnections(t *testing.T) {
	const size = 64 << 20
	g := start(t, nil)
	g.file("paused/f", size)
	g.file("small", 1000)
	g.change("PUT", "/limits/path/paused/", `{"rate":"0"}`)
	idle := g.client()
	if err := g.get(idle, "/small"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	c := g.client()
	go func() { done <- g.get(c, "/paused/f") }()
	var v conns
	look := func(query string) conns {
		return decode[conns](t, g.want(http.StatusOK, g.do("GET", "/connections"+query, "")))
	}
	if !testenv.Eventually(patience, func() bool {
		v = look("?by=wait")
		if len(v.Connections) != 2 || v.Connections[0].Response == nil {
			return false
		}
		// It may be seen before its first turn, and ages are told in ms.
		return v.Connections[0].Response.State == "limited" && v.Connections[1].Age > 0
	}) {
		t.Fatalf("%+v", v)
	}
	if r := v.Connections[0].Response; r.File != "/paused/f" || r.State != "limited" || r.Sent+r.Left < size {
		t.Errorf("%+v", *r)
	}
	if r := v.Connections[1]; r.Response != nil || r.Requests != 1 || r.Age <= 0 || !strings.HasPrefix(r.Peer, "127.0.0.1:") || r.ID == "" {
		t.Errorf("%+v", r)
	}
	// The loops are asked one after the other: a pause in between counts for one of them.
	if !testenv.Eventually(patience, func() bool { return look("?by=age").Connections[0].ID == v.Connections[1].ID }) {
		t.Errorf("the oldest connection is not first: %+v", look("?by=age"))
	}
	if one := look("?n=1&by=wait"); len(one.Connections) != 1 || one.Open != 2 || one.Connections[0].ID != v.Connections[0].ID {
		t.Errorf("%+v", one)
	}
	if none := look("?n=0"); len(none.Connections) != 0 || none.Open != 2 {
		t.Errorf("%+v", none)
	}
	if !testenv.Eventually(patience, func() bool { return look("?by=wait").Connections[0].Response.Held["now"] > 0 }) {
		t.Error("it does not show for how long the download is held")
	}
	g.change("DELETE", "/limits/path/paused/", "")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
