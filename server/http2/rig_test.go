package http2_test

import (
	crypto "crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/http2"
)

func TestMain(m *testing.M) {
	new(fasthttp.ResponseHeader).Header() // starts a clock that never ends
	os.Exit(testenv.Main(m))
}

// patience bounds every wait of a test; no test is right or wrong by less.
const patience = 20 * time.Second

// onBoth runs a test on each driver.
func onBoth(t *testing.T, test func(t *testing.T, d engine.DriverKind)) {
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, engine.DriverUring)
	})
	t.Run("fallback", func(t *testing.T) { test(t, engine.DriverFallback) })
}

// rig is a running server with HTTP/2.
type rig struct {
	*testing.T
	srv        *server.Server
	root, addr string // of TLS
}

// start runs a server until the end of the test, which fails if descriptors or goroutines are
// left then.
func start(t *testing.T, d engine.DriverKind, cfg server.Config) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	g := &rig{T: t, root: t.TempDir()}
	cfg.Root, cfg.Listen = g.root, []string{"localhost:0"}
	cfg.Engine.Driver, cfg.Log = d, slog.New(slog.NewTextHandler(io.Discard, nil))
	if cfg.Engine.Loops == 0 {
		cfg.Engine.Loops = 1
	}
	cfg.TLS.HTTP2, cfg.TLS.Listen = http2.Protocol{}, []string{"127.0.0.1:0"}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = testenv.KeyPair(t)
	var err error
	if g.srv, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.srv.Close() })
	g.addr = g.srv.TLSAddrs()[0].String()
	return g
}

var settled = time.Date(2024, 5, 17, 10, 20, 30, 0, time.UTC)

// write makes a file below the root that is no longer young.
func (g *rig) write(name string, content []byte) {
	g.Helper()
	path := filepath.Join(g.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		g.Fatal(err)
	}
	if err := os.Chtimes(path, settled, settled); err != nil {
		g.Fatal(err)
	}
}

// client returns a client that speaks HTTP/2, or HTTP/1.1, and nothing else.
func (g *rig) client(h2 bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: &crypto.Config{InsecureSkipVerify: true}, Protocols: &p, DisableCompression: true}
	g.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (g *rig) url(path string) string { return "https://" + g.addr + path }

// loops returns the sum over all loops of a number.
func (g *rig) loops(number func(*loop.Stats) int) (sum int) {
	for _, s := range g.srv.Engine().Stats() {
		sum += number(&s)
	}
	return sum
}

// wantLoops fails the test unless a number of the loops becomes n.
func (g *rig) wantLoops(what string, n int, number func(*loop.Stats) int) {
	g.Helper()
	if !testenv.Eventually(patience, func() bool { return g.loops(number) == n }) {
		g.Errorf("%d %s, want %d", g.loops(number), what, n)
	}
}
