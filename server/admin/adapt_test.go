package admin_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/fserve/fserve/engine/adapt"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/alerts"
)

// startAdapted is start with rates that are found for clients and for /a/, and a profile.
func startAdapted(t *testing.T) (*rig, *alerts.Switch) {
	t.Helper()
	p, err := adapt.NewPolicy(adapt.Config{Min: 1 << 20, Max: 50 << 20, SampleEvery: measure.SampleEvery})
	if err != nil {
		t.Fatal(err)
	}
	var g *rig
	profiles := alerts.NewSwitch(func(c shape.Caps, _ []string) error {
		_, err := g.srv.Engine().Limits().SetCaps(c)
		return err
	}, slog.New(slog.DiscardHandler))
	t.Cleanup(profiles.Close)
	g = start(t, func(sc *server.Config, ac *admin.Config) {
		sc.Engine.Limits = &shape.Config{Paths: []shape.PathLimit{{Prefix: "/a/"}}}
		sc.Engine.Adapt = &measure.Config{Client: p, Paths: map[string]*adapt.Policy{"/a/": p}}
		ac.Alerts = profiles
	})
	profiles.SetProfiles([]alerts.Profile{{Name: "degraded", Match: map[string]string{"alertname": "Slow"}, Caps: shape.Caps{Global: 1000}, Forget: time.Hour}})
	return g, profiles
}

// answerOf is the answer to a change.
type answerOf struct {
	Was, Is struct {
		Target  int64 `json:"target_bps"`
		Floor   int64 `json:"floor_bps"`
		Ceiling int64 `json:"ceiling_bps"`
	}
	Limit *struct {
		Is *struct{ Rate string }
	}
}

func TestSteer(t *testing.T) {
	g, _ := startAdapted(t)
	for _, c := range []struct {
		method, path, body             string
		target, floor, ceiling, before int64
	}{
		{"POST", "/config", `{"client_id":"u","target_bps":5242880}`, 5 << 20, 1 << 20, 50 << 20, 1 << 20},
		{"POST", "/config", `{"client_id":"u","ceiling_bps":3145728}`, 3 << 20, 1 << 20, 3 << 20, 5 << 20},
		{"POST", "/config", `{"client_id":"u","target_bps":9999999999}`, 3 << 20, 1 << 20, 3 << 20, 3 << 20},
		{"PUT", "/limits/client/u", `{"floor":"2MiB/s","ceiling":"20MiB/s","target":"10MiB/s"}`, 10 << 20, 2 << 20, 20 << 20, 3 << 20},
		{"PUT", "/limits/path/a/", `{"ceiling":"2MiB/s"}`, 1 << 20, 1 << 20, 2 << 20, 1 << 20},
		{"PUT", "/limits/client/u", `{"target":"4MiB/s","rate":"8MiB/s"}`, 4 << 20, 2 << 20, 20 << 20, 10 << 20},
	} {
		a := decode[answerOf](t, g.want(http.StatusOK, g.do(c.method, c.path, c.body)))
		if a.Is.Target != c.target || a.Is.Floor != c.floor || a.Is.Ceiling != c.ceiling || a.Was.Target != c.before {
			t.Errorf("%s %s: %+v", c.path, c.body, a)
		}
	}
	if l, own := g.srv.Engine().Limits().ClientLimit("u"); !own || l.Rate != 8<<20 {
		t.Errorf("limit of u: %v", l)
	}
	if !strings.Contains(g.logs.String(), "adaptation steered") {
		t.Error("not logged")
	}
	// 0 pauses; a target lets the client go on.
	g.want(http.StatusOK, g.do("POST", "/config", `{"client_id":"p","target_bps":0}`))
	if l, _ := g.srv.Engine().Limits().ClientLimit("p"); l.Rate != shape.Paused {
		t.Errorf("not paused: %v", l)
	}
	g.want(http.StatusOK, g.do("POST", "/config", `{"client_id":"p","target_bps":2000000}`))
	if l, own := g.srv.Engine().Limits().ClientLimit("p"); own {
		t.Errorf("still %v", l)
	}
}

