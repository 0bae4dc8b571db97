package server_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// Hosts and locations have logs of their own, or none, also after a change; a log that
// nothing uses any more is let go.
func TestLogsOfPlaces(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		dir := t.TempDir()
		logs := server.NewAccessLogs()
		to := func(name string) server.LogTarget {
			return server.LogTarget{File: filepath.Join(dir, name), Template: "$host:$server_port $request_uri $status"}
		}
		site := server.Site{Root: t.TempDir(), AccessLog: to("main")}
		own := site
		own.AccessLog = to("own")
		cfg := server.Config{Site: site, AccessLogs: logs, Hosts: []server.Host{{Names: []string{"own.example"}, Site: own, Locations: []server.Location{
			{Match: "/quiet/", Site: server.Site{Root: site.Root, NoAccessLog: true}},
			{Match: "/errors/", Site: server.Site{Root: site.Root, AccessLog: to("own"), LogSample: -1}},
		}}}}
		g := start(t, d, cfg)
		writeFile(t, filepath.Join(site.Root, "f"), []byte(hello))
		writeFile(t, filepath.Join(site.Root, "errors/f"), []byte(hello))
		c := g.dial()
		ask := func(host string, targets ...string) {
			for _, target := range targets {
				c.send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host))
				c.read("GET")
			}
		}
		ask("Any.example:81", "/f")
		ask("own.example", "/f", "/quiet/f", "/errors/f", "/errors/none")
		next := cfg
		next.Hosts = nil
		if err := g.srv.Swap(next); err != nil {
			t.Fatal(err)
		}
		ask("own.example", "/f")
		if err := os.Rename(filepath.Join(dir, "own"), filepath.Join(dir, "own.1")); err != nil {
			t.Fatal(err)
		}
		if err := logs.Reopen(); err != nil {
			t.Fatal(err)
		}
		if err := g.srv.Swap(next); err != nil { // loops let go of closed logs
			t.Fatal(err)
		}
		if err := g.srv.Close(); err != nil {
			t.Fatal(err)
		}
		if err := logs.Close(); err != nil {
			t.Fatal(err)
		}
		port := g.srv.Addrs()[0].(*net.TCPAddr).Port
		for name, want := range map[string]string{
			"main":  fmt.Sprintf("Any.example:%d /f 200\nown.example:%[1]d /f 200\n", port),
			"own.1": fmt.Sprintf("own.example:%d /f 200\nown.example:%[1]d /errors/none 404\n", port),
		} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "own")); err == nil {
			t.Error("a log that nothing uses was opened anew")
		}
	})
}

// A log gets another format at a change.
func TestLogFormatChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		logs := server.NewAccessLogs()
		cfg := server.Config{Site: server.Site{Root: t.TempDir()}, AccessLogs: logs}
		cfg.Site.AccessLog = server.LogTarget{File: filepath.Join(t.TempDir(), "log"), Template: "one $status"}
		g := start(t, d, cfg)
		c := g.dial()
		for _, format := range []string{"two $status", "one $status"} {
			c.send(request("GET", "/none"))
			c.read("GET")
			next := cfg
			next.Site.AccessLog.Template = format
			if err := g.srv.Swap(next); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(g.srv.Close(), logs.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(cfg.Site.AccessLog.File); err != nil || string(got) != "one 404\ntwo 404\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// One file has one format, and a format that is wrong is a fault of its place.
func TestLogsOfPlacesFaults(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "log")
	site := server.Site{Root: dir, AccessLog: server.LogTarget{File: file}}
	for want, target := range map[string]server.LogTarget{
		"has another format elsewhere": {File: file, Format: server.LogJSON},
		"no such file or directory":    {File: filepath.Join(dir, "none", "log")},
		"there is no variable $x":      {File: file, Template: "$x"},
	} {
		logs := server.NewAccessLogs()
		other := site
		other.AccessLog = target
		_, err := server.New(server.Config{Site: site, AccessLogs: logs, Hosts: []server.Host{{Names: []string{"h.example"}, Site: other}}})
		if !errors.Is(err, server.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err := logs.Close(); err != nil {
			t.Error(err)
		}
	}
}
