package admin_test

import (
	"net/http"
	"strings"
	"testing"
)

// An operator opens the breaker for a time, and ends that.
func TestBreaker(t *testing.T) {
	g := start(t, nil)
	g.file("f", 10)
	c := g.client()
	state := func() string {
		return decode[struct{ State string }](t, g.want(200, g.do("GET", "/breaker", ""))).State
	}
	if err := g.get(c, "/f"); err != nil || state() != "closed" {
		t.Fatalf("%s, %v", state(), err)
	}
	open := decode[struct {
		State, Why, TTL string
		Tiers           int
		TiersRefused    int `json:"tiers_refused"`
		Forced          bool
	}](t, g.want(200, g.do("PUT", "/breaker", `{"state":"open","ttl":"10m"}`)))
	if open.State != "open" || !open.Forced || open.TTL != "10m0s" || open.Tiers != 1 || open.TiersRefused != 1 || open.Why != "an order" {
		t.Errorf("%+v", open)
	}
	if err := g.get(c, "/f"); err == nil {
		t.Error("a request is answered")
	}
	m := g.do("GET", "/metrics", "").body
	for _, line := range []string{`fserve_breaker_state{state="open"} 1`, `fserve_breaker_state{state="closed"} 0`, "fserve_breaker_refused_total 1", "fserve_breaker_tiers_refused 1"} {
		if !strings.Contains(m, line) {
			t.Errorf("no %s", line)
		}
	}
	g.want(200, g.do("PUT", "/breaker", `{"state":"auto"}`))
	if err := g.get(c, "/f"); err != nil || state() != "closed" {
		t.Errorf("%s, %v", state(), err)
	}
	if !strings.Contains(g.logs.String(), `msg="breaker ordered" who=127.0.0.1`) {
		t.Errorf("nobody is told: %s", g.logs)
	}
	for body, field := range map[string]string{
		`{"state":"ajar"}`: "state", `{}`: "state", `{"state":1}`: "state", `{"state":"open","ttl":"soon"}`: "ttl", `{"state":"auto","ttl":"1m"}`: "ttl", `{"tiers":1}`: "tiers",
	} {
		g.wantProblem(http.StatusBadRequest, field, g.do("PUT", "/breaker", body))
	}
}
