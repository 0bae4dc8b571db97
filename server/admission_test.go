package server_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// TestRequestRate: so many requests of a client are answered at once, the next one is told
// when to come again, and the connection goes on.
func TestRequestRate(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		writeFile(t, filepath.Join(root, "slow-down.html"), []byte("slow down"))
		g := start(t, d, server.Config{
			Admission: server.Admission{Requests: server.RequestRate{Requests: 1, Per: time.Minute, Burst: 3}},
			Site:      server.Site{Root: root, ErrorPages: map[int]server.Page{http.StatusTooManyRequests: {Path: "/slow-down.html"}}},
			Trust:     mustTrust(t, "127.0.0.1"),
		})
		g.write("f", "hello")
		c := g.dial()
		for range 3 {
			c.get("/f").want(t, 200, "hello")
		}
		for range 2 {
			r := c.get("/f")
			r.want(t, 429, "slow down")
			if n, err := strconv.Atoi(r.get("Retry-After")); err != nil || n < 50 || n > 65 {
				t.Errorf("Retry-After %q, want a minute or a little more", r.get("Retry-After"))
			}
		}
		// A body that nobody wants is read, and the connection goes on.
		c.send("POST /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde")
		if r := c.read("POST"); r.status != 429 {
			t.Errorf("with a body: %d", r.status)
		}
		c.get("/f", "X-Forwarded-For: 192.0.2.7").want(t, 200, "hello")
	})
}

// TestRateFields: clients are told what is left, with answers that take a way off the loop, too; and those who
// prefer JSON get a problem.
func TestRateFields(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{
			Admission: server.Admission{Requests: server.RequestRate{Requests: 1, Per: time.Minute, Burst: 3}, Fields: server.FieldsNear},
			Site:      server.Site{Listing: true},
		})
		g.write("f", "hello")
		c := g.dial()
		for i, path := range []string{"/f", "/f", "/"} {
			r := c.get(path)
			// The time is what it takes until all are there again, less what has passed since the first.
			if got, want := r.get("RateLimit"), []string{"^$", "^$", `^"client";r=0;t=1[2-8]\d$`}[i]; r.status != 200 || !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%s: %d, RateLimit %q, want %q", path, r.status, got, want)
			}
		}
		r := c.get("/f", "Accept: application/json")
		if r.status != 429 || r.get("RateLimit-Policy") != `"client";q=1;w=60` || !regexp.MustCompile(`^"client";r=0;t=[1-6]\d?$`).MatchString(r.get("RateLimit")) {
			t.Errorf("refused: %d, %q, %q", r.status, r.get("RateLimit-Policy"), r.get("RateLimit"))
		}
		if r.get("Content-Type") != "application/problem+json" || !strings.Contains(string(r.body), `"violated-policies":["requests"]`) {
			t.Errorf("%s: %s", r.get("Content-Type"), r.body)
		}
	})
}

// TestRateFieldsOfHandlers: answers of handlers say what is left, of those that block and of those that send a file, too; a
// handler that says so itself is left alone.
func TestRateFieldsOfHandlers(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		text := func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("x") }
		g := start(t, d, server.Config{
			Admission: server.Admission{Requests: server.RequestRate{Requests: 1, Per: time.Minute, Burst: 9}, Fields: server.FieldsAlways},
			Routes: []server.Route{
				{Prefix: "/now", Handler: text}, {Prefix: "/later", Handler: text, Blocking: true}, {Prefix: "/file", Handler: serveFile},
				{Prefix: "/own", Handler: func(ctx *fasthttp.RequestCtx) { ctx.Response.Header.Set("RateLimit", "mine") }},
			},
		})
		g.write("f", "hello")
		c := g.dial()
		for _, test := range []struct{ path, fields string }{
			{"/now", `"client";r=8;t=60`}, {"/later", `"client";r=7;t=120`}, {"/file/f", `"client";r=6;t=180`}, {"/own", "mine"},
		} {
			if r := c.get(test.path); r.status != 200 || r.get("RateLimit") != test.fields || (r.get("RateLimit-Policy") == "") != (test.fields == "mine") {
				t.Errorf("%s: %d, %q, %q", test.path, r.status, r.get("RateLimit"), r.get("RateLimit-Policy"))
			}
		}
	})
}

func mustTrust(t *testing.T, networks ...string) server.Trust {
	t.Helper()
	trust, err := server.ParseTrust(networks)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// slowly serves a file of 300,000 bytes, of which each response takes a second.
func slowly(t *testing.T, d engine.DriverKind, a server.Admission, routes ...server.Route) (*rig, testenv.Pattern) {
	g := start(t, d, server.Config{Admission: a, Routes: routes, Engine: engine.Config{
		Loops: 2, Limits: &shape.Config{Connection: shape.Limit{Rate: 300_000, Burst: 1000}},
	}})
	g.write("small", "small")
	return g, g.pattern("f", 1, 300_000)
}

// TestDownloads: sixteen connections of one client, of which four may download: all wait for
// their turn and get the whole file, on loops that know nothing of each other.
func TestDownloads(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const most = 4
		g, p := slowly(t, d, server.Admission{ClientDownloads: most, QueueLength: 16, QueueWait: time.Minute})
		var all sync.WaitGroup
		begin := time.Now()
		for range 16 {
			c := g.dial()
			all.Go(func() {
				c.get("/f").want(t, 200, string(p.Bytes(0, 300_000)))
				c.get("/small").want(t, 200, "small")
			})
		}
		all.Wait()
		if took := time.Since(begin); took < 3*time.Second {
			t.Errorf("sixteen downloads of a second, of which %d run at a time, took %v", most, took)
		}
		g.wantNoneAdmitted(32)
	})
}

