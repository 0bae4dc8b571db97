package admin_test

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

// samples returns the values of a scrape by name and labels.
func (g *rig) samples() map[string]float64 {
	g.t.Helper()
	r := g.want(http.StatusOK, g.do("GET", "/metrics", ""))
	m := make(map[string]float64)
	for s := bufio.NewScanner(strings.NewReader(r.body)); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		i := strings.LastIndexByte(s.Text(), ' ')
		v, err := strconv.ParseFloat(s.Text()[i+1:], 64)
		if err != nil {
			g.t.Fatalf("%q: %v", s.Text(), err)
		}
		if _, twice := m[s.Text()[:i]]; twice {
			g.t.Errorf("%q is there twice", s.Text()[:i])
		}
		m[s.Text()[:i]] = v
	}
	return m
}

// The metrics keep to the rules that Prometheus has for names, units and help.
func TestMetricsPassLint(t *testing.T) {
	g := start(t, nil)
	r := g.want(http.StatusOK, g.do("GET", "/metrics", ""))
	problems, err := promlint.New(strings.NewReader(r.body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What was served shows in the counters.
func TestMetricsCount(t *testing.T) {
	g := start(t, func(sc *server.Config, _ *admin.Config) { sc.Engine.Loops = 1 })
	g.file("small", 1000)
	g.file("large", 3<<20)
	c := g.client()
	for range 9 {
		if err := g.get(c, "/small"); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.get(c, "/large"); err != nil {
		t.Fatal(err)
	}
	if err := g.get(c, "/missing"); err == nil {
		t.Fatal("a file that is not there was served")
	}
	// The last byte may be with the client before the loop has counted it.
	if !testenv.Eventually(patience, func() bool { return g.samples()[`fserve_responses_total{outcome="complete"}`] == 11 }) {
		t.Error("the responses do not end")
	}
	m := g.samples()
	for name, want := range map[string]float64{
		`fserve_requests_total{code="2xx",host="default"}`:             10,
		`fserve_requests_total{code="4xx",host="default"}`:             1,
		`fserve_requests_total{code="5xx",host="default"}`:             0,
		`fserve_responses_total{outcome="aborted"}`:                    0,
		`fserve_connections_accepted_total`:                            1,
		`fserve_connections{state="idle"}`:                             1,
		`fserve_connections{state="active"}`:                           0,
		`fserve_connection_reuses_total`:                               10,
		`fserve_connection_reuse_ratio`:                                10. / 11,
		`fserve_transfers_active`:                                      0,
		`fserve_transfers_waiting`:                                     0,
		`fserve_first_byte_seconds_count`:                              11,
		`fserve_response_seconds_count`:                                11,
		`fserve_first_byte_seconds_bucket{le="+Inf"}`:                  11,
		`fserve_open_file_cache_descriptors`:                           2,
		`fserve_driver_info{driver="fallback",reason="as configured"}`: 1,
		`fserve_draining`:                                              0,
		`fserve_loop_connections{loop="0"}`:                            1,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want)
		}
	}
	sent := 0.
	for _, way := range []string{"memory", "sendfile", "splice"} {
		sent += m["fserve_sent_bytes_total{way="+strconv.Quote(way)+"}"]
	}
	if body := float64(9*1000 + 3<<20); sent < body || sent > body+11*1000 {
		t.Errorf("%v bytes sent, for bodies of %v", sent, body)
	}
}

// Limits show by level, and clients by name: what is configured, what is not
// UTF-8, and one that is called like the rest.
func TestLimitMetrics(t *testing.T) {
	g := start(t, nil)
	g.file("f", 4<<20)
	for _, r := range [][2]string{
		{"/limits/global", `{"rate":"100MiB/s"}`}, {"/limits/path/p/", `{"rate":"0"}`}, {"/limits/client", `{"rate":"50MiB/s"}`},
		{"/limits/client/idle", `{"rate":"1MiB/s"}`}, {"/limits/client/other", `{"rate":"1MiB/s"}`},
	} {
		g.change("PUT", r[0], r[1])
	}
	if _, _, err := g.srv.Engine().Limits().SetClient("\xff\xfe", shape.Limit{Rate: 1}, sys.Nanotime()+1e12); err != nil {
		t.Fatal(err)
	}
	if err := g.get(g.client(), "/f"); err != nil {
		t.Fatal(err)
	}
	m := g.samples()
	for name, want := range map[string]float64{
		`fserve_limit_bytes_per_second{level="global",name=""}`:  100 << 20,
		`fserve_limit_bytes_per_second{level="client",name=""}`:  50 << 20,
		`fserve_limit_bytes_per_second{level="path",name="/p/"}`: 0,
		`fserve_limit_client_overrides`:                          3,
		`fserve_limit_clients`:                                   1,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want)
		}
	}
	if _, ok := m[`fserve_limit_bytes_per_second{level="connection",name=""}`]; ok {
		t.Error("what is unlimited has a limit")
	}
	for _, name := range []string{
		`fserve_granted_bytes_total`, `fserve_limited_bytes_total{level="global"}`, `fserve_limited_bytes_total{level="client"}`,
	} {
		if m[name] < 4<<20 {
			t.Errorf("%s is %v, below the size of the file", name, m[name])
		}
	}
	if m[`fserve_throttle_seconds_total{level="client"}`]+m[`fserve_throttle_seconds_total{level="global"}`] <= 0 {
		t.Error("nothing was held by a limit below the size of the file")
	}
	for _, client := range []string{"127.0.0.1", "other"} {
		if _, ok := m[`download_bandwidth_bytes_per_second{client_id="`+client+`"}`]; !ok {
			t.Errorf("client %s has no series", client)
		}
	}
}
