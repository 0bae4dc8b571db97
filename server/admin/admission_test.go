package admin_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

// An operator sees who may ask for how much, and what became of it; and of whom a response is.
func TestAdmission(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, fmt.Appendf(nil, "ann %x tier=slow\n", sha256.Sum256([]byte("the key of ann"))), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, func(sc *server.Config, _ *admin.Config) {
		sc.Admission = server.Admission{Fields: server.FieldsNear, Paths: map[string]server.AdmissionPath{
			"/f": {Downloads: 1}, "/a/": {Requests: server.RequestRate{Requests: 5, Per: time.Second}},
		}}
		sc.Site.Require, sc.Engine.Limits = server.ByKey, new(shape.Config)
		sc.Identity = server.Identity{Keys: keys, Tiers: map[string]server.Tier{"slow": {Rate: 100_000, Quota: server.Quota{Bytes: 1 << 40}}}}
	})
	g.file("f", 64<<20)
	req, err := http.NewRequest(http.MethodGet, g.url("/f"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", "the key of ann")
	resp, err := g.client().Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close() // it is under way to the end of the test
	g.want(http.StatusServiceUnavailable, g.send(g.client(), "GET", g.url("/f"), "", "X-API-Key", "the key of ann"))
	type path struct {
		Prefix, Requests string
		Downloads        int
		UnderWay         int `json:"under_way"`
	}
	v := decode[struct {
		Fields  string
		Paths   []path
		Breaker struct{ State string }
		Quotas  struct{ Accounts int }
		Results map[string]int
	}](t, g.want(200, g.do("GET", "/admission", "")))
	if want := []path{{"/a/", "5/s", 0, 0}, {"/f", "", 1, 1}}; !reflect.DeepEqual(v.Paths, want) {
		t.Errorf("%+v, want %+v", v.Paths, want)
	}
	if v.Fields != "near" || v.Breaker.State != "closed" || v.Quotas.Accounts != 1 || v.Results["path_downloads"] != 1 {
		t.Errorf("%+v", v)
	}
	list := decode[struct {
		Connections []struct {
			Response *struct{ Client, Tier string }
		}
	}](t, g.want(200, g.do("GET", "/connections", "")))
	seen := false
	for _, c := range list.Connections {
		seen = seen || c.Response != nil && c.Response.Tier == "slow" && c.Response.Client == "ann"
	}
	if !seen {
		t.Errorf("%+v", list)
	}
}
