package admin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
	"github.com/fserve/fserve/server/quota"
)

// An operator sees what a client has had, and lets it begin anew.
func TestQuota(t *testing.T) {
	q, err := server.ParseQuota("1MiB/month")
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, func(sc *server.Config, _ *admin.Config) {
		sc.Identity = server.Identity{Tier: "all", Tiers: map[string]server.Tier{"all": {Quota: q}}}
	})
	g.file("f", 2<<20)
	g.want(404, g.do("GET", "/quota/127.0.0.1?of=address", ""))
	c := g.client()
	if err := g.get(c, "/f"); err != nil {
		t.Fatal(err)
	}
	if err := g.get(c, "/f"); err == nil {
		t.Error("more than its quota")
	}
	type view struct {
		Period string
		Used   int64
		Ends   time.Time
	}
	v := decode[[]view](t, g.want(200, g.do("GET", "/quota/127.0.0.1?of=address", "")))
	if len(v) != 1 || v[0].Period != "month" || v[0].Used < 2<<20 || v[0].Used > 3<<20 || v[0].Ends.Before(time.Now()) {
		t.Errorf("%+v", v)
	}
	if m := g.do("GET", "/metrics", "").body; !strings.Contains(m, "fserve_quota_refused_total 1") {
		t.Error("no metric")
	}
	g.want(200, g.do("DELETE", "/quota/127.0.0.1?of=address", ""))
	if err := g.get(c, "/f"); err != nil {
		t.Errorf("after DELETE: %v", err)
	}
	if v := decode[[]view](t, g.want(200, g.do("PUT", "/quota/127.0.0.1?of=address", `{"used":"3MiB"}`))); v[0].Used != 3<<20 {
		t.Errorf("%+v", v)
	}
	if err := g.get(c, "/f"); err == nil {
		t.Error("after PUT: more than its quota")
	}
	if !strings.Contains(g.logs.String(), `msg="quota changed" who=127.0.0.1`) {
		t.Error("nobody is told")
	}
	g.want(404, g.do("PUT", "/quota/joe", `{"used":"3MiB"}`))
	g.srv.Quotas().Of([]byte("address 2001:db8::/64"), quota.Month.At(time.Now().Unix())).Set(5)
	for _, name := range []string{"2001:db8::7", "2001:db8::/64"} { // as clients are counted
		if v := decode[[]view](t, g.want(200, g.do("GET", "/quota/"+name+"?of=address", ""))); len(v) != 1 || v[0].Used != 5 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	g.wantProblem(400, "used", g.do("PUT", "/quota/joe", `{"used":"much"}`))
	g.wantProblem(400, "of", g.do("GET", "/quota/joe?of=all", ""))
}
