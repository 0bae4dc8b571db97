package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// apiKey returns the line of a key in its file.
func apiKey(user, key string, more ...string) string {
	hash := sha256.Sum256([]byte(key))
	return strings.Join(append([]string{user, hex.EncodeToString(hash[:])}, more...), " ") + "\n"
}

// An open breaker refuses tiers, answers one request in five of the highest, and cuts nothing off.
func TestBreaker(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		keys := filepath.Join(t.TempDir(), "keys")
		writeFile(t, keys, []byte(apiKey("vip", "key of vip", "tier=vip")+apiKey("joe", "key of joe")))
		office, err := server.ParseNetworks([]string{"192.0.2.0/24"})
		if err != nil {
			t.Fatal(err)
		}
		root := dirWith(t, "f", "f", "members/f", "members")
		g := start(t, d, server.Config{
			Site: server.Site{Root: root}, Trust: mustTrust(t, "127.0.0.1"),
			Locations: []server.Location{{Match: "/members/", Site: server.Site{Root: root, Require: server.ByKey}}},
			Identity: server.Identity{Keys: keys, Tiers: map[string]server.Tier{
				"vip": {Rate: 20 << 20, Networks: office}, "ordinary": {Rate: rate.Rate(2 << 20)},
			}},
			Engine: engine.Config{Loops: 2, Limits: &shape.Config{Connection: shape.Limit{Rate: 300_000, Burst: 1000}}},
		})
		p := g.pattern("large", 1, 600_000)
		c, running := g.dial(), g.dial()
		running.send(request(http.MethodGet, "/large"))
		if !testenv.Eventually(patience, func() bool { return g.srv.Stats().Loops[0].Sending+g.srv.Stats().Loops[1].Sending == 1 }) {
			t.Fatal("nothing is under way")
		}
		g.srv.Breaker().Force(true, time.Hour)
		for name, test := range map[string]struct {
			path, field string
			answered    int // of ten requests
		}{
			"nobody":        {"/f", "Accept: */*", 0},
			"ordinary":      {"/members/f", "X-API-Key: key of joe", 0},
			"vip":           {"/members/f", "X-API-Key: key of vip", 2},
			"in the office": {"/f", "X-Forwarded-For: 192.0.2.7", 2},
			"a wrong key":   {"/members/f", "X-API-Key: guessed", 0},
		} {
			n := 0
			for range 10 {
				r := c.get(test.path, test.field)
				switch r.status {
				case 200:
					n++
				case 503:
					if s, err := strconv.Atoi(r.get("Retry-After")); err != nil || s < 3000 || s > 3605 {
						t.Errorf("%s: Retry-After %q", name, r.get("Retry-After"))
					}
				default:
					t.Errorf("%s: %d", name, r.status)
				}
			}
			if n != test.answered {
				t.Errorf("%s: %d of ten requests are answered, want %d", name, n, test.answered)
			}
		}
		running.read(http.MethodGet).want(t, 200, string(p.Bytes(0, 600_000)))
		g.srv.Breaker().Auto()
		c.get("/f").want(t, 200, "f")
		if n := g.srv.Breaker().Refused(); n != 46 {
			t.Errorf("%d are counted as refused, want 46", n)
		}
		if n := g.logs.count("breaker"); n != 2 {
			t.Errorf("%d lines in the log, want 2", n)
		}
	})
}

// What is measured opens it, and a configuration that does not look at that closes it.
func TestBreakerOpensByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Breaker: server.Breaker{LoopLag: time.Hour, Memory: 1, Descriptors: 1}})
		g.write("f", "f")
		c := g.dial()
		c.get("/f").want(t, 200, "f")
		for _, much := range []server.Breaker{{LoopLag: 1}, {Descriptors: 1e-9}, {Profiles: []string{"evening"}}} {
			g.srv.Breaker().InForce([]string{"evening"})
			if err := g.srv.Swap(server.Config{Site: server.Site{Root: g.root}, Breaker: much}); err != nil {
				t.Fatal(err)
			}
			if !testenv.Eventually(patience, func() bool { return c.get("/f").status == 503 }) {
				t.Errorf("%+v does not open it", much)
			}
			if err := g.srv.Swap(server.Config{Site: server.Site{Root: g.root}}); err != nil {
				t.Fatal(err)
			}
			c.get("/f").want(t, 200, "f")
		}
		g.srv.Breaker().Force(true, time.Millisecond)
		if !testenv.Eventually(patience, func() bool { return c.get("/f").status == 200 }) {
			t.Error("an order outlives its time")
		}
		if err := g.srv.Swap(server.Config{Site: server.Site{Root: g.root}, Breaker: server.Breaker{Memory: 2}}); err == nil {
			t.Error("200% of the memory is taken")
		}
	})
}

// Who is let in by its address alone is of the tier of that, whatever the breaker has seen of a proof.
func TestBreakerFindsNobodyWhereNoProofIsNeeded(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		keys := filepath.Join(t.TempDir(), "keys")
		writeFile(t, keys, []byte(apiKey("joe", "key of joe")))
		local, err := server.ParseNetworks([]string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		site := server.Site{Root: dirWith(t, "f", "f"), Require: server.ByKey, Either: true}
		site.Access.Allow = local
		g := start(t, d, server.Config{Site: site, Identity: server.Identity{Keys: keys, Tier: "all", Tiers: map[string]server.Tier{"all": {Rate: 20 << 20}}}})
		g.srv.Breaker().Force(true, time.Hour)
		c, answered := g.dial(), 0
		for range 10 {
			if c.get("/f", "X-API-Key: guessed").status == 200 {
				answered++
			}
		}
		for tier, n := range g.srv.Identity().TierResponses() {
			if answered != 2 || n != 2 {
				t.Errorf("%d of ten requests are answered, %d of the tier %s", answered, n, tier)
			}
		}
	})
}
