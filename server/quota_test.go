package server_test

import (
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/quota"
)

// limited is the configuration of a server whose clients have a quota, which is kept in a directory. A test in which a
// day of UTC may end is skipped.
func limited(t *testing.T, dir, text string) server.Config {
	t.Helper()
	if now := time.Now().UTC(); now.Add(5*time.Minute).Day() != now.Day() {
		t.Skip("the day is about to end, and with it what was used of quotas")
	}
	q, err := server.ParseQuota(text)
	if err != nil {
		t.Fatal(err)
	}
	return server.Config{
		Identity: server.Identity{Tier: "all", Tiers: map[string]server.Tier{"all": {Quota: q}}}, QuotaDir: dir,
		Engine: engine.Config{Loops: 2, Limits: &shape.Config{}},
	}
}

// used returns what the client of the tests has had.
func (g *rig) used() (n int64) {
	for _, a := range g.srv.Quotas().Named(quota.OfAddress+"127.0.0.1", time.Now().Unix()) {
		n += a.Used()
	}
	return n
}

// What is used up is refused, with the time of the next day, after a new start, too.
func TestQuota(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		dir := t.TempDir()
		g := start(t, d, limited(t, dir, "1MiB/day"))
		p := g.pattern("f", 1, 600_000)
		g.write("small", "small")
		c := g.dial()
		c.get("/small").want(t, 200, "small")
		c.get("/f").want(t, 200, string(p.Bytes(0, 600_000)))
		c.get("/f").want(t, 200, string(p.Bytes(0, 600_000))) // it had something left
		r := c.get("/small")
		if s, err := strconv.Atoi(r.get("Retry-After")); r.status != http.StatusTooManyRequests || err != nil || s < 1 || s > 24*60*60+5 {
			t.Errorf("%d, Retry-After %q", r.status, r.get("Retry-After"))
		}
		if !testenv.Eventually(patience, func() bool { return g.used() > 1_200_000 && g.used() < 1_202_000 }) {
			t.Errorf("%d bytes are counted", g.used())
		}
		if err := g.srv.Close(); err != nil {
			t.Fatal(err)
		}
		again := limited(t, dir, "1MiB/day")
		again.Root = g.root
		g = serve(t, d, again)
		if r := g.dial().get("/small"); r.status != http.StatusTooManyRequests {
			t.Errorf("after a new start: %d", r.status)
		}
		g.srv.Quotas().Named(quota.OfAddress+"127.0.0.1", time.Now().Unix())[0].Set(0)
		g.dial().get("/small").want(t, 200, "small")
		if g.srv.Quotas().Refused() != 1 {
			t.Errorf("%d are counted as refused", g.srv.Quotas().Refused())
		}
	})
}

// A response that is under way when it is used up is cut, or goes on slowly.
func TestQuotaUnderWay(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const size = 64 << 20
		g := start(t, d, limited(t, "", "20MiB/day then cut"))
		p := g.pattern("f", 1, size)
		c := g.dial()
		c.send(request(http.MethodGet, "/f"))
		if n := c.wantReset(); n > 22<<20 {
			t.Errorf("cut after %d bytes of 20 MiB", n)
		}
		g.wantEnds(engine.Aborted, 1)
		if n := g.used(); n < 20<<20 || n > 22<<20 {
			t.Errorf("%d bytes are counted", n)
		}
		if r := g.dial().get("/f"); r.status != http.StatusTooManyRequests {
			t.Errorf("%d", r.status)
		}
		slow := limited(t, "", "2MiB/day then 1MiB/s")
		slow.Root = g.root
		s := serve(t, d, slow)
		began := time.Now()
		c = s.dial()
		c.send("GET /f HTTP/1.1\r\nHost: h\r\nRange: bytes=0-5242879\r\n\r\n")
		c.read(http.MethodGet).want(t, 206, string(p.Bytes(0, 5<<20)))
		if took := time.Since(began); took < time.Second {
			t.Errorf("3 MiB beyond the quota took %v at 1 MiB/s", took)
		}
		began = time.Now()
		c.send("GET /f HTTP/1.1\r\nHost: h\r\nRange: bytes=0-2097151\r\n\r\n")
		c.read(http.MethodGet).want(t, 206, string(p.Bytes(0, 2<<20)))
		if took := time.Since(began); took < time.Second/2 {
			t.Errorf("2 MiB of a new request took %v at 1 MiB/s", took)
		}
	})
}

// A link is good for so many bytes, whoever uses it.
func TestQuotaOfLink(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := paid(t)
		cfg.QuotaDir = filepath.Join(t.TempDir(), "quota")
		cfg.Trust = mustTrust(t, "127.0.0.1")
		g := start(t, d, cfg)
		large := strings.Repeat("x", 1000)
		writeFile(t, filepath.Join(g.root, "paid/large"), []byte(large))
		query := signed(t, "/paid/large", func(p *server.LinkPolicy) { p.Bytes, p.ID = 2500, "7" })
		c := g.dial()
		c.get("/paid/large"+query).want(t, 200, large)
		c.get("/paid/large"+query, "X-Forwarded-For: 192.0.2.7").want(t, 200, large)
		if r := g.dial().get("/paid/large" + query); r.status != http.StatusGone {
			t.Errorf("used up: %d", r.status)
		}
		if _, err := linkKey.Sign(&server.LinkPolicy{Path: "/paid/f", Expires: time.Now().Add(time.Hour), Bytes: 1}); err == nil {
			t.Error("a link without an id is good for a byte")
		}
	})
}

// Who has less than what a used-up quota slows down to keeps it: by its tier, or as each client.
func TestQuotaSpeedsNobodyUp(t *testing.T) {
	for name, limit := range map[string]func(*server.Config, *server.Tier){
		"tier":          func(_ *server.Config, all *server.Tier) { all.Rate = 2 << 20 },
		"limits.client": func(cfg *server.Config, _ *server.Tier) { cfg.Engine.Limits.Client.Rate = 2 << 20 },
		"tier without a rate": func(cfg *server.Config, all *server.Tier) {
			cfg.Engine.Limits.Client.Rate, all.Weight = 2<<20, 10
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d engine.DriverKind) {
				cfg := limited(t, "", "256KiB/day then 1GiB/s")
				all := cfg.Identity.Tiers["all"]
				limit(&cfg, &all)
				cfg.Identity.Tiers["all"] = all
				g := start(t, d, cfg)
				p := g.pattern("f", 1, 3<<20)
				for range 2 { // by the first one it is used up, the second begins like that
					began := time.Now()
					g.dial().get("/f").want(t, 200, string(p.Bytes(0, 3<<20)))
					if took := time.Since(began); took < time.Second {
						t.Errorf("3 MiB at 2 MiB/s took %v", took)
					}
				}
			})
		})
	}
}
