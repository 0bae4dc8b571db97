package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/admin"
)

func TestMethodsAndPaths(t *testing.T) {
	g := start(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"POST", "/metrics", 405, "GET, HEAD"},
		{"DELETE", "/limits", 405, "GET, HEAD"},
		{"POST", "/limits/global", 405, "GET, HEAD, PUT"},
		{"POST", "/limits/client/x", 405, "DELETE, GET, HEAD, PUT"},
		{"GET", "/config", 405, "POST"},
		{"PUT", "/config", 405, "POST"},
		{"GET", "/-/reload", 405, "POST"},
		{"GET", "/-/drain", 405, "POST"},
		{"POST", "/readyz", 405, "GET, HEAD"},
		{"BREW", "/events", 405, "GET, HEAD"},
		{"GET", "/nothing", 404, ""},
		{"GET", "/limits/none/x", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "//metrics", 400, ""},
		{"GET", "/limits/../metrics", 400, ""},
	} {
		r := g.do(c.method, c.path, "")
		if r.status != c.status || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: status %d, Allow %q; want %d, %q", c.method, c.path, r.status, r.header.Get("Allow"), c.status, c.allow)
			continue
		}
		g.wantProblem(c.status, "", r)
	}
	for _, path := range []string{"/", "/metrics", "/limits", "/connections", "/events", "/livez", "/readyz"} {
		if r := g.want(http.StatusOK, g.do("HEAD", path, "")); r.body != "" || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("HEAD %s: %q, %v", path, r.body, r.header)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	g := start(t, nil)
	huge := `{"rate":"1MiB/s","burst":"` + strings.Repeat(" ", 1<<20) + `1MiB"}`
	g.wantProblem(http.StatusRequestEntityTooLarge, "", g.do("PUT", "/limits/global", huge))
	g.wantProblem(http.StatusRequestEntityTooLarge, "", g.do("POST", "/config", huge))
}

func TestToken(t *testing.T) {
	g := start(t, func(_ *server.Config, c *admin.Config) { c.Token, c.TokenName = "s3cret", "ops" })
	for _, auth := range []string{"", "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "Bearer S3CRET"} {
		r := g.do("PUT", "/limits/global", `{"rate":"1MiB/s"}`, "Authorization", auth)
		g.wantProblem(http.StatusUnauthorized, "", r)
		if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("WWW-Authenticate: %q", r.header.Get("WWW-Authenticate"))
		}
	}
	for _, path := range []string{"/", "/metrics", "/limits", "/connections", "/events", "/nothing", "/debug/pprof/"} {
		g.wantProblem(http.StatusUnauthorized, "", g.do("GET", path, ""))
	}
	for _, path := range []string{"/livez", "/readyz"} {
		g.want(http.StatusOK, g.do("GET", path, ""))
	}
	g.want(http.StatusOK, g.do("PUT", "/limits/global", `{"rate":"1MiB/s"}`, "Authorization", "bearer s3cret"))
	g.want(http.StatusOK, g.do("GET", "/limits", "", "Authorization", "Bearer s3cret", "Host", "admin.example.org"))
	if log := g.logs.String(); !strings.Contains(log, "with token ops") || strings.Contains(log, "s3cret") {
		t.Errorf("the log:\n%s", log)
	}
}

