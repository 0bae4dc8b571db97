package difftest

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// hostsConfig is nginx with two hosts, the second of them with locations.
const hostsConfig = `daemon off;
%[1]sworker_processes 1;
pid %[2]s/pid;
error_log %[2]s/error.log;
events {
	worker_connections 256;
}
http {
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	types { text/plain txt; text/html html; }
	default_type application/octet-stream;
	access_log off;
	server {
		listen %[3]s default_server reuseport;
		server_name one.example;
		root %[4]s/one;
	}
	server {
		listen %[3]s;
		server_name two.example *.two.example;
		root %[4]s/two;
		add_header X-Host two;
		location /dl/ {
			alias %[4]s/aliased/;
			add_header Cache-Control no-cache;
		}
		location /dl/deep/ {
			root %[4]s/rooted;
			index main.html;
		}
		location /closed/ { deny all; }
		location /mine/ { allow 127.0.0.0/8; deny all; }
	}
	server {
		listen %[3]s;
		server_name three.two.example [2001:db8::1];
		root %[4]s/three;
	}
}
`

// hostsOf is the same for fserve.
func hostsOf(t *testing.T, dir string) server.Config {
	t.Helper()
	networks := func(list ...string) server.Networks {
		n, err := server.ParseNetworks(list)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	in := func(name string) server.Site { return server.Site{Root: filepath.Join(dir, name)} }
	two, aliased, rooted := in("two"), in("aliased"), in("rooted")
	two.Headers = []server.HeaderRule{{Match: "/", Name: "X-Host", Value: "two"}}
	aliased.Files.CacheControl = []httpfile.Rule{{Match: "*", Value: "no-cache"}}
	rooted.Index, rooted.Headers = []string{"main.html"}, two.Headers
	closed, mine := two, two
	closed.Access.Deny = networks("all")
	mine.Access = server.Access{Allow: networks("127.0.0.0/8"), Deny: networks("all")}
	return server.Config{
		Site: server.Site{Root: filepath.Join(dir, "one")},
		Hosts: []server.Host{
			{Names: []string{"two.example", "*.two.example"}, Site: two, Locations: []server.Location{
				{Match: "/dl/", Alias: true, Site: aliased}, {Match: "/dl/deep/", Site: rooted},
				{Match: "/closed/", Site: closed}, {Match: "/mine/", Site: mine},
			}},
			{Names: []string{"three.two.example", "[2001:db8::1]"}, Site: in("three")},
		},
	}
}

// redirected are the paths that nginx does not know, and fserve redirects to their
// location.
var redirected = map[string]bool{"/dl": true, "/dl/deep": true}

// TestHostsAgainstNginx asks both for each path of each host: the status, the
// content and what headers say of it must be the same.
func TestHostsAgainstNginx(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"one/f.txt": "one", "one/dl/f.txt": "one dl", "two/f.txt": "two", "two/dl/f.txt": "hidden by the alias", "three/f.txt": "three",
		"aliased/f.txt": "aliased", "aliased/sub/f.txt": "aliased sub", "aliased/index.html": "aliased index", "aliased/deep/f.txt": "hidden by the root",
		"rooted/dl/deep/f.txt": "rooted", "rooted/dl/deep/main.html": "rooted main", "rooted/dl/deep/sub/f.txt": "rooted sub",
		"two/closed/f.txt": "closed", "two/mine/f.txt": "mine", "secret.txt": secretContent,
	} {
		put(t, filepath.Join(dir, name), content, settled)
	}
	nginx := startNginxAs(t, hostsConfig, dir)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := hostsOf(t, dir)
		cfg.Listen, cfg.Log = []string{"127.0.0.1:0"}, slog.New(slog.DiscardHandler)
		cfg.Engine = engine.Config{Driver: d, Loops: 1}
		srv, err := server.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		for _, host := range []string{
			"one.example", "two.example", "TWO.Example:80", "two.example.", "x.two.example", "three.two.example", "a.three.two.example",
			"[2001:db8::1]:8080", "other", "two.example.com", "wo.example",
		} {
			for _, path := range []string{
				"/f.txt", "/dl/f.txt", "/dl/", "/dl/sub/f.txt", "/dl/sub", "/dl/sub/", "/dl/deep/", "/dl/deep/f.txt", "/dl/deep/sub/", "/dl/deepf.txt",
				"/dl//f.txt", "/dl/../f.txt", "/dl/./deep/../f.txt", "/dl../secret.txt", "/d%6C/f.txt", "/DL/f.txt", "/dl/no", "/dlf.txt", "/dl",
				"/closed/f.txt", "/closed/no", "/closed/", "/mine/f.txt", "/mine/no", "/x/../closed/f.txt", "/dl/deep",
			} {
				compareHosts(t, nginx, srv.Addrs()[0].String(), host, path)
			}
		}
	})
}

func compareHosts(t *testing.T, nginx, fserve, host, path string) {
	t.Helper()
	raw := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	var seen [2]*response
	for i, addr := range []string{nginx, fserve} {
		a, err := exchange(addr, &request{name: host + path, raw: raw, ends: true})
		if err != nil || len(a.responses) != 1 {
			t.Fatalf("%s of %s: %v, %+v", path, host, err, a)
		}
		seen[i] = a.responses[0]
	}
	n, f := seen[0], seen[1]
	if n.status == 404 && f.status == 301 && redirected[path] && f.get("Location") == path+"/" {
		return
	}
	if n.status != f.status {
		t.Errorf("%s of %s: nginx %d, fserve %d", path, host, n.status, f.status)
		return
	}
	if n.status != 200 {
		return
	}
	if string(n.body) != string(f.body) {
		t.Errorf("%s of %s: nginx %q, fserve %q", path, host, n.body, f.body)
	}
	for _, field := range []string{"X-Host", "Cache-Control", "Content-Type"} {
		x, y := n.get(field), f.get(field)
		if field == "Content-Type" && y == x+"; charset=utf-8" { // DIFFERENCES.md has it
			y = x
		}
		if x != y {
			t.Errorf("%s of %s: %s: nginx %q, fserve %q", path, host, field, x, y)
		}
	}
}
