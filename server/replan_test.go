package server_test

import (
	"bytes"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
)

// Somebody copies over a file of which responses wait for tokens: the writer goes on, and each
// client gets the new version as if it had asked for it now.
func TestReplanned(t *testing.T) {
	needLeases(t)
	const size = 200_000
	before, after := strings.Repeat("a", size), bytes.Repeat([]byte("b"), size+1)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		cfg := shaped(shape.Config{Client: shape.Limit{Rate: 100 << 20}})
		cfg.Site.WriteWait = patience
		cfg.AccessLog = server.NewAccessLog(&buf)
		cfg.Routes = []server.Route{{Prefix: "/paid/", Handler: serveFile}, {Prefix: "/paid/later/", Handler: serveFile, Blocking: true}}
		g := start(t, d, withTLS(t, cfg))
		for _, name := range []string{"f", "later/f"} {
			g.write(name, before)
		}
		tag := g.once(http.MethodGet, "/f").get("Etag")
		cases := []replan{
			{"/f", "", 200, size + 1},
			{"/f", "Range: bytes=100-\r\nIf-Range: " + tag, 200, size + 1},
			{"/f", "Range: bytes=100-", 206, size - 99},
			{"/f", "Range: bytes=-1,0-99999", 206, 0},
			{"/f", "If-Match: " + tag, 412, 0},
			{"/f", "Content-Length: 3\r\n\r\nxyz", 200, size + 1},
			{"/paid/f", "", 200, size + 1},
			{"/paid/later/f", "", 200, size + 1},
		}
		for _, c := range cases {
			for _, encrypted := range []bool{false, true} {
				g.write(strings.TrimPrefix(c.target, "/paid"), before)
				g.replan(&c, after, encrypted)
			}
		}
		var counted uint64
		for _, n := range g.srv.Stats().Hosts[0].Status {
			counted += n
		}
		want := 1 + 4*len(cases)
		if lines := g.lines(cfg.AccessLog, &buf); counted != uint64(want) || len(lines) != want {
			t.Errorf("%d responses are counted, %d logged, want %d: %q", counted, len(lines), want, lines)
		}
	})
}

// Who asks is known when the response is planned anew, be it by a link or by its network, and the request
// is not counted again.
func TestReplannedForCaller(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		cfg := paid(t)
		cfg.Site.Consistency = openfile.ConsistencyCheck
		own := cfg.Site
		own.Require = server.ByLink
		cfg.Locations = append(cfg.Locations, server.Location{Match: "/own/", Site: own})
		loopbacks, err := server.ParseNetworks([]string{"127.0.0.0/8"})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Identity.Tiers = map[string]server.Tier{"low": {Rate: 1 << 30, Networks: loopbacks}}
		cfg.Engine.Limits = new(shape.Config)
		cfg.AccessLog = server.NewAccessLogIn(server.LogJSON, &buf)
		cfg.Routes = []server.Route{{Prefix: "/paid/", Handler: serveFile}}
		cfg.Admission.Requests = server.RequestRate{Requests: 1, Per: time.Hour, Burst: 6} // two each
		g := start(t, d, cfg)
		after := bytes.Repeat([]byte("b"), 200_001)
		for _, target := range []string{"/paid/f", "/own/f", "/f"} {
			g.write(strings.TrimPrefix(target, "/paid"), strings.Repeat("a", 200_000))
			link := signed(t, target, func(p *server.LinkPolicy) { p.FileName = "n.txt" })
			r := g.replan(&replan{target + link, "", 200, 200_001}, after, false)
			if got := r.get("Content-Disposition"); strings.Contains(got, "n.txt") != (target != "/f") {
				t.Errorf("%s is to be saved as %q", target, got)
			}
		}
		for _, line := range g.lines(cfg.AccessLog, &buf) {
			if strings.Contains(line, `"/f`) && !strings.Contains(line, `"tier":"low"`) {
				t.Errorf("%s", line)
			}
		}
	})
}

// replan is a request, and what is answered when the file is another.
type replan struct {
	target, fields string
	status, length int
}

// replan has the response wait while its file is copied over, and looks at what comes of it.
func (g *rig) replan(c *replan, after []byte, encrypted bool) *response {
	t := g.t
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(c.target, "/paid"), "?")
	g.once(http.MethodHead, name) // so that the file is in the cache
	limits := g.srv.Engine().Limits()
	if _, _, err := limits.SetClient(loopback, paused, 0); err != nil {
		t.Fatal(err)
	}
	defer limits.RemoveClient(loopback)
	replanned := func() uint64 { return g.stats(func(s *loop.Stats) uint64 { return s.Replanned }) }
	n := replanned()
	raw := "GET " + c.target + " HTTP/1.1\r\nHost: files.example\r\n" + c.fields
	if !strings.Contains(raw, "\r\n\r\n") {
		raw = strings.TrimSuffix(raw, "\r\n") + "\r\n\r\n"
	}
	var read func(string) *response
	if encrypted {
		c := g.mustTLS()
		defer c.conn.Close()
		c.send(raw)
		read = c.read
	} else {
		c := g.dial()
		defer c.conn.Close()
		c.send(raw)
		read = c.read
	}
	g.wantWaiting(1)
	if err := copyOver(filepath.Join(g.root, name), after); err != nil {
		t.Fatal(err)
	}
	limits.RemoveClient(loopback)
	r := read(http.MethodGet)
	if r.status != c.status || c.length > 0 && len(r.body) != c.length || bytes.Contains(r.body, []byte("aaaa")) {
		t.Errorf("%+v, TLS %v: status %d, %d bytes", *c, encrypted, r.status, len(r.body))
	}
	recalled := g.stats(func(s *loop.Stats) uint64 { return s.Recalled })
	if n := replanned() - n; n != 1 || recalled != 0 {
		t.Errorf("%+v, TLS %v: planned anew %d times, %d connections recalled", *c, encrypted, n, recalled)
	}
	return r
}
