package admin_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

type explained struct {
	Path, Client, After string
	Limits              []heldBy
	Lowest              heldBy
}

type heldBy struct {
	Level, Name, Within, Rate, By string
	Own                           bool
}

// What holds a response is told level by level, and each limit by itself.
func TestExplain(t *testing.T) {
	g := start(t, nil)
	g.change("PUT", "/limits/global", `{"rate":"80MiB/s"}`)
	g.change("PUT", "/limits/connection", `{"rate":"2MiB/s"}`)
	g.change("PUT", "/limits/client/127.0.0.1", `{"rate":"9MiB/s","weight":2}`)
	c := g.change("PUT", "/limits/path/video/", `{"client":"3MiB/s","connection":"1MiB/s","after":"10MiB","burst":"1MiB"}`)
	if c.Is.Rate != "unlimited" || c.Is.Client != "3MiB/s" || c.Is.Conn != "1MiB/s" || c.Is.After != "10MiB" || c.Is.Burst != "1MiB" {
		t.Errorf("%+v", c.Is)
	}
	if p := g.tree().Paths; len(p) != 1 || p[0].Limit.Client != "3MiB/s" || !g.tree().Active {
		t.Errorf("%+v", p)
	}
	look := func(query string) explained {
		return decode[explained](t, g.want(http.StatusOK, g.do("GET", "/limits/explain?"+query, "")))
	}
	e := look("path=/video/a.mp4&client=127.0.0.1")
	want := []heldBy{
		{Level: "global", Rate: "80MiB/s"}, {Level: "path", Name: "/video/", Rate: "unlimited"},
		{Level: "client", Name: "127.0.0.1", Rate: "9MiB/s", By: "override", Own: true},
		{Level: "client", Name: "127.0.0.1", Within: "/video/", Rate: "3MiB/s"},
		{Level: "connection", Rate: "2MiB/s"}, {Level: "connection", Within: "/video/", Rate: "1MiB/s"},
	}
	for i := range want {
		if want[i].By == "" {
			want[i].By = "configured"
		}
		if i >= len(e.Limits) || e.Limits[i] != want[i] {
			t.Fatalf("%d: %+v, want %+v", i, e.Limits, want[i])
		}
	}
	if e.Lowest != want[5] || e.After != "10MiB" || len(e.Limits) != len(want) {
		t.Errorf("%+v", e)
	}
	if e := look("path=/&client=10.0.0.1"); e.Lowest.Rate != "2MiB/s" || len(e.Limits) != 3 || e.Limits[1].Own {
		t.Errorf("elsewhere: %+v", e)
	}
	for _, c := range []struct {
		path   string
		status int
		rate   string
	}{
		{"/limits/global", 200, "80MiB/s"}, {"/limits/connection", 200, "2MiB/s"}, {"/limits/client", 200, "unlimited"},
		{"/limits/client/127.0.0.1", 200, "9MiB/s"}, {"/limits/client/10.0.0.1", 200, "unlimited"},
		{"/limits/path/video/", 200, "unlimited"}, {"/limits/path/none/", 404, ""}, {"/limits/client/x", 200, "unlimited"},
		{"/limits/explain?path=video&client=127.0.0.1", 400, ""}, {"/limits/explain?path=/", 400, ""},
	} {
		r := g.want(c.status, g.do("GET", c.path, ""))
		if v := decode[changed2](t, r); c.rate != "" && v.Limit.Rate != c.rate {
			t.Errorf("%s: %s", c.path, r.body)
		}
	}
	for body, field := range map[string]string{
		`{"after":"1MiB","rate":"1MiB/s"}`: "after", `{"after":"1MiB"}`: "rate", `{"client":"3"}`: "client", `{"connection":3}`: "connection",
	} {
		g.wantProblem(400, field, g.do("PUT", "/limits/path/video/", body))
	}
	g.wantProblem(400, "client", g.do("PUT", "/limits/global", `{"rate":"1MiB/s","client":"1MiB/s"}`))
	g.wantProblem(400, "prefix", g.do("PUT", "/limits/path/a%2520b/", `{"rate":"1MiB/s"}`))
}

type changed2 struct{ Limit limit }

// A download is cut by the id of its connection; the client cannot take it for whole.
func TestCut(t *testing.T) {
	g := start(t, nil)
	g.file("f", 64<<20)
	g.change("PUT", "/limits/global", `{"rate":"1MiB/s"}`)
	r, err := g.client().Get(g.url("/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	v := decode[conns](t, g.want(http.StatusOK, g.do("GET", "/connections", "")))
	if len(v.Connections) != 1 {
		t.Fatalf("%+v", v)
	}
	id := v.Connections[0].ID
	g.want(http.StatusOK, g.do("DELETE", "/connections/"+id, ""))
	if n, err := io.Copy(io.Discard, r.Body); !errors.Is(err, syscall.ECONNRESET) || n >= 64<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if !testenv.Eventually(patience, func() bool {
		return decode[conns](t, g.do("GET", "/connections", "")).Open == 0
	}) {
		t.Error("the connection is still there")
	}
	g.want(http.StatusNotFound, g.do("DELETE", "/connections/"+id, ""))
	for _, id := range []string{"9-1", "0-ffffffffffffffff"} {
		g.want(http.StatusNotFound, g.do("DELETE", "/connections/"+id, ""))
	}
	for _, id := range []string{"x", "1", "-1-2", "0-", "0-zz"} {
		g.wantProblem(400, "id", g.do("DELETE", "/connections/"+id, ""))
	}
	if !strings.Contains(g.logs.String(), "connection cut") || !strings.Contains(g.logs.String(), "file=/f") {
		t.Errorf("not logged:\n%s", g.logs)
	}
}
