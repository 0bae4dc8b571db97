package admin_test

import (
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/alerts"
)

// limit is a limit as a client reads it.
type limit struct {
	Rate      string     `json:"rate"`
	Bytes     *int64     `json:"bytes_per_second"`
	Burst     string     `json:"burst"`
	Weight    int        `json:"weight"`
	Priority  int        `json:"priority"`
	Guarantee string     `json:"guarantee"`
	Client    string     `json:"client"`
	Conn      string     `json:"connection"`
	After     string     `json:"after"`
	Ends      *time.Time `json:"ends"`
	InForce   struct {
		Rate string
		By   string
	} `json:"in_force"`
}

type changed struct {
	Level, Name string
	Was, Is     *limit
}

// tree is GET /limits as a client reads it.
type tree struct {
	Active       bool
	Responses    int
	Global       node
	Connection   limit
	Client       limit
	Paths        []node
	Clients      []node
	Others       *node
	ClientsKnown int                `json:"clients_known"`
	Profiles     []string           `json:"profiles_in_force"`
	HeldSeconds  map[string]float64 `json:"held_seconds"`
}

type node struct {
	Name      string
	Limit     *limit
	Own       bool
	Rate1     int64 `json:"rate_1s"`
	Rate10    int64 `json:"rate_10s"`
	Share     float64
	Used      *float64
	Waiting   int
	Held      bool
	Responses int
	Granted   int64 `json:"granted_bytes"`
}

func (g *rig) tree() tree {
	g.t.Helper()
	return decode[tree](g.t, g.want(http.StatusOK, g.do("GET", "/limits", "")))
}

func (g *rig) change(method, path, body string) changed {
	g.t.Helper()
	return decode[changed](g.t, g.want(http.StatusOK, g.do(method, path, body)))
}

// named returns the node of a name, nil if it is not there.
func named(nodes []node, name string) *node {
	for i := range nodes {
		if nodes[i].Name == name {
			return &nodes[i]
		}
	}
	return nil
}

// Each change says what was and what is, shows in the tree, and is logged with
// its maker.
func TestChangesAreAnswered(t *testing.T) {
	g := start(t, nil)
	steps := []struct{ method, path, body, was, is string }{
		{"PUT", "/limits/global", `{"rate":"10MiB/s","burst":"1MiB"}`, "unlimited", "10MiB/s burst 1MiB"},
		{"PUT", "/limits/global", `{"rate":"80Mbit/s"}`, "10MiB/s burst 1MiB", "10MB/s"},
		{"PUT", "/limits/global", `{"rate":"unlimited"}`, "10MB/s", "unlimited"},
		{"PUT", "/limits/connection", `{"rate":"500KB/s"}`, "unlimited", "500KB/s"},
		{"PUT", "/limits/client", `{"rate":"2MiB/s","weight":3}`, "unlimited", "2MiB/s weight 3"},
		{"PUT", "/limits/path/high/", `{"rate":"512KiB/s","weight":4,"priority":1,"guarantee":"100KiB/s"}`, "", "512KiB/s guarantee 100KiB/s weight 4 priority 1"},
		{"PUT", "/limits/path/high/", `{"rate":"0"}`, "512KiB/s guarantee 100KiB/s weight 4 priority 1", "0B/s"},
		{"PUT", "/limits/path/", `{"rate":"1GB/s"}`, "", "1GB/s"},
		{"PUT", "/limits/path/a%20b%3F", `{"rate":"1GB/s"}`, "", "1GB/s"},
		{"DELETE", "/limits/path/high/", "", "0B/s", ""},
		{"PUT", "/limits/client/user_123", `{"rate":"1MiB/s","burst":"64KiB"}`, "", "1MiB/s burst 64KiB"},
		{"POST", "/config", `{"client_id":"user_123","target_bps":5242880}`, "1MiB/s burst 64KiB", "5MiB/s burst 64KiB"},
		{"POST", "/config", `{"client_id":"user_123","target_bps":0}`, "5MiB/s burst 64KiB", "0B/s burst 64KiB"},
		{"POST", "/config", `{"target_bps":1000000000000,"client_id":"new"}`, "", "1000GB/s"},
		{"DELETE", "/limits/client/user_123", "", "0B/s burst 64KiB", "2MiB/s weight 3"},
		{"PUT", "/limits/client/2001:db8::%2F64", `{"rate":"1MiB/s"}`, "", "1MiB/s"},
		{"DELETE", "/limits/client/2001:db8::/64", "", "1MiB/s", "2MiB/s weight 3"},
		{"PUT", "/limits/client/::1", `{"rate":"1MiB/s"}`, "", "1MiB/s"},
		{"PUT", "/limits/client/::ffff/64", `{"rate":"3MiB/s"}`, "1MiB/s", "3MiB/s"},
		{"POST", "/config", `{"client_id":"::7%eth0","target_bps":1048576}`, "3MiB/s", "1MiB/s"},
		{"DELETE", "/limits/client/::/64", "", "1MiB/s", "2MiB/s weight 3"},
		{"PUT", "/limits/client/::ffff:1.2.3.4", `{"rate":"1MiB/s"}`, "", "1MiB/s"},
		{"DELETE", "/limits/client/1.2.3.4/32", "", "1MiB/s", "2MiB/s weight 3"},
	}
	for _, s := range steps {
		c := g.change(s.method, s.path, s.body)
		if c.Was.text() != s.was || c.Is.text() != s.is {
			t.Errorf("%s %s %s: was %q, is %q; want %q, %q", s.method, s.path, s.body, c.Was.text(), c.Is.text(), s.was, s.is)
		}
	}
	log := g.logs.String()
	if n := strings.Count(log, "who=127.0.0.1:"); n != len(steps) {
		t.Errorf("%d changes are logged, want %d:\n%s", n, len(steps), log)
	}
	if want := `what=global was="10MiB/s burst 1MiB" is=10MB/s`; !strings.Contains(log, want) {
		t.Errorf("the log lacks %s:\n%s", want, log)
	}
	v := g.tree()
	if v.Connection.text() != "500KB/s" || v.Client.text() != "2MiB/s weight 3" || v.Global.Limit.text() != "unlimited" || !v.Active {
		t.Errorf("%+v", v)
	}
	if len(v.Paths) != 2 || v.Paths[0].Name != "/" || v.Paths[1].Name != "/a b?" {
		t.Errorf("paths: %+v", v.Paths)
	}
	if len(v.Clients) != 1 || !v.Clients[0].Own || v.Clients[0].Limit.text() != "1000GB/s" {
		t.Errorf("clients: %+v", v.Clients)
	}
}

