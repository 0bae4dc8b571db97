package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/nethttp"
)

// guarded serves what a Guard lets in by a server that is not ours, until the test ends, and returns its URL: answer says
// what is answered to whom.
type guarded func(t *testing.T, cfg server.Config, answer func(path, caller string) string) string

func callerText(ctx context.Context) string {
	c := server.CallerOf(ctx)
	return c.User + "/" + c.Tier
}

var guards = map[string]guarded{
	"net/http": func(t *testing.T, cfg server.Config, answer func(path, caller string) string) string {
		h, err := nethttp.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		front := httptest.NewServer(h.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, answer(r.URL.Path, callerText(r.Context())))
		})))
		t.Cleanup(func() { front.Close(); h.Close() })
		return front.URL
	},
	"fasthttp": func(t *testing.T, cfg server.Config, answer func(path, caller string) string) string {
		h, err := server.NewHandler(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return fasthttpServer(t, h, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(answer(string(ctx.Path()), callerText(ctx))) })
	},
}

// fasthttpServer is a stock one of what h lets in to next, and closes h when the test ends.
func fasthttpServer(t *testing.T, h *server.Handler, next fasthttp.RequestHandler) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, ended := &fasthttp.Server{Handler: h.Guard(next)}, make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Shutdown(), <-ended, h.Close()); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// ask returns what is answered, with header fields NAME: VALUE.
func ask(ctx context.Context, url string, fields ...string) (status int, body string, head http.Header) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) // the URL is ours
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body) // what is there of it is compared
	return resp.StatusCode, string(b), resp.Header
}

// TestGuardProof: handlers of other servers answer who proves who asks, and know who that is.
func TestGuardProof(t *testing.T) {
	for name, serve := range guards {
		t.Run(name, func(t *testing.T) {
			cfg, good, over := members(t)
			cfg.Identity.Tiers, cfg.Identity.Tier = map[string]server.Tier{"plain": {Rate: 1 << 20}}, "plain"
			url := serve(t, cfg, func(_, caller string) string { return caller })
			counted := signed(t, "/any/x", func(p *server.LinkPolicy) { p.ID, p.Bytes = "i", 5 })
			for range 2 { // the second time the tokens are known
				for _, test := range []struct {
					target, field string
					status        int
					body          string
				}{
					{"/any/x" + counted, good, 403, ""}, {"/in/x", "Accept: */*", 401, ""}, {"/in/x", over, 401, ""}, {"/in/x", good + "x", 401, ""},
					{"/in/x", good, 200, "alice/plain"}, {"/key/x", "X-API-Key: the key of bob", 200, "bob/plain"}, {"/x", good, 200, "/plain"},
					{"/any/x" + signed(t, "/any/x", func(p *server.LinkPolicy) { p.User = "carol" }), "Accept: */*", 200, "carol/plain"},
					{"/any/x" + counted, "Accept: */*", 403, ""}, // nobody would count them
				} {
					status, body, head := ask(t.Context(), url+test.target, test.field)
					if status != test.status || test.body != "" && body != test.body || (status == 401) != (head.Get("WWW-Authenticate") != "") {
						t.Errorf("%s %.30s: %d %q %v", test.target, test.field, status, body, head)
					}
				}
			}
		})
	}
}

// TestGuardRates: who asks too often is refused before the handler, and told when to come again; those who prove badly pay
// tenfold.
func TestGuardRates(t *testing.T) {
	for name, serve := range guards {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config{Admission: server.Admission{Requests: server.RequestRate{Requests: 1, Per: time.Hour, Burst: 2}, Fields: server.FieldsAlways}}
			url := serve(t, cfg, func(string, string) string { return "x" })
			for i, want := range []struct {
				status int
				left   string
			}{{200, `"client";r=1;t=3600`}, {200, `"client";r=0;t=7200`}, {429, `"client";r=0;t=3600`}} {
				status, body, head := ask(t.Context(), url, "Accept: application/json")
				if status != want.status || head.Get("RateLimit") != want.left || head.Get("RateLimit-Policy") != `"client";q=1;w=3600` {
					t.Errorf("%d: %d %q %v", i, status, body, head)
				}
				if refused := status == 429; refused != (head.Get("Retry-After") != "") || refused != strings.Contains(body, `"violated-policies":["requests"]`) {
					t.Errorf("%d: %q %v", i, body, head)
				}
			}
			cfg, good, over := members(t)
			cfg.Admission.Requests = server.RequestRate{Requests: 1, Per: time.Hour, Burst: 9}
			url = serve(t, cfg, func(string, string) string { return "x" })
			for _, want := range []struct {
				field  string
				status int
			}{{good, 200}, {over, 401}, {good, 429}} {
				if status, body, _ := ask(t.Context(), url+"/in/x", want.field); status != want.status {
					t.Errorf("%.40s: %d %q", want.field, status, body)
				}
			}
		})
	}
}