// wantNoneAdmitted fails the test unless n requests were admitted, and nothing is counted any
// more.
func (g *rig) wantNoneAdmitted(n uint64) {
	g.t.Helper()
	a := g.srv.Admission()
	if !testenv.Eventually(patience, func() bool { return a.UnderWay() == 0 }) {
		g.t.Errorf("%d responses are counted at the end", a.UnderWay())
	}
	if got := a.Results(server.Admitted); got != n {
		g.t.Errorf("%d requests were admitted, want %d", got, n)
	}
}

// TestDownloadsAreRefused: without a queue, or where that is full, or the wait is over.
func TestDownloadsAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, test := range []struct {
			name   string
			policy server.Admission
			status int
		}{
			{"no queue", server.Admission{ClientDownloads: 1}, 429},
			{"no time", server.Admission{ClientDownloads: 1, QueueLength: 1, QueueWait: 50 * time.Millisecond}, 429},
			{"all together", server.Admission{Downloads: 1}, 503},
			{"all together, no time", server.Admission{Downloads: 1, QueueLength: 1, QueueWait: 50 * time.Millisecond}, 503},
		} {
			t.Run(test.name, func(t *testing.T) {
				g, p := slowly(t, d, test.policy)
				first, second := g.dial(), g.dial()
				first.send(request(http.MethodGet, "/f"))
				if !testenv.Eventually(patience, func() bool { return g.srv.Admission().UnderWay() == 1 }) {
					t.Fatal("the first is not counted")
				}
				r := second.get("/small")
				if r.status != test.status || r.get("Retry-After") == "" {
					t.Errorf("the second: %d, Retry-After %q, want %d", r.status, r.get("Retry-After"), test.status)
				}
				first.read(http.MethodGet).want(t, 200, string(p.Bytes(0, 300_000)))
				if !testenv.Eventually(patience, func() bool { return g.srv.Admission().UnderWay() == 0 }) {
					t.Fatal("the first is counted for ever")
				}
				second.get("/small").want(t, 200, "small")
				g.wantNoneAdmitted(2)
			})
		}
	})
}

// TestDownloadsEndAnyhow: whoever resets, leaves the queue, or waits for a handler that
// panics, nothing is counted at the end.
func TestDownloadsEndAnyhow(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var called atomic.Int32
		g, p := slowly(t, d, server.Admission{ClientDownloads: 2, QueueLength: 1000, QueueWait: time.Minute}, server.Route{
			Prefix: "/handler", Blocking: true, Handler: func(*fasthttp.RequestCtx) {
				called.Add(1)
				panic("a handler that fails")
			},
		})
		var all sync.WaitGroup
		for i := range 40 {
			c := g.dial()
			all.Go(func() {
				switch i % 4 {
				case 0: // leaves at once, perhaps from the queue
					c.send(request(http.MethodGet, "/f"))
					_ = c.conn.SetLinger(0)
					c.conn.Close()
				case 1: // pipelines, and leaves
					c.send(request(http.MethodGet, "/small") + request(http.MethodGet, "/f"))
					c.conn.Close()
				case 2:
					if r := c.get("/handler"); r.status != 500 {
						t.Errorf("a handler that panics: %d", r.status)
					}
				default:
					c.get("/small").want(t, 200, "small")
				}
			})
		}
		all.Wait()
		if !testenv.Eventually(patience, func() bool { return g.srv.Admission().UnderWay() == 0 && g.srv.Admission().Waiting() == 0 }) {
			t.Errorf("at the end %d are counted, %d wait", g.srv.Admission().UnderWay(), g.srv.Admission().Waiting())
		}
		if called.Load() != 10 {
			t.Errorf("the handler was called %d times of 10", called.Load())
		}
		g.dial().get("/f").want(t, 200, string(p.Bytes(0, 300_000)))
	})
}

// TestAdmissionSwap: other bounds hold at once, for those who wait too, and what is under way
// stays counted.
func TestAdmissionSwap(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		a := server.Admission{ClientDownloads: 1, QueueLength: 5, QueueWait: time.Minute}
		g, p := slowly(t, d, a)
		var all sync.WaitGroup
		for range 3 {
			c := g.dial()
			all.Go(func() { c.get("/f").want(t, 200, string(p.Bytes(0, 300_000))) })
		}
		if !testenv.Eventually(patience, func() bool { return g.srv.Admission().Waiting() == 2 }) {
			t.Fatalf("%d wait, want 2", g.srv.Admission().Waiting())
		}
		bad := server.Config{Site: server.Site{Root: g.root}, Admission: server.Admission{Downloads: -1}}
		if err := g.srv.Swap(bad); err == nil {
			t.Error("a bound of -1 is taken")
		}
		a.ClientDownloads = 3
		if err := g.srv.Swap(server.Config{Site: server.Site{Root: g.root}, Admission: a}); err != nil {
			t.Fatal(err)
		}
		if n := g.srv.Admission().Waiting(); n != 0 {
			t.Errorf("%d wait for a bound that is gone", n)
		}
		all.Wait()
		g.wantNoneAdmitted(3)
	})
}

func ExampleAdmission() {
	cfg := server.Config{Admission: server.Admission{
		Requests:        server.RequestRate{Requests: 50, Per: time.Second, Burst: 200},
		ClientDownloads: 4, QueueLength: 16, QueueWait: 15 * time.Second,
	}}
	fmt.Println(cfg.Admission.Validate())
	// Output: <nil>
}
