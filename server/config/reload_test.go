package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// rig is a Reloader with its files and what it did.
type rig struct {
	t     *testing.T
	dir   string
	file  string
	state string
	r     *Reloader

	mu      sync.Mutex
	log     bytes.Buffer
	applied []string // root of the configurations: what was called with what
	refuse  func(next *Config) error
	check   func(*Config) error
}

func (g *rig) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.Write(p)
}

func (g *rig) logged() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

// count is how many times Apply was called.
func (g *rig) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.applied)
}

func newRig(t *testing.T, content string) *rig {
	t.Helper()
	dir := t.TempDir()
	g := &rig{t: t, dir: dir, file: filepath.Join(dir, "etc", "f.yaml"), state: filepath.Join(dir, "state")}
	if content != "" {
		g.write(content)
	}
	return g
}

func (g *rig) write(content string) { g.t.Helper(); write(g.t, g.dir, "etc/f.yaml", content) }

func (g *rig) start(args ...string) error {
	g.t.Helper()
	var err error
	g.r, err = Start(sources(g.t, nil, append([]string{"--config", g.file, "--state-dir", g.state}, args...)...), Hooks{
		Log:   slog.New(slog.NewTextHandler(g, nil)),
		Check: g.checks, Apply: g.apply,
	})
	return err
}

// up starts and fails the test if that fails.
func (g *rig) up(args ...string) {
	g.t.Helper()
	if err := g.start(args...); err != nil {
		g.t.Fatal(err)
	}
	g.r.Started()
}

func (g *rig) checks(l *Loaded) error {
	if g.check != nil {
		return g.check(l.Config)
	}
	return nil
}

func (g *rig) apply(old, next *Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applied = append(g.applied, fmt.Sprintf("%v -> %v", old.Limits.Client, next.Limits.Client))
	if g.refuse != nil {
		return g.refuse(next)
	}
	return nil
}

func (g *rig) kept() string {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.state, lastGood))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

func TestReload(t *testing.T) {
	g := newRig(t, "root: /r\nlimits: {client: 1MiB/s}\n")
	g.up()
	old := g.r.Config()
	g.write("root: /r\nclient_header: forwarded\nworkers: 3\nlimits: {client: 2MiB/s}\n")
	changes, err := g.r.Reload("test")
	if err != nil || len(changes) != 3 {
		t.Fatalf("%v, %v", changes, err)
	}
	s := g.r.State()
	if c := s.Active; c == old || c.ClientHeader != 0 || c.Workers != 0 || c.Limits.Client.Rate != 2<<20 {
		t.Errorf("in force: %+v", c)
	}
	if old.Limits.Client.Rate != 1<<20 {
		t.Error("the old configuration was changed")
	}
	if len(s.Pending) != 2 || s.Pending[0].Path != "client_header" || s.Pending[1].Path != "workers" || s.Reloads != 1 || s.Failures != 0 || s.LastError != nil || s.LastReload.IsZero() {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"a change needs a restart\" path=client_header old=auto new=forwarded", "changed\" path=limits.client old=1MiB/s new=2MiB/s", "configuration reloaded\" cause=test changed=1 need_restart=2"} {
		if !strings.Contains(g.logged(), want) {
			t.Errorf("not logged: %s\n%s", want, g.logged())
		}
	}
	// What is pending is so until the restart, or until it is taken back.
	if changes, err := g.r.Reload("again"); err != nil || len(changes) != 2 || g.count() != 2 {
		t.Errorf("%v, %v, applied %v", changes, err, g.applied)
	}
	g.write("root: /r\nlimits: {client: 2MiB/s}\n")
	if changes, err := g.r.Reload("taken back"); err != nil || len(changes) != 0 || len(g.r.State().Pending) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
}