// text is a limit in short.
func (l *limit) text() string {
	if l == nil {
		return ""
	}
	s := l.Rate
	if l.Burst != "" {
		s += " burst " + l.Burst
	}
	if l.Guarantee != "" {
		s += " guarantee " + l.Guarantee
	}
	if l.Weight != 1 {
		s += fmt.Sprint(" weight ", l.Weight)
	}
	if l.Priority != 0 {
		s += fmt.Sprint(" priority ", l.Priority)
	}
	return s
}

// What cannot be used is refused with the field at fault, and changes nothing.
func TestBadInputChangesNothing(t *testing.T) {
	g := start(t, nil)
	g.change("PUT", "/limits/global", `{"rate":"10MiB/s"}`)
	g.change("PUT", "/limits/path/p/", `{"rate":"1MiB/s"}`)
	g.change("PUT", "/limits/client/c", `{"rate":"1MiB/s"}`)
	before := g.srv.Engine().Limits().Limits()
	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"PUT", "/limits/global", ``, 400, ""},
		{"PUT", "/limits/global", `[]`, 400, ""},
		{"PUT", "/limits/global", `null`, 400, ""},
		{"PUT", "/limits/global", `{`, 400, ""},
		{"PUT", "/limits/global", `{"rate"`, 400, ""},
		{"PUT", "/limits/global", `{"rate":"1MiB/s"`, 400, ""},
		{"PUT", "/limits/global", `{"rate":"1MiB/s"} {}`, 400, ""},
		{"PUT", "/limits/global", "{\"rate\":\"1MiB/s\xff\"}", 400, ""},
		{"PUT", "/limits/global", `{}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":10485760}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":null}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"10"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"10Mb/s"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"-1MiB/s"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"1000001MB/s"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"10MiB"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"Rate":"10MiB/s"}`, 400, "Rate"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","rate":"2MiB/s"}`, 400, "rate"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","rat":"2MiB/s"}`, 400, "rat"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","burst":1}`, 400, "burst"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","burst":"-1KiB"}`, 400, "burst"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","burst":"2000000GiB"}`, 400, "burst"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","weight":2}`, 400, "weight"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","ttl":"forever"}`, 400, "ttl"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","ttl":"0s"}`, 400, "ttl"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","ttl":"-1h"}`, 400, "ttl"},
		{"PUT", "/limits/global", `{"rate":"1MiB/s","ttl":3600}`, 400, "ttl"},
		{"PUT", "/limits/connection", `{"rate":"1MiB/s","priority":1}`, 400, "priority"},
		{"PUT", "/limits/client", `{"rate":"1MiB/s","guarantee":"1KiB/s"}`, 400, "guarantee"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","guarantee":"2MiB/s"}`, 400, "guarantee"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","weight":1001}`, 400, "weight"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","weight":-1}`, 400, "weight"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","weight":1.5}`, 400, "weight"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","weight":"2"}`, 400, "weight"},
		{"PUT", "/limits/path/p/", `{"rate":"1MiB/s","priority":99999999999}`, 400, "priority"},
		{"PUT", "/limits/path/p%01/", `{"rate":"1MiB/s"}`, 400, "prefix"},
		{"PUT", "/limits/path/p%FF/", `{"rate":"1MiB/s"}`, 400, "prefix"},
		{"PUT", "/limits/path/" + strings.Repeat("x", 1100), `{"rate":"1MiB/s"}`, 400, "prefix"},
		{"PUT", "/limits/client/c%0A", `{"rate":"1MiB/s"}`, 400, "client"},
		{"PUT", "/limits/client/1.2.3.0/24", `{"rate":"1MiB/s"}`, 400, "client"},
		{"PUT", "/limits/client/2001:db8::/48", `{"rate":"1MiB/s"}`, 400, "client"},
		{"POST", "/config", `{"client_id":"1.2.3.0/24","target_bps":1}`, 400, "client_id"},
		{"PUT", "/limits/path/a%2F%2Fb/", `{"rate":"1MiB/s"}`, 400, "prefix"},
		{"PUT", "/limits/path/a/%2E%2E/b/", `{"rate":"1MiB/s"}`, 400, "prefix"},
		{"PUT", "/limits/path/p//q", `{"rate":"1MiB/s"}`, 400, ""},
		{"DELETE", "/limits/path/none/", ``, 404, ""},
		{"DELETE", "/limits/client/none", ``, 404, ""},
		{"POST", "/config", `{"client_id":"c"}`, 400, "target_bps"},
		{"POST", "/config", `{"target_bps":1}`, 400, "client_id"},
		{"POST", "/config", `{"client_id":"c","target_bps":-1}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":1e6}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":1.5}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":"1"}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":null}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":1000000000001}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"c","target_bps":99999999999999999999}`, 400, "target_bps"},
		{"POST", "/config", `{"client_id":"","target_bps":1}`, 400, "client_id"},
		{"POST", "/config", `{"client_id":7,"target_bps":1}`, 400, "client_id"},
		{"POST", "/config", `{"client_id":"a\u0000b","target_bps":1}`, 400, "client_id"},
		{"POST", "/config", `{"client_id":"c","target_bps":1,"ttl":"1h"}`, 400, "ttl"},
		{"GET", "/limits?clients=-1", ``, 400, "clients"},
		{"GET", "/limits?clients=x", ``, 400, "clients"},
		{"GET", "/connections?by=size", ``, 400, "by"},
		{"GET", "/connections?n=1001", ``, 400, "n"},
	} {
		r := g.do(c.method, c.path, c.body)
		if r.status != c.status {
			t.Errorf("%s %s %s: status %d, want %d: %s", c.method, c.path, c.body, r.status, c.status, r.body)
			continue
		}
		g.wantProblem(c.status, c.field, r)
	}
	if after := g.srv.Engine().Limits().Limits(); !reflect.DeepEqual(before, after) {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if n := strings.Count(g.logs.String(), "limit "); n != 3 {
		t.Errorf("%d changes are logged, want 3:\n%s", n, g.logs)
	}
}

