package admin_test

import (
	"net/http"
	"testing"

	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

// A successor makes the changes of its predecessor, those for a time for what is left of it,
// and by a second message only what has changed since the first.
func TestInherit(t *testing.T) {
	configured := shape.Config{Client: shape.Limit{Rate: 8 << 20}, Paths: []shape.PathLimit{{Prefix: "/a/", Limit: shape.Limit{Rate: 1 << 20}}}}
	begin := func(c shape.Config) *rig {
		g := start(t, func(sc *server.Config, _ *admin.Config) { sc.Engine.Limits = &c })
		g.tree() // its connection is there before the others look for leaks
		return g
	}
	old, young := begin(configured), begin(configured)
	hand := func() {
		t.Helper()
		text, err := old.admin.Changes(&configured)
		if err == nil {
			err = young.admin.Inherit(text, &configured)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hand() // nothing
	old.change("PUT", "/limits/global", `{"rate":"5MiB/s"}`)
	old.change("PUT", "/limits/global", `{"rate":"6MiB/s","ttl":"2s"}`)
	old.change("PUT", "/limits/client", `{"rate":"7MiB/s"}`)
	old.change("PUT", "/limits/client/1.2.3.4", `{"rate":"1MiB/s","ttl":"2s"}`)
	old.change("PUT", "/limits/path/b/", `{"rate":"2MiB/s"}`)
	old.change("PUT", "/limits/connection", `{"rate":"3MiB/s"}`)
	old.change("DELETE", "/limits/path/a/", "")
	hand()
	v := young.tree()
	if v.Global.Limit.text() != "6MiB/s" || v.Global.Limit.Ends == nil || v.Client.text() != "7MiB/s" || len(v.Paths) != 1 || len(v.Clients) != 1 {
		t.Errorf("after the first: %+v", v)
	}
	young.change("PUT", "/limits/connection", `{"rate":"4MiB/s"}`) // by somebody else, meanwhile
	old.change("DELETE", "/limits/path/b/", "")
	old.change("PUT", "/limits/client", `{"rate":"9MiB/s"}`)
	hand()
	v = young.tree()
	if v.Connection.text() != "4MiB/s" || v.Client.text() != "9MiB/s" || len(v.Paths) != 0 {
		t.Errorf("after the second: %+v", v)
	}
	if !testenv.Eventually(patience, func() bool { v = young.tree(); return v.Global.Limit.text() == "5MiB/s" && len(v.Clients) == 0 }) {
		t.Errorf("when the time is over: %+v", v)
	}
	other := begin(shape.Config{}) // whose configuration says otherwise
	text, err := old.admin.Changes(&configured)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.admin.Inherit(text, &shape.Config{}); err != nil {
		t.Fatal(err)
	}
	if v = other.tree(); v.Client.text() != "unlimited" || v.Connection.text() != "3MiB/s" || len(v.Paths) != 0 {
		t.Errorf("under another configuration: %+v", v)
	}
	if err := other.admin.Inherit([]byte("{"), &configured); err == nil {
		t.Error("inherited: {")
	}
	other.want(http.StatusOK, other.do("GET", "/limits", ""))
}
