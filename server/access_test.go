package server_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pires/go-proxyproto"

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

func trust(t *testing.T, list ...string) server.Trust {
	t.Helper()
	tr, err := server.ParseTrust(list)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// Who is refused and resets at once is refused all the same, and known by address.
func TestRefusedClientsThatReset(t *testing.T) {
	const clients = 500
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var called atomic.Int64
		var buf bytes.Buffer
		a := server.NewAccessLog(&buf)
		g := start(t, d, server.Config{
			Site:      server.Site{Root: t.TempDir(), Access: access(t, "", "127.0.0.0/8")},
			Routes:    []server.Route{{Prefix: "/", Handler: countCalls(&called)}},
			AccessLog: a,
		})
		for range clients {
			c, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte(request("GET", "/handler"))); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		g.once("GET", "/handler").want(t, 403) // after the others
		for _, l := range g.lines(a, &buf) {
			if !strings.HasPrefix(l, "127.0.0.1 ") {
				t.Errorf("a line without the address: %s", l)
			}
		}
		if n := called.Load(); n > 0 {
			t.Errorf("handlers ran for %d of %d", n, clients)
		}
	})
}

// Who has come through a Unix socket at a proxy has no address: such a client is refused
// where anybody is, and is not one on a Unix socket of ours.
func TestClientWithoutAddress(t *testing.T) {
	header := string(proxyproto.SIGV2) + "\x21\x31\x00\xd8" + strings.Repeat("a", 216)
	for _, test := range []struct {
		allow, deny string
		status      int
	}{{"", "192.0.2.0/24", 403}, {"unix", "", 403}, {"all", "", 200}, {"", "", 200}} {
		g := serve(t, engine.DriverFallback, server.Config{
			Site:          server.Site{Root: t.TempDir(), Access: access(t, test.allow, test.deny)},
			ProxyProtocol: []string{"127.0.0.1:0"},
		})
		g.write("f.txt", hello)
		c := g.dial()
		c.send(header + request("GET", "/f.txt"))
		if r := c.read("GET"); r.status != test.status {
			t.Errorf("allow %q, deny %q: %d, want %d", test.allow, test.deny, r.status, test.status)
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
			Locations: []server.Location{{Match: "/private/", Site: server.Site{
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