// A change for a time is taken back, and several in a row give back what was
// before the first.
func TestTTL(t *testing.T) {
	g := start(t, nil)
	s := g.srv.Engine().Limits()
	g.change("PUT", "/limits/global", `{"rate":"9MiB/s"}`)
	g.change("PUT", "/limits/global", `{"rate":"1MiB/s","ttl":"1h"}`)
	if c := g.change("PUT", "/limits/global", `{"rate":"2MiB/s","ttl":"50ms"}`); c.Was.Ends == nil || c.Is.Ends == nil {
		t.Errorf("ends are not told: %+v", c)
	}
	g.change("PUT", "/limits/connection", `{"rate":"1MiB/s","ttl":"50ms"}`)
	g.change("PUT", "/limits/client", `{"rate":"1MiB/s","ttl":"50ms"}`)
	g.change("PUT", "/limits/path/new/", `{"rate":"1MiB/s","ttl":"50ms"}`)
	g.change("PUT", "/limits/client/c", `{"rate":"1MiB/s","ttl":"50ms"}`)
	if !testenv.Eventually(patience, func() bool {
		l := s.Limits()
		return l.Global.Rate == 9<<20 && len(l.Paths)+len(l.Clients) == 0 &&
			l.Connection.Rate == shape.Unlimited && l.Client.Rate == shape.Unlimited
	}) {
		t.Errorf("not taken back: %+v", s.Limits())
	}
	if !testenv.Eventually(patience, func() bool { return strings.Count(g.logs.String(), "limit ended") == 5 }) {
		t.Errorf("the ends are not logged:\n%s", g.logs)
	}
}