// A page in a browser on this machine gets nowhere, be it of another origin or
// of a name that was made to resolve to this machine.
func TestBrowsersOfOthers(t *testing.T) {
	g := start(t, nil)
	const body = `{"rate":"1MiB/s"}`
	host := strings.TrimPrefix(g.front.URL, "http://")
	for _, fields := range [][]string{
		{"Host", "evil.example"},
		{"Host", "evil.example:9090"},
		{"Host", "localhost.evil.example"},
		{"Origin", "http://evil.example"},
		{"Origin", "null"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"},
	} {
		g.wantProblem(http.StatusForbidden, "", g.do("PUT", "/limits/global", body, fields...))
	}
	g.wantProblem(http.StatusForbidden, "", g.do("GET", "/limits", "", "Host", "evil.example"))
	for _, fields := range [][]string{
		nil, {"Host", "localhost:9090"}, {"Host", "LOCALHOST"}, {"Host", "[::1]:9090"}, {"Host", "[::1]"}, {"Host", "10.0.0.7"},
		{"Origin", "http://" + host}, {"Sec-Fetch-Site", "same-origin"},
	} {
		g.want(http.StatusOK, g.do("PUT", "/limits/global", body, fields...))
	}
}

// What others can reach needs a token, before anything is bound.
func TestTokenIsDemanded(t *testing.T) {
	g := start(t, nil)
	for addr, local := range map[string]bool{
		"127.0.0.1:0": true, "127.8.9.1:0": true, "[::1]:0": true, "localhost:0": true, "unix:/run/x": true,
		"0.0.0.0:0": false, ":0": false, "[::]:0": false, "10.0.0.1:0": false, "example.org:0": false, "nonsense": false,
	} {
		_, err := admin.New(admin.Config{Listen: addr, Server: g.srv})
		if local != (err == nil) || err != nil && !errors.Is(err, admin.ErrConfig) {
			t.Errorf("%s without a token: %v", addr, err)
		}
		if _, err := admin.New(admin.Config{Listen: addr, Server: g.srv, Token: "t"}); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
	}
	if _, err := admin.New(admin.Config{Listen: "127.0.0.1:0"}); !errors.Is(err, admin.ErrConfig) {
		t.Errorf("without a server: %v", err)
	}
}

// On a Unix socket only its owner comes in, whatever Host he says, and the log
// tells which process it was.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close() // leaves the socket of a process that is gone
	g := start(t, func(_ *server.Config, c *admin.Config) { c.Listen = "unix:" + path })
	if err := g.admin.Start(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	g.want(http.StatusOK, g.send(&http.Client{Transport: tr}, "PUT", "http://any.name/limits/global", `{"rate":"1MiB/s"}`))
	if log := g.logs.String(); !strings.Contains(log, `who="unix uid `) {
		t.Errorf("the log:\n%s", log)
	}
	second, err := admin.New(admin.Config{Listen: "unix:" + path, Server: g.srv})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err == nil {
		t.Error("a socket that is in use was taken over")
		second.Close(context.Background())
	}
}

// Started on an address, it serves there, and ends.
func TestStart(t *testing.T) {
	g := start(t, nil)
	if g.admin.Addr() != nil {
		t.Error("an address before Start")
	}
	if err := g.admin.Start(); err != nil {
		t.Fatal(err)
	}
	url := "http://" + g.admin.Addr().String()
	g.want(http.StatusOK, g.send(g.client(), "GET", url+"/livez", ""))
	other, err := admin.New(admin.Config{Listen: g.admin.Addr().String(), Server: g.srv})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err == nil {
		t.Error("an address was bound twice")
	}
}

// Connections that ask for nothing, or without the token, keep nobody out: probes are
// answered, and a connection that has shown the token stays.
func TestSilentConnections(t *testing.T) {
	for _, token := range []string{"", "s3cret"} {
		g := start(t, func(_ *server.Config, c *admin.Config) { c.Token = token })
		if err := g.admin.Start(); err != nil {
			t.Fatal(err)
		}
		addr := g.admin.Addr().String()
		owner := g.client() // keeps its connection
		var reused bool
		trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		limits := func() reply {
			r, err := http.NewRequestWithContext(trace, "GET", "http://"+addr+"/limits", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer s3cret")
			resp, err := owner.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return reply{resp.StatusCode, resp.Header, fmt.Sprint(string(body), err)}
		}
		g.want(http.StatusOK, limits())
		for i := range 800 { // more than would time out meanwhile
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if i%2 == 0 { // a head that does not end
				if _, err := c.Write([]byte("GET /livez HTTP/1.1\r\n")); err != nil {
					t.Fatal(err)
				}
			}
		}
		g.want(http.StatusOK, g.send(g.client(), "GET", "http://"+addr+"/livez", ""))
		g.want(http.StatusOK, limits())
		if !reused {
			t.Error("the connection of the owner was closed")
		}
		if token == "" {
			continue
		}
		for _, path := range []string{"/limits", "/livez"} { // without the token nothing is kept
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("%s: %v before the end", path, err)
			}
		}
	}
}

func TestPProf(t *testing.T) {
	g := start(t, func(_ *server.Config, c *admin.Config) { c.PProf = true })
	if r := g.want(http.StatusOK, g.do("GET", "/debug/pprof/goroutine?debug=1", "")); !strings.Contains(r.body, "goroutine profile") {
		t.Errorf("%.200s", r.body)
	}
	g.want(http.StatusOK, g.do("GET", "/debug/pprof/cmdline", ""))
	if r := g.want(http.StatusOK, g.do("GET", "/", "")); !strings.Contains(r.body, "/debug/pprof/") {
		t.Error("it is not listed")
	}
}
