package server_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

func access(t testing.TB, allow, deny string) (a server.Access) {
	t.Helper()
	var err error
	if a.Allow, err = server.ParseNetworks(strings.Fields(allow)); err != nil {
		t.Fatal(err)
	}
	if a.Deny, err = server.ParseNetworks(strings.Fields(deny)); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAccess(t *testing.T) {
	for _, test := range []struct {
		allow, deny string
		client      string // empty: not known; unix: not known, on a Unix socket
		want        bool
	}{
		{"", "", "192.0.2.1", true},
		{"", "", "", true},
		{"192.0.2.0/24", "", "192.0.2.1", true},
		{"192.0.2.0/24", "", "192.0.3.1", false},
		{"192.0.2.0/24", "", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.0/120", "", "192.0.2.1", true},
		{"192.0.2.0/24", "", "2001:db8::1", false},
		{"192.0.2.0/24", "", "", false},
		{"192.0.2.0/24", "", "unix", false},
		{"unix", "", "unix", true},
		{"unix", "", "", false},
		{"unix", "", "192.0.2.1", false},
		{"all", "", "192.0.2.1", true},
		{"all", "", "2001:db8::1", true},
		{"all", "", "unix", true},
		{"", "192.0.2.0/24", "192.0.2.1", false},
		{"", "192.0.2.0/24", "192.0.3.1", true},
		{"", "192.0.2.0/24", "unix", true},
		{"", "unix", "unix", false},
		{"", "all", "2001:db8::1", false},
		{"", "fe80::/10", "fe80::1%eth0", false},
		{"192.0.2.1", "192.0.2.0/24", "192.0.2.1", true}, // the smaller one
		{"192.0.2.1", "192.0.2.0/24", "192.0.2.2", false},
		{"192.0.2.0/24", "192.0.2.1", "192.0.2.1", false},
		{"192.0.2.0/24", "192.0.2.1", "192.0.2.2", true},
		{"192.0.2.0/24", "192.0.2.0/24", "192.0.2.2", false}, // both
		{"192.0.2.1 all", "192.0.2.0/24", "198.51.100.1", true},
	} {
		a, addr := access(t, test.allow, test.deny), netip.Addr{}
		if test.client != "" && test.client != "unix" {
			addr = netip.MustParseAddr(test.client)
		}
		if got := a.Allows(addr, test.client == "unix"); got != test.want {
			t.Errorf("allow %q, deny %q: %q is %t", test.allow, test.deny, test.client, got)
		}
	}
	for _, bad := range []string{"", "x", "192.0.2.0/33", "192.0.2", "192.0.2.1:80"} {
		if _, err := server.ParseNetworks([]string{bad}); err == nil {
			t.Errorf("%q is a network", bad)
		}
	}
}

// Who is refused learns nothing about what there is, and the connection goes on.
func TestRefusedClients(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var called atomic.Int64
		g := start(t, d, server.Config{
			Site: server.Site{
				Root: t.TempDir(), Access: access(t, "", "198.51.100.0/24"),
			},
			Trust: server.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Field: server.ClientFieldXFF},
			Locations: []server.Location{{Prefix: "/private/", Site: server.Site{
				Root: t.TempDir(), Access: access(t, "192.0.2.0/24", ""),
			}}},
			Routes: []server.Route{{Prefix: "/private/handler", Handler: countCalls(&called)}},
		})
		g.write("f.txt", hello)
		c := g.dial()
		for _, test := range []struct {
			method, target, client string
			status                 int
		}{
			{"GET", "/f.txt", "192.0.2.1", 200},
			{"GET", "/f.txt", "198.51.100.1", 403},
			{"OPTIONS", "/f.txt", "198.51.100.1", 403},
			{"GET", "/no", "198.51.100.1", 403},
			{"GET", "/no", "192.0.2.1", 404},
			{"GET", "/private/no", "192.0.2.1", 404},
			{"GET", "/private/no", "203.0.113.1", 403},
			{"GET", "/private/.no", "203.0.113.1", 403},
			{"GET", "/private/", "203.0.113.1", 403},
			{"GET", "/x/../private/no", "203.0.113.1", 403},
			{"GET", "/%70rivate/no", "203.0.113.1", 403},
			{"GET", "//private//no", "203.0.113.1", 403},
			{"GET", "/private/handler", "203.0.113.1", 403},
			{"GET", "/private/handler", "192.0.2.1", 200},
			{"GET", "/private", "203.0.113.1", 301},
		} {
			r := c.do(test.method, test.target, "X-Forwarded-For: "+test.client)
			if r.status != test.status {
				t.Errorf("%s %s by %s: %d, want %d", test.method, test.target, test.client, r.status, test.status)
			}
		}
		if n := called.Load(); n != 1 {
			t.Errorf("the handler was called %d times", n)
		}
		c.send(request("POST", "/private/no", "X-Forwarded-For: 203.0.113.1", "Content-Length: 3") + "abc")
		c.read("POST").want(t, 403)
		c.get("/f.txt").want(t, 200, hello)
	})
}