// What is wrong changes nothing and says which field it is.
func TestSteerRefuses(t *testing.T) {
	g, _ := startAdapted(t)
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/config", `{"client_id":"u"}`, "target_bps"},
		{"POST", "/config", `{"target_bps":5}`, "client_id"},
		{"POST", "/config", `{"client_id":"","target_bps":5}`, "client_id"},
		{"POST", "/config", `{"client_id":"u","target_bps":-1}`, "target_bps"},
		{"POST", "/config", `{"client_id":"u","target_bps":1.5}`, "target_bps"},
		{"POST", "/config", `{"client_id":"u","floor_bps":0}`, "floor_bps"},
		{"POST", "/config", `{"client_id":"u","target_bps":0,"floor_bps":5}`, "target_bps"},
		{"POST", "/config", `{"client_id":"u","ceiling_bps":99999999999999}`, "ceiling_bps"},
		{"POST", "/config", `{"client_id":"u","floor_bps":60000000}`, ""},
		{"PUT", "/limits/client/u", `{"target":"0"}`, "target"},
		{"PUT", "/limits/client/u", `{"floor":"unlimited"}`, "floor"},
		{"PUT", "/limits/client/u", `{"floor":5}`, "floor"},
		{"PUT", "/limits/client/u", `{"floor":"2MiB/s","burst":"1MiB"}`, "rate"},
		{"PUT", "/limits/global", `{"target":"2MiB/s"}`, "target"},
	} {
		g.wantProblem(http.StatusBadRequest, c.field, g.do(c.method, c.path, c.body))
	}
	g.wantProblem(http.StatusConflict, "", g.do("PUT", "/limits/path/none/", `{"target":"2MiB/s"}`))
	if s, ok := g.srv.Engine().Adaptation().Client("u"); ok && (s.Target != 1<<20 || s.Min != 1<<20 || s.Max != 50<<20) {
		t.Errorf("changed: %+v", s)
	}
	plain := start(t, nil)
	plain.wantProblem(http.StatusConflict, "", plain.do("PUT", "/limits/client/u", `{"target":"2MiB/s"}`))
	plain.wantProblem(http.StatusConflict, "", plain.do("GET", "/adapt", ""))
	plain.wantProblem(http.StatusConflict, "", plain.do("POST", "/alerts", "{}"))
}

func TestPostAlerts(t *testing.T) {
	g, profiles := startAdapted(t)
	post := func(status, end string) reply {
		return g.do("POST", "/alerts", `{"version":"4","alerts":[{"status":"`+status+`","labels":{"alertname":"Slow"},"startsAt":"2026-01-02T03:04:05Z","endsAt":"`+end+`"}]}`)
	}
	caps := func() shape.Rate { return g.srv.Engine().Limits().Caps().Global }
	for range 2 {
		g.want(http.StatusOK, post("firing", "0001-01-01T00:00:00Z"))
		if caps() != 1000 {
			t.Errorf("not in force: %v", caps())
		}
	}
	for _, body := range []string{"", "{", `{"version":"4"}`, `{"version":"4","alerts":[{}]}`, `{"alerts":[]}`} {
		g.wantProblem(http.StatusBadRequest, "", g.do("POST", "/alerts", body))
	}
	g.wantProblem(http.StatusRequestEntityTooLarge, "", g.do("POST", "/alerts", strings.Repeat(" ", alerts.MaxBody+1)))
	if caps() != 1000 || g.samples()[`fserve_profile_active{profile="degraded"}`] != 1 {
		t.Errorf("what is malformed has changed something: %v", caps())
	}
	g.want(http.StatusOK, post("resolved", "2026-01-02T04:04:05Z"))
	g.want(http.StatusOK, post("firing", "0001-01-01T00:00:00Z")) // too late
	if s := profiles.State(); caps() != 0 || s.Stale != 2 || s.Ended != 1 {
		t.Errorf("%v, %+v", caps(), s.SwitchStats)
	}
}

func TestAdaptMetricsPassLint(t *testing.T) {
	g, _ := startAdapted(t)
	for _, c := range []string{"u", "v\u00e9"} {
		g.want(http.StatusOK, g.do("POST", "/config", `{"client_id":"`+c+`","target_bps":5242880}`))
	}
	r := g.want(http.StatusOK, g.do("GET", "/metrics", ""))
	problems, err := promlint.New(strings.NewReader(r.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if got := g.samples()[`fserve_adapt_target_bytes_per_second{level="client",name="u"}`]; got != 1<<20 && got != 5<<20 {
		t.Errorf("target %v", got)
	}
}