// A bad file changes nothing and is reported, whatever is wrong with it.
func TestBadReload(t *testing.T) {
	const good = "root: /r\nlimits: {client: 1MiB/s}\n"
	for name, spoil := range map[string]func(g *rig){
		"syntax":    func(g *rig) { g.write("root: [") },
		"value":     func(g *rig) { g.write("root: /r\nlimits: {client: 2}\n") },
		"sense":     func(g *rig) { g.write("root: /r\nlimits: {client: 2MiB/s}\nworkers: -1\n") },
		"missing":   func(g *rig) { os.Remove(g.file) },
		"directory": func(g *rig) { os.Remove(g.file); os.Mkdir(g.file, 0o755) },
		"second":    func(g *rig) { write(g.t, g.dir, "etc/conf.d/a.yaml", "x") },
		"machine":   func(g *rig) { g.check = func(*Config) error { return errors.New("no such root") } },
		"not applied": func(g *rig) {
			g.write("root: /r\nlimits: {client: 2MiB/s}\n")
			g.refuse = func(next *Config) error {
				if next.Limits.Client.Rate == 2<<20 {
					return errors.New("full")
				}
				return nil
			}
		},
	} {
		g := newRig(t, good)
		g.up()
		before, kept := g.r.Config(), g.kept()
		spoil(g)
		if _, err := g.r.Reload("test"); err == nil {
			t.Errorf("%s: no error", name)
		}
		s := g.r.State()
		if s.Active != before || s.Failures != 1 || s.LastError == nil || s.Pending != nil {
			t.Errorf("%s: %+v", name, s)
		}
		if !strings.Contains(g.logged(), "not reloaded") || g.kept() != kept {
			t.Errorf("%s: logged %s, kept %s", name, g.logged(), g.kept())
		}
		if name == "not applied" && strings.Join(g.applied, ", ") != "1MiB/s -> 2MiB/s, 2MiB/s -> 1MiB/s" {
			t.Errorf("%s: %v", name, g.applied)
		}
	}
}

// What is kept is what files said and what was in force: neither flags nor what
// waits for a restart.
func TestLastGood(t *testing.T) {
	g := newRig(t, "root: /r\nlimits: {client: 1MiB/s, paths: {/a/: 1MiB/s}}\nadmin: {token: hush}\n")
	g.up("--workers=2")
	const first = lastGoodMark + "root: /r\nlimits:\n  client: 1MiB/s\n  paths:\n    /a/: 1MiB/s\nadmin:\n  token: hush\n"
	if g.kept() != first {
		t.Errorf("kept %s", g.kept())
	}
	info, err := os.Stat(filepath.Join(g.state, lastGood))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	g.write("root: /r\nworkers: 5\nlimits: {global: 1GB/s, paths: {/b/: 1MiB/s}}\n")
	if _, err := g.r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	const second = lastGoodMark + "root: /r\nlimits:\n  global: 1GB/s\n  paths:\n    /b/: 1MiB/s\nadmin:\n  token: hush\n"
	if g.kept() != second {
		t.Errorf("kept %s", g.kept())
	}

	// A restart with a broken file starts from it, if that is wanted.
	g.write("root: [")
	if err := g.start(); err == nil || !strings.Contains(err.Error(), ":2:1: not YAML") {
		t.Errorf("without --config-fallback: %v", err)
	}
	g.up("--config-fallback", "--workers=2")
	s := g.r.State()
	if !s.Fallback || s.LastError == nil || s.Active.Root != "/r" || s.Active.Limits.Global.Rate != 1e9 || s.Active.Workers != 2 {
		t.Errorf("%+v, %+v", s, s.Active)
	}
	if !strings.Contains(g.logged(), "CONFIGURATION CANNOT BE USED") || g.kept() != second {
		t.Errorf("logged %s, kept %s", g.logged(), g.kept())
	}
	// It is left when the file is mended.
	g.write("root: /r\n")
	if _, err := g.r.Reload("mended"); err != nil || g.r.State().Fallback || g.r.Config().Limits.Global.Rate != shape.Unlimited {
		t.Errorf("%v, %+v", err, g.r.State())
	}
	if want := lastGoodMark + "root: /r\nadmin:\n  token: hush\n"; g.kept() != want {
		t.Errorf("kept %s", g.kept())
	}
}

