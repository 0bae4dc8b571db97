package server_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// patience bounds every wait of a test; no test is right or wrong by less.
var patience = testenv.Patience(20 * time.Second)

// onBoth runs a test on each driver.
func onBoth(t *testing.T, test func(t *testing.T, d engine.DriverKind)) {
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, engine.DriverUring)
	})
	t.Run("fallback", func(t *testing.T) { test(t, engine.DriverFallback) })
}

// rig is a running server and what a test needs to know of it.
type rig struct {
	t    testing.TB
	srv  *server.Server
	root string // the directory that is served
	addr string
	logs *logs
}

// start runs a server until the end of the test, which fails if descriptors or
// goroutines are left then. What cfg leaves out is filled in: a new directory,
// a free port, one event loop.
func start(t testing.TB, d engine.DriverKind, cfg server.Config) *rig {
	t.Helper()
	testenv.LeakCheck(t)
	return serve(t, d, cfg)
}

// serve is start without the check for leaks, for servers that run side by side.
func serve(t testing.TB, d engine.DriverKind, cfg server.Config) *rig {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	if cfg.Engine.Loops == 0 {
		cfg.Engine.Loops = 1
	}
	g := &rig{t: t, root: cfg.Root, logs: &logs{}}
	if len(cfg.Listen) < 2 {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	cfg.Log = slog.New(g.logs)
	cfg.Engine.Driver = d
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-srv.Done(): // the test has ended it
			return
		default:
		}
		if err := srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	g.srv, g.addr = srv, srv.Addrs()[0].String()
	return g
}

// settled is a time of modification that is no longer young.
var settled = time.Date(2024, 5, 17, 10, 20, 30, 123456789, time.UTC)

// write makes a file below the root, with directories, that is no longer young.
func (g *rig) write(name, content string) {
	g.t.Helper()
	writeFile(g.t, filepath.Join(g.root, name), []byte(content))
}

// pattern makes a file of n patterned bytes below the root.
func (g *rig) pattern(name string, seed uint64, n int64) testenv.Pattern {
	g.t.Helper()
	p := testenv.NewPattern(seed)
	path := filepath.Join(g.root, name)
	writeFile(g.t, path, nil)
	f, err := os.Create(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	if err := p.WriteAt(f, 0, n); err != nil {
		g.t.Fatal(err)
	}
	age(g.t, path)
	return p
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	age(t, path)
}

func age(t testing.TB, path string) {
	t.Helper()
	if err := os.Chtimes(path, settled, settled); err != nil {
		t.Fatal(err)
	}
}

// stats returns the sum over all loops of a number.
func (g *rig) stats(number func(*loop.Stats) uint64) (sum uint64) {
	for _, s := range g.srv.Engine().Stats() {
		sum += number(&s)
	}
	return sum
}

// ends returns how many responses have ended in a way.
func (g *rig) ends(e engine.End) uint64 {
	return g.stats(func(s *loop.Stats) uint64 { return s.Ends[e] })
}

// wantEnds fails the test unless n responses end in a way.
func (g *rig) wantEnds(e engine.End, n uint64) {
	g.t.Helper()
	if !testenv.Eventually(patience, func() bool { return g.ends(e) >= n }) || g.ends(e) > n {
		g.t.Errorf("%d responses ended as %q, want %d", g.ends(e), e, n)
	}
}

// wantOpen fails the test unless the number of connections becomes n.
func (g *rig) wantOpen(n int) {
	g.t.Helper()
	open := func() int { return int(g.stats(func(s *loop.Stats) uint64 { return uint64(s.Open) })) }
	if !testenv.Eventually(patience, func() bool { return open() == n }) {
		g.t.Errorf("%d connections are open, want %d", open(), n)
	}
}

// logs collects what a server logs.
type logs struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// count returns how many records have a message.
func (l *logs) count(message string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message == message {
			n++
		}
	}
	return n
}
