package difftest

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// locations are what locations match: of fserve, and of nginx, where it is written otherwise.
// Suffixes stand before patterns, so that both ask in the same order.
var locations = []struct{ fserve, nginx string }{
	{"/x/", ""}, {"/x/deep/", ""}, {"^~ /first/", ""}, {"/first/not/", ""}, {"= /x/exact.sql", ""}, {"= /", ""},
	{"*.sql", `~* \.sql$`}, {"*.tar.gz", `~* \.tar\.gz$`}, {"*.gz", `~* \.gz$`},
	{"~ ^/v[0-9]+/", ""}, {"~ ^/v1/", ""}, {`~* \.PNG$`, ""}, {"~ /deep/", ""},
}

// Both find the same location for each path, and the same file.
func TestLocationsAgainstNginx(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	put(t, filepath.Join(root, "f"), "f", settled)
	put(t, filepath.Join(dir, "one.txt"), "one", settled)
	nginx := startNginxAs(t, nginxOfLocations(), dir)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := server.Config{
			Site: server.Site{Root: root}, Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler), Engine: engine.Config{Driver: d, Loops: 1},
			Locations: []server.Location{{Match: "= /alias.txt", Alias: true, Site: server.Site{Root: filepath.Join(dir, "one.txt")}}},
		}
		for i, l := range locations {
			field := []server.HeaderRule{{Match: "/", Name: "X-Location", Value: strconv.Itoa(i)}}
			cfg.Locations = append(cfg.Locations, server.Location{Match: l.fserve, Site: server.Site{Root: root, Headers: field}})
		}
		srv, err := server.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		seen := make(map[string]bool)
		for _, path := range []string{
			"/", "/f", "/x/", "/x/f", "/x/deep/f", "/x/deeper", "/xf", "/x/exact.sql", "/x/exact.sqlite", "/x/exact.sql/",
			"/f.sql", "/x/f.sql", "/x/f.SQL", "/.sql", "/sql", "/f.sql/g", "/f.sqlx", "/f.gz", "/f.tar.gz", "/f.1.tar.gz", "/x.tar.gz.asc", "/f.tar",
			"/first/f", "/first/f.sql", "/first/f.png", "/first/not/f.sql", "/first/not/f", "/first/not/deep/f", "/v1/f", "/v12/f", "/v/f", "/v1", "/x/v1/f", "/v1/f.sql",
			"/f.png", "/x/f.Png", "/v1/f.png", "/v%31/f", "/x/../v1/f", "/%66.sql", "/alias.txt", "/alias.txt/", "/alias.txt.sql", "/deep/f",
		} {
			at := askLocation(t, srv.Addrs()[0].String(), path)
			if want := askLocation(t, nginx, path); at != want {
				t.Errorf("%s: nginx %s, fserve %s", path, want, at)
			}
			seen[at] = true
		}
		if len(seen) < len(locations) {
			t.Errorf("only %d locations were asked: %v", len(seen), seen)
		}
	})
}

func nginxOfLocations() string {
	before, after, _ := strings.Cut(nginxConfig, "\t\troot %[4]s;\n")
	text := "\t\troot %[4]s/root;\n\t\tlocation = /alias.txt { alias %[4]s/one.txt; }\n"
	for i, l := range locations {
		match := l.fserve
		if l.nginx != "" {
			match = l.nginx
		}
		text += fmt.Sprintf("\t\tlocation %s { add_header X-Location %d always; }\n", match, i)
	}
	return before + text + after
}

// askLocation returns the status, the location and the file that a path has got.
func askLocation(t *testing.T, addr, path string) string {
	t.Helper()
	raw := "GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	a, err := exchange(addr, &request{name: path, raw: raw, ends: true})
	if err != nil || len(a.responses) != 1 {
		t.Fatalf("%s: %v, %+v", path, err, a)
	}
	p := a.responses[0]
	body := ""
	if p.status == 200 {
		body = string(p.body)
	}
	return fmt.Sprintf("%d %s %s", p.status, p.get("X-Location"), body)
}