// What has replaced a temporary change stays: a reload, or a change for good.
func TestTTLYields(t *testing.T) {
	g := start(t, nil)
	s := g.srv.Engine().Limits()
	g.change("PUT", "/limits/global", `{"rate":"1MiB/s","ttl":"50ms"}`)
	if _, err := s.SetGlobal(shape.Limit{Rate: 7 << 20}); err != nil { // as a reload does
		t.Fatal(err)
	}
	g.change("PUT", "/limits/connection", `{"rate":"1MiB/s","ttl":"50ms"}`)
	g.change("PUT", "/limits/connection", `{"rate":"3MiB/s"}`)
	for gone := false; !gone; { // again if its time was over first
		g.change("PUT", "/limits/path/p/", `{"rate":"1MiB/s","ttl":"50ms"}`)
		gone = g.do("DELETE", "/limits/path/p/", "").status == http.StatusOK
	}
	g.change("PUT", "/limits/client/c", `{"rate":"1MiB/s","ttl":"50ms"}`)
	g.change("POST", "/config", `{"client_id":"c","target_bps":1000}`)
	g.change("PUT", "/limits/client/marker", `{"rate":"1MiB/s","ttl":"100ms"}`)
	if !testenv.Eventually(patience, func() bool { return strings.Contains(g.logs.String(), `msg="limit ended" what="client marker"`) }) {
		t.Fatal("the last one does not end")
	}
	l := s.Limits()
	if l.Global.Rate != 7<<20 || l.Connection.Rate != 3<<20 || len(l.Paths) != 0 || len(l.Clients) != 1 || l.Clients[0].Rate != 1000 || l.Clients[0].Expires != 0 {
		t.Errorf("%+v", l)
	}
}

