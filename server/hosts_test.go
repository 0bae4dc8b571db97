package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// countCalls is a handler that counts its calls.
func countCalls(n *atomic.Int64) fasthttp.RequestHandler {
	return func(*fasthttp.RequestCtx) { n.Add(1) }
}

// dirWith makes a directory with files: names and contents in turn.
func dirWith(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		writeFile(t, filepath.Join(dir, files[i]), []byte(files[i+1]))
	}
	return dir
}

func site(root string) server.Site { return server.Site{Root: root} }

func TestHosts(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		dir := func(name string) string { return dirWith(t, "f", name) }
		cfg := server.Config{Site: server.Site{Root: dir("default")}, Hosts: []server.Host{
			{Names: []string{"a.example", "A2.example."}, Site: site(dir("a"))},
			{Names: []string{"*.example"}, Site: site(dir("any"))},
			{Names: []string{"*.b.example", "[2001:db8::1]", "192.0.2.1"}, Site: site(dir("b"))},
		}}
		g := start(t, d, cfg)
		c := g.dial()
		for range 2 { // the second time from the cache
			for _, test := range []struct{ host, want string }{
				{"a.example", "a"}, {"A.EXAMPLE", "a"}, {"a.example:8080", "a"}, {"a.example.", "a"}, {"a.example.:80", "a"},
				{"a2.example", "a"}, {"c.example", "any"}, {"x.a.example", "any"}, {"example", "default"}, {".example", "default"},
				{"b.example", "any"}, {"x.b.example", "b"}, {"x.y.B.Example:1", "b"}, {"xb.example", "any"},
				{"[2001:db8::1]", "b"}, {"[2001:DB8:0:0::1]:80", "b"}, {"[2001:db8::2]", "default"}, {"192.0.2.1", "b"}, {"192.0.2.1:80", "b"},
				{"", "default"}, {"other", "default"}, {"a.example.com", "default"}, {"*.example", "any"},
			} {
				c.send("GET /f HTTP/1.1\r\nHost: " + test.host + "\r\n\r\n")
				if r := c.read("GET"); string(r.body) != test.want && test.host != "*.example" {
					t.Errorf("%q: %d %q, want %q", test.host, r.status, r.body, test.want)
				}
			}
		}
		// The authority of the target wins (RFC 9112 section 3.2.2).
		c.send("GET http://a.example/f HTTP/1.1\r\nHost: x.b.example\r\n\r\n")
		c.read("GET").want(t, 200, "a")
		c.send("GET HTTP://X.B.EXAMPLE:80/f HTTP/1.1\r\nHost: a.example\r\n\r\n")
		c.read("GET").want(t, 200, "b")
		c.send("GET /f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		c.read("GET").want(t, 200, "default")
		for _, raw := range []string{"GET /f HTTP/1.1\r\n\r\n", "GET /f HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n"} {
			c := g.dial()
			c.send(raw)
			c.read("GET").want(t, 400)
			c.wantEnd()
		}
	})
}

// What a connection was answered with last decides nothing: the host is that of the configuration in
// force and of the name in the request at hand.
func TestHostOfEachRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		hosts := func(a, b string) server.Config {
			return server.Config{Site: site(dirWith(t, "f", "default")), Hosts: []server.Host{
				{Names: []string{"a.example"}, Site: site(dirWith(t, "f", a))},
				{Names: []string{"b.example"}, Site: site(dirWith(t, "f", b))},
			}}
		}
		g := start(t, d, hosts("a", "b"))
		c := g.dial()
		ask := func(host, want string) {
			t.Helper()
			c.send("GET /f HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			c.read("GET").want(t, 200, want)
		}
		for range 3 {
			ask("a.example", "a")
			ask("b.example", "b")
		}
		ask("b.example", "b")
		mustSwap(t, g.srv, hosts("new a", "new b"))
		ask("b.example", "new b")
		ask("a.example", "new a")
		c.send(strings.Repeat("GET /f HTTP/1.1\r\nHost: a.example\r\n\r\nGET /f HTTP/1.1\r\nHost: b.example\r\n\r\n", 2) +
			"GET /f HTTP/1.1\r\nHost: a example\r\n\r\n")
		for range 2 {
			c.read("GET").want(t, 200, "new a")
			c.read("GET").want(t, 200, "new b")
		}
		c.read("GET").want(t, 400)
		c.wantEnd()
	})
}