// TestGuardDownloads: what is beyond the bound waits, beyond the queue it is refused, and everything is given back: of
// handlers that end, that panic, and of clients that are gone while they wait.
func TestGuardDownloads(t *testing.T) {
	for name, serve := range guards {
		t.Run(name, func(t *testing.T) {
			cfg := server.Config{Admission: server.Admission{ClientDownloads: 1, QueueLength: 1, QueueWait: time.Minute}}
			entered, proceed := make(chan string, 8), make(chan bool)
			url := serve(t, cfg, func(path, _ string) string {
				if path == "/gone" { // its turn came before the server saw that it is gone
					return path
				}
				entered <- path
				if path == "/panic" && name == "net/http" { // fasthttp does not recover
					panic(http.ErrAbortHandler)
				}
				<-proceed
				return path
			})
			answers := make(chan string, 8)
			get := func(ctx context.Context, path string) {
				go func() {
					status, body, _ := ask(ctx, url+path)
					answers <- fmt.Sprint(status, " ", body)
				}()
			}
			get(t.Context(), "/first")
			<-entered
			get(t.Context(), "/x")
			get(t.Context(), "/x")
			if refused := <-answers; !strings.HasPrefix(refused, "429 ") {
				t.Error(refused)
			}
			for range 2 { // the first, and the one that waits
				proceed <- true
			}
			if all := []string{<-answers, <-answers}; !slices.Contains(all, "200 /first") || !slices.Contains(all, "200 /x") {
				t.Error(all)
			}
			<-entered
			if name == "net/http" {
				get(t.Context(), "/panic")
				<-answers
				<-entered
				get(t.Context(), "/first")
				<-entered
				queued := func() bool { // it waits for a while, then it is gone
					soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					defer cancel()
					status, _, _ := ask(soon, url+"/gone")
					return status == 0
				}
				if !queued() || !testenv.Eventually(time.Minute, queued) {
					t.Error("who is gone keeps a place in the queue")
				}
				proceed <- true
				<-answers
			}
			get(t.Context(), "/last")
			proceed <- true
			if last := <-answers; last != "200 /last" {
				t.Error(last)
			}
		})
	}
}

// TestGuardLateHandler: what next itself says of the rate stays, and the answer in place of a handler that is late says
// it, too, without a look at what the handler still writes to.
func TestGuardLateHandler(t *testing.T) {
	release, ended := make(chan bool), make(chan bool)
	late := fasthttp.TimeoutWithCodeHandler(func(ctx *fasthttp.RequestCtx) {
		<-release
		ctx.Response.Header.Set("RateLimit", "too late")
		ended <- true
	}, time.Millisecond, "late", 504)
	cfg := server.Config{Admission: server.Admission{Requests: server.RequestRate{Requests: 1, Per: time.Hour, Burst: 9}, Fields: server.FieldsAlways, ClientDownloads: 1}}
	h, err := server.NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := fasthttpServer(t, h, func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/late" {
			late(ctx)
			return
		}
		ctx.Response.Header.Set("RateLimit", "mine")
	})
	for _, want := range []struct {
		path   string
		status int
		left   string
	}{{"/late", 504, `"client";r=8;`}, {"/late", 504, `"client";r=7;`}, {"/own", 200, "mine"}} {
		if status, body, head := ask(t.Context(), front+want.path); status != want.status || !strings.HasPrefix(head.Get("RateLimit"), want.left) {
			t.Errorf("%s: %d %q %v", want.path, status, body, head)
		}
	}
	for range 2 {
		release <- true
		<-ended
	}
}

// TestGuardConfig: a Handler that only guards needs no files, and has none; what it cannot keep is refused.
func TestGuardConfig(t *testing.T) {
	h, err := server.NewHandler(server.Config{Admission: server.Admission{Downloads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	q := server.Query{Target: "/x"}
	q.Method = 1
	a := h.Answer(&q)
	defer a.Close()
	if a.Status() != 404 {
		t.Error(a.Status())
	}
	cfg := server.Config{Identity: server.Identity{Tiers: map[string]server.Tier{"a": {Quota: server.Quota{Bytes: 1}}}}, Site: site(t.TempDir())}
	if _, err := server.NewHandler(cfg); !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), "quota") {
		t.Error(err)
	}
	if _, err := server.NewHandler(server.Config{}); !errors.Is(err, server.ErrConfig) {
		t.Error(err)
	}
}