// A listed end lies where it was asked for.
func TestEndIsShown(t *testing.T) {
	g := start(t, nil)
	s := g.srv.Engine().Limits()
	if _, _, err := s.SetClient("c", shape.Limit{Rate: 1}, sys.Nanotime()+int64(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c := named(g.tree().Clients, "c")
	if c == nil || c.Limit.Ends == nil || math.Abs(time.Until(*c.Limit.Ends).Minutes()-60) > 1 {
		t.Errorf("%+v", c)
	}
}

// A running download feels a change at once: one that is paused stands still
// until it is let go, and arrives whole.
func TestRetuneUnderDownload(t *testing.T) {
	g := start(t, nil)
	g.file("big/f", 64<<20)
	g.change("PUT", "/limits/path/big/", `{"rate":"0","weight":2}`)
	done := make(chan error, 1)
	c := g.client()
	go func() { done <- g.get(c, "/big/f") }()
	if !testenv.Eventually(patience, func() bool { return g.tree().Responses == 1 }) {
		t.Fatal("the download does not begin")
	}
	select {
	case err := <-done:
		t.Fatalf("a paused download has ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	v := g.tree()
	if p := named(v.Paths, "/big/"); p == nil || p.Responses != 1 || !p.Held && v.Global.Waiting == 0 {
		t.Errorf("it does not show that the path waits: %+v", v)
	}
	if s := g.srv.Stats(); s.Loops[0].Waiting+s.Loops[1].Waiting != 1 {
		t.Errorf("%d transfers wait, want 1", s.Loops[0].Waiting+s.Loops[1].Waiting)
	}
	g.change("PUT", "/limits/path/big/", `{"rate":"unlimited"}`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	v = g.tree()
	if v.Global.Granted < 64<<20 || v.HeldSeconds["path"] <= 0 {
		t.Errorf("granted %d, held %v", v.Global.Granted, v.HeldSeconds)
	}
}

// What is in force is shown beside what is set, with the reason.
func TestInForce(t *testing.T) {
	g, profiles := startAdapted(t)
	g.change("PUT", "/limits/global", `{"rate":"900B/s"}`)
	g.change("PUT", "/limits/client/c", `{"rate":"2MiB/s"}`)
	profiles.SetProfiles([]alerts.Profile{{
		Name: "slow", Match: map[string]string{"alertname": "Slow"}, Forget: time.Hour,
		Caps: shape.Caps{Global: 1000, Client: 500, Connection: 400},
	}})
	check := func(what string, l *limit, rate, force, by string) {
		t.Helper()
		if l.Rate != rate || l.InForce.Rate != force || l.InForce.By != by {
			t.Errorf("%s: %+v, want %s, in force %s by %s", what, l, rate, force, by)
		}
	}
	v := g.tree()
	check("global", v.Global.Limit, "900B/s", "900B/s", "configured")
	check("client", &v.Client, "unlimited", "unlimited", "configured")
	check("c", named(v.Clients, "c").Limit, "2MiB/s", "2MiB/s", "override")

	g.want(http.StatusOK, g.do("POST", "/alerts", `{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Slow"},"startsAt":"2026-01-02T03:04:05Z"}]}`))
	check("change", g.change("PUT", "/limits/global", `{"rate":"1MiB/s"}`).Is, "1MiB/s", "1KB/s", "cap")
	if err := g.srv.Engine().Limits().SetShares(shape.Share{Node: shape.Node{Level: shape.LevelPath, Name: "/a/"}, Rate: 300}); err != nil {
		t.Fatal(err)
	}
	v = g.tree()
	check("global", v.Global.Limit, "1MiB/s", "1KB/s", "cap")
	check("client", &v.Client, "unlimited", "500B/s", "cap")
	check("connection", &v.Connection, "unlimited", "400B/s", "cap")
	check("c", named(v.Clients, "c").Limit, "2MiB/s", "500B/s", "cap")
	check("/a/", named(v.Paths, "/a/").Limit, "unlimited", "300B/s", "share")
	if len(v.Profiles) != 1 || v.Profiles[0] != "slow" {
		t.Errorf("profiles %q", v.Profiles)
	}
	g.file("a/f", 64<<10)
	go func() { _ = g.get(g.client(), "/a/f") }() // cut by the end of the server
	if !testenv.Eventually(patience, func() bool { return named(g.tree().Clients, "127.0.0.1") != nil }) {
		t.Fatal("the client does not show")
	}
	v = g.tree()
	check("served", named(v.Clients, "127.0.0.1").Limit, "unlimited", "500B/s", "cap")
	check("/a/ served", named(v.Paths, "/a/").Limit, "unlimited", "300B/s", "share")
}

// Where no handler names clients, a name that is no address is refused: nobody would ever
// be counted by it.
func TestClientsAreAddresses(t *testing.T) {
	g := start(t, func(sc *server.Config, _ *admin.Config) { sc.Routes = nil })
	g.wantProblem(http.StatusBadRequest, "client", g.do("PUT", "/limits/client/user_123", `{"rate":"1MiB/s"}`))
	g.wantProblem(http.StatusBadRequest, "client_id", g.do("POST", "/config", `{"client_id":"1.2.3","target_bps":1}`))
	g.change("PUT", "/limits/client/unix", `{"rate":"1MiB/s"}`)
	g.change("PUT", "/limits/client/1.2.3.4", `{"rate":"1MiB/s"}`)
}

// Without limits there is nothing to change, and it says so.
func TestServerWithoutLimits(t *testing.T) {
	g := start(t, func(sc *server.Config, _ *admin.Config) {
		sc.Engine = engine.Config{Driver: engine.DriverFallback, Loops: 1}
	})
	for _, r := range [][3]string{
		{"GET", "/limits"}, {"PUT", "/limits/global", `{"rate":"1MiB/s"}`}, {"POST", "/config", `{"client_id":"c","target_bps":1}`},
		{"DELETE", "/limits/path/x"}, {"POST", "/-/drain"}, {"POST", "/-/reload"},
	} {
		g.wantProblem(http.StatusConflict, "", g.do(r[0], r[1], r[2]))
	}
	g.want(http.StatusOK, g.do("GET", "/metrics", ""))
	g.want(http.StatusOK, g.do("GET", "/connections", ""))
}