// Without a root of its own the default host is none.
func TestMisdirected(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		srv, err := server.New(server.Config{
			Listen: []string{"127.0.0.1:0"}, Engine: engine.Config{Driver: d, Loops: 1},
			Hosts:  []server.Host{{Names: []string{"a.example"}, Site: site(dirWith(t, "f", "a"))}},
			Routes: []server.Route{{Prefix: "/h", Handler: func(ctx *fasthttp.RequestCtx) { server.ServeFile(ctx, "/f") }}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		g := &rig{t: t, srv: srv, addr: srv.Addrs()[0].String()}
		c := g.dial()
		for _, target := range []string{"/f", "/no", "/", "/h"} {
			c.get(target).want(t, 421)
		}
		c.send("GET /f HTTP/1.1\r\nHost: a.example\r\n\r\nGET /h HTTP/1.1\r\nHost: a.example\r\n\r\n")
		c.read("GET").want(t, 200, "a")
		c.read("GET").want(t, 200, "a")
	})
}

func TestLocations(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := dirWith(t, "f", "root", "dl/f", "root dl", "sub/dl/f", "not aliased", "404.html", "root 404", "plain/x", "x")
		other := dirWith(t, "f", "alias", "deep/g", "deep g", "index.htm", "alias index", "404.html", "alias 404",
			"dl/404.html", "alias dl 404", "c.css", "css", "c.css.gz", "packed", ".dot", "dot", "index.html", "not it")
		deep := dirWith(t, "dl/deep/f", "deepest", "dl/deep/sub/x", "x")
		g := start(t, d, server.Config{
			Site: server.Site{
				Root: root, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}},
				Headers: []server.HeaderRule{{Match: "/", Name: "X-Part", Value: "root"}},
			},
			Locations: []server.Location{
				{Match: "/dl/", Alias: true, Site: server.Site{
					Root: other, Index: []string{"no", "index.htm"}, Precompressed: true,
					Files:   httpfile.Config{Dotfiles: true, CacheControl: []httpfile.Rule{{Match: "/dl/f", Value: "no-cache"}}},
					Headers: []server.HeaderRule{{Match: "/dl/", Name: "X-Part", Value: "alias"}},
				}},
				{Match: "/dl/deep/", Site: server.Site{Root: deep, Listing: true}},
				{Match: "/pages/", Alias: true, Site: server.Site{Root: other, ErrorPages: map[int]server.Page{404: {Path: "/dl/404.html"}}}},
				{Match: "/bare/", Site: server.Site{Root: root, ErrorPages: map[int]server.Page{}}},
			},
			Routes: []server.Route{{Prefix: "/h", Handler: func(ctx *fasthttp.RequestCtx) { server.ServeFile(ctx, "/dl/f") }}},
		})
		c := g.dial()
		for range 3 {
			for _, test := range []struct {
				target string
				status int
				body   string
				part   string
			}{
				{"/f", 200, "root", "root"},
				{"/dl/f", 200, "alias", "alias"},
				{"/dl/./x/../f?q", 200, "alias", "alias"},
				{"/d%6c/f", 200, "alias", "alias"},
				{"/dl/", 200, "alias index", "alias"},
				{"/dl/.dot", 200, "dot", "alias"},
				{"/.dot", 404, "root 404", "root"},
				{"/dl/no", 404, "root 404", "alias"},
				{"/dl/deep/f", 200, "deepest", ""},
				{"/dl/deep/g", 404, "root 404", ""},
				{"/sub/dl/f", 200, "not aliased", "root"},
				{"/pages/f", 200, "alias", ""},
				{"/pages/no", 404, "alias dl 404", ""},
				{"/pages/404.html", 200, "alias 404", ""},
				{"/pages/dl/404.html", 200, "alias dl 404", ""},
				{"/bare/no", 404, "404 Not Found\n", ""},
				{"/h", 200, "alias", "alias"},
			} {
				r := c.get(test.target)
				if r.status != test.status || string(r.body) != test.body || r.get("X-Part") != test.part {
					t.Errorf("%s: %d %q of %q, want %d %q of %q", test.target, r.status, r.body, r.get("X-Part"), test.status, test.body, test.part)
				}
			}
			r := c.get("/dl/c.css", "Accept-Encoding: gzip")
			r.want(t, 200, "packed")
			r.wantField(t, "Content-Encoding", "gzip")
			r.wantField(t, "Content-Type", "text/css; charset=utf-8")
			c.get("/pages/c.css", "Accept-Encoding: gzip").want(t, 200, "css")
			c.get("/dl/f").wantField(t, "Cache-Control", "no-cache")
			for target, location := range map[string]string{
				"/dl": "/dl/", "/dl?x": "/dl/?x", "/pages": "/pages/", "/dl/deep": "/dl/deep/", "/plain": "/plain/",
			} {
				r := c.get(target)
				r.want(t, 301)
				r.wantField(t, "Location", location)
			}
			c.get("/plain/").want(t, 403)
		}
		list := c.get("/dl/deep/", "Accept: application/json")
		if list.status != 200 || !strings.Contains(string(list.body), `"name":"sub"`) {
			t.Errorf("listing: %d %s", list.status, list.body)
		}
	})
}

