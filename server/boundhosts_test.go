package server_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// bound is a configuration of two listeners, two more for TLS, and hosts that answer at some of
// them. The serial numbers of certificates are 1 for the default, 2 for shop and 3 for any.
func bound(t testing.TB) server.Config {
	t.Helper()
	const plain, other, secure, inner = "127.0.0.1:0", "localhost:0", "127.0.0.2:0", "127.0.0.3:0"
	in := func(name string) server.Site { return site(dirWith(t, "f", name)) }
	cfg := withTLS(t, server.Config{Site: in("above"), Hosts: []server.Host{
		{Names: []string{"a.example"}, Site: in("everywhere")},
		{Names: []string{"shop.example"}, Listen: []string{plain}, Site: server.Site{Redirect: server.Redirect{To: "https://{host}{uri}", Status: 301}}},
		{Names: []string{"shop.example"}, ID: "shop.example:443", Listen: []string{secure}, Site: in("shop")},
		{Names: []string{"in.example"}, Listen: []string{other, inner}, Site: in("in")},
		{Names: []string{"any"}, Listen: []string{other, inner}, Default: true, Site: in("any")},
	}})
	cfg.Listen, cfg.TLS.Listen = []string{plain, other}, []string{secure, inner}
	cfg.TLS.HostPairs = map[string][]server.KeyPair{
		"shop.example:443": {pairFor(t, 2, ecdsaKey(t), "shop.example")},
		"any":              {pairFor(t, 3, ecdsaKey(t), "any")},
	}
	return cfg
}

// A host with Listen is there at these listeners only; Default takes what nobody else has, and its
// certificate shows it.
func TestHostsByListener(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, bound(t))
		for _, test := range []struct {
			at             int // plain, other, secure, inner
			host, want     string
			serial, noName int64
		}{
			{0, "a.example", "everywhere", 0, 0},
			{0, "shop.example", "301 https://shop.example/f", 0, 0},
			{0, "in.example", "above", 0, 0},
			{0, "none", "above", 0, 0},
			{1, "a.example", "everywhere", 0, 0},
			{1, "shop.example", "any", 0, 0},
			{1, "in.example", "in", 0, 0},
			{1, "none", "any", 0, 0},
			{2, "a.example", "everywhere", 1, 1},
			{2, "shop.example", "shop", 2, 1},
			{2, "any", "above", 1, 1},
			{3, "a.example", "everywhere", 3, 3},
			{3, "shop.example", "any", 3, 3},
			{3, "in.example", "in", 3, 3},
			{3, "any", "any", 3, 3},
		} {
			addr := append(g.srv.Addrs(), g.srv.TLSAddrs()...)[test.at]
			dial := func(name string) (c *tlsClient) {
				tcp, err := net.DialTimeout("tcp", addr.String(), patience)
				if err != nil {
					t.Fatal(err)
				}
				if c, err = g.secure(tcp, &tls.Config{ServerName: name}); err != nil {
					t.Fatal(err)
				}
				return c
			}
			request, got := "GET /f HTTP/1.1\r\nHost: "+test.host+"\r\n\r\n", (*response)(nil)
			if test.at < 2 {
				c := (&rig{t: t, addr: addr.String()}).dial()
				c.send(request)
				got = c.read("GET")
			} else {
				for name, want := range map[string]int64{test.host: test.serial, "": test.noName} {
					c := dial(name)
					if n := c.conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); n != want {
						t.Errorf("listener %d, name %q: certificate %d, want %d", test.at, name, n, want)
					}
					c.send(request)
					got = c.read("GET")
				}
			}
			text := string(got.body)
			if got.status == 301 {
				text = "301 " + got.get("Location")
			}
			if text != test.want {
				t.Errorf("listener %d, host %s: %d %q, want %q", test.at, test.host, got.status, text, test.want)
			}
		}
	})
}

// What cannot be found, or found twice, is refused; a redirect to another listener is no loop.
func TestBoundHostsAreChecked(t *testing.T) {
	dir := dirWith(t, "f", "f")
	host := func(redirect string, name string, listen ...string) server.Host {
		return server.Host{Names: []string{name}, ID: name + strings.Join(listen, ""), Listen: listen, Site: server.Site{Root: dir, Redirect: server.Redirect{To: redirect}}}
	}
	fallback := func(h server.Host) server.Host { h.Default = true; return h }
	for name, test := range map[string]struct {
		hosts []server.Host
		want  string
	}{
		"elsewhere":     {[]server.Host{host("", "a", ":81")}, `":81" is not listened on`},
		"twice":         {[]server.Host{host("", "a", ":80"), host("", "a", ":80", ":8080")}, "there is a host of this name already"},
		"apart":         {[]server.Host{host("", "a", ":80"), host("", "a", ":8080")}, ""},
		"two defaults":  {[]server.Host{fallback(host("", "a")), fallback(host("", "b", ":80"))}, "host a is the default already"},
		"default apart": {[]server.Host{fallback(host("", "a", ":8080")), fallback(host("", "b", ":80"))}, ""},
		"any name":      {[]server.Host{fallback(host("https://{host}/", "a"))}, "{host} is whatever a client says"},
		"circle":        {[]server.Host{host("http://b:8080{uri}", "a", ":80"), host("http://a{uri}", "b", ":8080")}, "a loop"},
		"to the other":  {[]server.Host{host("http://b:8080{uri}", "a", ":80"), host("", "b", ":8080")}, ""},
		"there and on":  {[]server.Host{host("http://b:8080{uri}", "a", ":80"), host("http://c:8080/", "b", ":8080"), host("http://a:8080/", "a", ":8080")}, ""},
	} {
		err := server.Check(server.Config{Site: site(dir), Listen: []string{":80", ":8080"}, Hosts: test.hosts})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := server.NewHandler(server.Config{Site: site(dir), Hosts: []server.Host{host("", "a", ":80")}}); err == nil || !strings.Contains(err.Error(), "not listened on") {
		t.Errorf("a Handler, which does not listen: %v", err)
	}
}

// Hosts move between listeners at a Swap.
func TestSwapBindsHosts(t *testing.T) {
	cfg := bound(t)
	g := start(t, engine.DriverFallback, cfg)
	get := func(want string) {
		t.Helper()
		c := (&rig{t: t, addr: g.srv.Addrs()[1].String()}).dial()
		c.send("GET /f HTTP/1.1\r\nHost: in.example\r\n\r\n")
		c.read("GET").want(t, 200, want)
	}
	get("in")
	cfg.Hosts[3].Listen = cfg.Hosts[3].Listen[1:]
	if err := g.srv.Swap(cfg); err != nil {
		t.Fatal(err)
	}
	get("any")
	cfg.Hosts[3].Listen = []string{":1"}
	if err := g.srv.Swap(cfg); err == nil || !strings.Contains(err.Error(), "not listened on") {
		t.Errorf("%v", err)
	}
	get("any")
	cfg.Hosts = cfg.Hosts[:1]
	cfg.TLS.HostPairs, cfg.Root = nil, filepath.Clean(g.root)
	if err := g.srv.Swap(cfg); err != nil {
		t.Fatal(err)
	}
	get("above")
}