// The fallback is no way around a configuration that never was.
func TestNoLastGood(t *testing.T) {
	for name, prepare := range map[string]func(g *rig){
		"none":    func(*rig) {},
		"foreign": func(g *rig) { write(g.t, g.dir, "state/"+lastGood, "root: /r\n") },
		"broken":  func(g *rig) { write(g.t, g.dir, "state/"+lastGood, lastGoodMark+"root: [\n") },
		"machine": func(g *rig) {
			write(g.t, g.dir, "state/"+lastGood, lastGoodMark+"root: /r\n")
			g.check = func(*Config) error { return errors.New("no such root") }
		},
	} {
		g := newRig(t, "root: [")
		prepare(g)
		if err := g.start("--config-fallback"); err == nil || !strings.Contains(err.Error(), "f.yaml:2:1") || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where nothing can be kept the server goes on.
func TestUnwritableState(t *testing.T) {
	g := newRig(t, "root: /r\n")
	write(t, g.dir, "state", "a file")
	g.up()
	if !strings.Contains(g.logged(), "the last good configuration is not kept") {
		t.Errorf("logged %s", g.logged())
	}
}

// Without files a reload finds nothing new.
func TestReloadWithoutFiles(t *testing.T) {
	r, err := Start(sources(t, nil, "--root=/r", "--state-dir", filepath.Join(t.TempDir(), "none")), Hooks{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r.Started()
	if changes, err := r.Reload("test"); err != nil || len(changes) != 0 {
		t.Errorf("%v, %v", changes, err)
	}
}

// Ten thousand reloads leave nothing behind.
func TestManyReloads(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 500
	}
	g := newRig(t, "root: /r\n")
	g.up("--state-dir=") // a disk is not what this is about
	g.r.hooks.Log = slog.New(slog.DiscardHandler)
	var last Limit
	g.r.hooks.Apply = func(_, next *Config) error { last = next.Limits.Client; return nil }
	before, heap := openFiles(t), heapBytes()
	for i := range n {
		g.write(fmt.Sprintf("root: /r\nlimits: {client: %dKiB/s}\n", i+1))
		if _, err := g.r.Reload("test"); err != nil {
			t.Fatal(err)
		}
		if want := shape.Rate((i + 1) << 10); last.Rate != want {
			t.Fatalf("%v in force, want %v", last.Rate, want)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d open files, %d before", after, before)
	}
	if grown := heapBytes() - heap; grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Limits are changed in a shaper as far as they differ.
func TestRetune(t *testing.T) {
	limits := func(text string) *Limits {
		t.Helper()
		c, fault := read("root: /r\nlimits: " + text + "\n")
		if fault != "" {
			t.Fatal(fault)
		}
		return &c.Limits
	}
	a := limits("{global: 1GB/s, client: 1MiB/s, burst: 1MiB, paths: {/a/: 1MiB/s, /b/: {rate: 2MiB/s, weight: 3}}}")
	b := limits("{global: {rate: 1GB/s, burst: 2MiB}, connection: 1KiB/s, burst: 2MiB, paths: {/b/: {rate: 2MiB/s, weight: 4}, /c/: {priority: 2}}}")
	s, err := shape.New(a.Shape())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Retune(s, b); err != nil {
		t.Fatal(err)
	}
	want, err := shape.New(b.Shape())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", s.Limits()), fmt.Sprintf("%+v", want.Limits()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	epoch := s.Epoch()
	if err := b.Retune(s, b); err != nil || s.Epoch() != epoch {
		t.Errorf("%v, epoch %d, was %d", err, s.Epoch(), epoch)
	}
}
