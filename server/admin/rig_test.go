package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

// patience bounds every wait of a test; no test is right or wrong by less.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	new(fasthttp.ResponseHeader).Header() // starts fasthttp's clock, which never ends
	os.Exit(testenv.Main(m))
}

// rig is a running origin with an admin handler.
type rig struct {
	t     testing.TB
	srv   *server.Server
	admin *admin.Admin
	root  string
	logs  *logs
	front *httptest.Server // serves the handler
}

// start makes an origin with two event loops and its admin handler. adjust may
// change the configurations.
func start(t testing.TB, adjust func(*server.Config, *admin.Config)) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	g := &rig{t: t, root: t.TempDir(), logs: &logs{}}
	sc := server.Config{
		Site: server.Site{Root: g.root}, Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler),
		Routes: []server.Route{{Prefix: "/named/", Handler: func(ctx *fasthttp.RequestCtx) { server.SetClient(ctx, "user_123") }}},
		Engine: engine.Config{Loops: 2, Driver: engine.DriverFallback, Limits: &shape.Config{}, Sample: true},
	}
	ac := admin.Config{Listen: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(g.logs, nil))}
	if adjust != nil {
		adjust(&sc, &ac)
	}
	var err error
	if g.srv, err = server.New(sc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	ac.Server = g.srv
	if g.admin, err = admin.New(ac); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.admin.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	g.front = httptest.NewServer(g.admin.Handler())
	t.Cleanup(g.front.Close)
	return g
}

// logs collects lines.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request to the admin handler. fields are name, value, ...
func (g *rig) do(method, path, body string, fields ...string) reply {
	g.t.Helper()
	return g.send(g.front.Client(), method, g.front.URL+path, body, fields...)
}

func (g *rig) send(c *http.Client, method, url, body string, fields ...string) reply {
	g.t.Helper()
	var lines []string
	for i := 0; i < len(fields); i += 2 {
		lines = append(lines, fields[i]+": "+fields[i+1])
	}
	a := testenv.Ask(g.t, c, method, url, body, lines...)
	return reply{a.StatusCode, a.Header, a.Body}
}

// want fails the test unless the status is the given one.
func (g *rig) want(status int, r reply) reply {
	g.t.Helper()
	if r.status != status {
		g.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// decode reads an answer.
func decode[T any](t testing.TB, r reply) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// problem is an error as a client reads it.
type problem struct {
	Type, Title, Detail, Field string
	Status                     int
}

// wantProblem fails the test unless the answer is a problem about a field.
func (g *rig) wantProblem(status int, field string, r reply) problem {
	g.t.Helper()
	g.want(status, r)
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		g.t.Errorf("content type %q", ct)
	}
	p := decode[problem](g.t, r)
	if p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" || p.Type != "about:blank" || p.Field != field {
		g.t.Errorf("problem %+v, want field %q", p, field)
	}
	return p
}

// file makes a file of n bytes below the root that is no longer young.
func (g *rig) file(name string, n int64) {
	g.t.Helper()
	path := filepath.Join(g.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	if err := testenv.NewPattern(7).WriteAt(f, 0, n); err != nil {
		g.t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) url(path string) string { return "http://" + g.srv.Addrs()[0].String() + path }

// client is a client of the origin whose connections are closed with the test.
func (g *rig) client() *http.Client {
	tr := &http.Transport{DisableCompression: true}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// get downloads a file and drops it.
func (g *rig) get(c *http.Client, path string) error {
	resp, err := c.Get(g.url(path))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
