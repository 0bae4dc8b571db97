package server_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/release"
)

// A swap that fails changes no release, whatever it fails by.
func TestFailedSwapLeavesReleases(t *testing.T) {
	var cfg server.Config
	g, _ := withRelease(t, engine.DriverFallback, func(_ *server.Release, c *server.Config) {
		*c = withTLS(t, *c)
		cfg = *c
	})
	before := g.srv.Releases()["web"]
	r := before.Config
	r.Steps = []server.ReleaseStep{{Weight: 1}}
	cfg.Releases = map[string]server.Release{"web": r}
	bad := cfg
	bad.TLS.KeyFile = bad.TLS.CertFile
	if err := g.srv.Swap(bad); err == nil {
		t.Fatal("a pair without a key is taken")
	}
	if g.srv.Releases()["web"] != before || before.Weight() != 0.05 {
		t.Errorf("at %v after a swap that has failed", before.Weight())
	}
	mustSwap(t, g.srv, cfg)
	if got := g.srv.Releases()["web"]; got == before || got.Weight() != 1 {
		t.Errorf("at %v after a swap", got.Weight())
	}
}

// A canary whose file system does not answer any more is taken back, and the server ends all the same.
func TestSilentCanaryIsTakenBack(t *testing.T) {
	var slow *testenv.SlowFS
	g, _ := withRelease(t, engine.DriverFallback, func(r *server.Release, _ *server.Config) {
		var root string
		root, _, slow = slowMount(t)
		r.Canary.Root = filepath.Join(root, "slow")
	})
	slow.Delay("getattr", time.Hour)
	slow.Delay("lookup", time.Hour)
	r := g.srv.Releases()["web"]
	if !testenv.Eventually(3*patience, func() bool { return r.Saved().Phase == release.RolledBack }) {
		t.Fatalf("%+v", r.Saved())
	}
	if why := r.Saved().Why; !strings.Contains(why, "does not answer") {
		t.Error(why)
	}
	if err := g.srv.Close(); err != nil { // before it answers again
		t.Error(err)
	}
	slow.Delay("getattr", 0)
	slow.Delay("lookup", 0)
}