// An alias shows nothing beside its directory, whatever links are followed.
func TestAliasIsNoWayOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		dir := dirWith(t, "secret", "secret", "alias/f", "f", "root/f", "f")
		if err := os.Symlink("../secret", filepath.Join(dir, "alias", "out")); err != nil {
			t.Fatal(err)
		}
		g := start(t, d, server.Config{Site: server.Site{Root: filepath.Join(dir, "root")}, Locations: []server.Location{
			{Match: "/a/", Alias: true, Site: site(filepath.Join(dir, "alias"))},
			{Match: "/follow/", Alias: true, Site: server.Site{Root: filepath.Join(dir, "alias"), Symlinks: openfile.SymlinksFollow}},
		}})
		c := g.dial()
		for target, status := range map[string]int{
			"/a/f": 200, "/a/../secret": 404, "/a../secret": 404, "/a/%2e%2e/secret": 400, "/a/..%2fsecret": 400,
			"/a/out": 404, "/follow../secret": 404, "/follow/../secret": 404, "/follow/out": 200, "/a//f": 200,
		} {
			if r := c.get(target); r.status != status {
				t.Errorf("%s: %d, want %d", target, r.status, status)
			}
		}
	})
}

// The limits of a location are those of its class.
func TestClassOfLocation(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := dirWith(t, "a/f", hello, "b/f", hello)
		stopped, err := shape.ParseRate("0B/s")
		if err != nil {
			t.Fatal(err)
		}
		cfg := server.Config{Site: server.Site{Root: root}, Locations: []server.Location{
			{Match: "/a/", Site: server.Site{Root: root, Class: "/stopped/"}},
		}}
		cfg.Engine.Limits = &shape.Config{Paths: []shape.PathLimit{{Prefix: "/stopped/", Limit: shape.Limit{Rate: stopped}}}}
		g := start(t, d, cfg)
		c := g.dial()
		c.get("/b/f").want(t, 200, hello)
		c.send(request("GET", "/a/f"))
		waits := func() bool {
			r, _ := g.srv.Engine().LimitsReport(1)
			return slices.ContainsFunc(r.Classes, func(n shape.NodeReport) bool { return n.Name == "/stopped/" && n.Flows > 0 })
		}
		if !testenv.Eventually(patience, waits) {
			t.Fatal("the response is not of the class that is stopped")
		}
		if _, _, err := g.srv.Engine().Limits().SetPath("/stopped/", shape.Limit{}); err != nil {
			t.Fatal(err)
		}
		c.read("GET").want(t, 200, hello)
	})
}

func TestBadHosts(t *testing.T) {
	root := dirWith(t, "f", "f")
	loc := func(l ...server.Location) server.Config {
		return server.Config{Site: server.Site{Root: root}, Locations: l}
	}
	host := func(h ...server.Host) server.Config { return server.Config{Site: server.Site{Root: root}, Hosts: h} }
	for _, test := range []struct {
		cfg   server.Config
		fault string
	}{
		{host(server.Host{Site: site(root)}), "a host needs a name"},
		{host(server.Host{Names: []string{"a:80"}, Site: site(root)}), "without port"},
		{host(server.Host{Names: []string{"a", "A."}, Site: site(root)}), "host A.: there is a host of this name already"},
		{host(server.Host{Names: []string{"a"}, Site: site("/no/such/dir")}), "host a: root: open /no/such/dir"},
		{host(server.Host{Names: []string{"a"}, Site: server.Site{Root: root, ErrorPages: map[int]server.Page{404: {Path: "/no"}}}}), "host a: error_pages[404]: /no: "},
		{loc(server.Location{Match: "/a", Site: site(root)}), "location /a: \"/a\": a prefix is a directory"},
		{loc(server.Location{Match: "/", Site: site(root)}), "the location / is the host itself"},
		{loc(server.Location{Match: "/a/../b/", Site: site(root)}), "location /a/../b/: \"/a/../b/\": a prefix is a path"},
		{loc(server.Location{Match: "a/", Site: site(root)}), "location a/: \"a/\": a prefix is a path"},
		{loc(server.Location{Match: "/a/", Site: site(root)}, server.Location{Match: "/a/", Site: site(root)}), "location /a/: there is such a location already"},
		{loc(server.Location{Match: "/a/"}), "location /a/: a location needs a root"},
		{loc(server.Location{Match: "/a/", Site: server.Site{Root: root, Class: "x"}}), `class "x" is not a path`},
		{loc(server.Location{Match: "/a/", Site: server.Site{Root: root, Index: []string{"a/b"}}}), `location /a/: index "a/b"`},
		{host(server.Host{Names: []string{"a"}, Site: site(root), Locations: []server.Location{{Match: "/b/", Site: server.Site{
			Root: root, Headers: []server.HeaderRule{{Match: "/", Name: "Date", Value: "x"}}}}}}), "host a: location /b/: header rule"},
	} {
		err := server.Check(test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%v, want %q", err, test.fault)
		}
	}
}
