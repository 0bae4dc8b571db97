package server_test

import (
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
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
