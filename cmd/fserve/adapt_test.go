package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// adapted is a server in a namespace of its own, behind a line, whose rates are
// found.
type adapted struct {
	*process
	t     *testing.T
	line  *testenv.Line
	admin http.Client
}

// serveAdapted starts a server with a file big that nobody ever gets to the end of.
func serveAdapted(t *testing.T, l *testenv.Line, args ...string) *adapted {
	t.Helper()
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64 << 30); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(t.TempDir(), "admin")
	cmd := l.Command(binary, append([]string{
		"--root", root, "--listen", testenv.ServerAddr + ":0", "--admin", "unix:" + sock,
	}, args...)...)
	a := &adapted{t: t, line: l, process: serveCommand(t, cmd, nil)}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sock)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	a.admin = http.Client{Transport: tr, Timeout: patience}
	return a
}

// ask sends a request to the admin listener and reads the answer into v.
func (a *adapted) ask(method, path, body string, v any) {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.admin.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s %s: %d, %v: %s", method, path, resp.StatusCode, err, b)
	}
	if s, ok := v.(*string); ok {
		*s = string(b)
	} else if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			a.t.Fatal(err)
		}
	}
}

// found is what GET /adapt says of a client or a path class.
type found struct {
	Name        string  `json:"name"`
	Target      float64 `json:"target_bps"`
	Floor       float64 `json:"floor_bps"`
	Ceiling     float64 `json:"ceiling_bps"`
	Estimate    float64 `json:"estimate_bps"`
	Used        float64 `json:"used_bps"`
	Loss        float64 `json:"loss"`
	Breaker     string  `json:"breaker"`
	Phase       string  `json:"phase"`
	Verdict     string  `json:"verdict"`
	Connections int     `json:"connections"`
}

type foundAll struct {
	Clients  []found  `json:"clients"`
	Paths    []found  `json:"paths"`
	Profiles []string `json:"profiles_in_force"`
}

// client returns what is found of the client at the end of the line.
func (a *adapted) client() found {
	a.t.Helper()
	var all foundAll
	a.ask("GET", "/adapt", "", &all)
	if i := slices.IndexFunc(all.Clients, func(f found) bool { return f.Name == testenv.ClientAddr }); i >= 0 {
		return all.Clients[i]
	}
	return found{}
}

// download is a client that reads all it gets.
type download struct {
	conn     net.Conn
	received atomic.Int64
}

// download begins to load a file over the line. fields are lines of the head.
func (a *adapted) download(path string, fields ...string) *download {
	a.t.Helper()
	conn, err := a.line.Dial(a.addrs[0])
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	d := &download{conn: conn}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", path, strings.Join(append(fields, ""), "\r\n")); err != nil {
		a.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("download: %v, %v", resp, err)
	}
	go func() {
		b := make([]byte, 256<<10)
		for {
			n, err := resp.Body.Read(b)
			d.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return d
}

const mbit = 1e6 / 8

// The rate of a client is found on a line of 40 Mbit/s, is steered by POST /config,
// and is held by a profile while an alert fires. How fast and how well is for make adapt.
func TestAdaptOverNamespaces(t *testing.T) {
	l := testenv.NewLine(t)
	l.SetRate(40e6, 64<<10)
	a := serveAdapted(t, l, "--adapt-min", "128KiB/s", "--adapt-max", "50MiB/s",
		"--profile", "degraded=global=200KiB/s,match.alertname=Slow")
	for range 2 {
		a.download("/big")
	}
	var f found
	if !testenv.Eventually(patience, func() bool { f = a.client(); return f.Estimate > 10*mbit && f.Connections == 2 }) {
		t.Fatalf("nothing is found: %+v", f)
	}
	if f.Estimate > 1.1*40*mbit || f.Target > 50<<20 || f.Target < 128<<10 {
		t.Errorf("of a line of 40 Mbit/s: %+v", f)
	}
	a.ask("POST", "/config", `{"client_id":"`+testenv.ClientAddr+`","ceiling_bps":1000000}`, nil)
	if f = a.client(); f.Ceiling != 1e6 || f.Target > 1e6 {
		t.Errorf("with a ceiling of 1 MB/s: %+v", f)
	}
	a.wantRate("ceiling", 1.1e6)

	alert := func(status, end string) string {
		return `{"version":"4","status":"` + status + `","alerts":[{"status":"` + status + `","labels":{"alertname":"Slow"},` +
			`"startsAt":"2026-01-02T03:04:05Z","endsAt":"` + end + `"}]}`
	}
	var in foundAll
	a.ask("POST", "/alerts", alert("firing", "0001-01-01T00:00:00Z"), &in)
	if !slices.Equal(in.Profiles, []string{"degraded"}) {
		t.Errorf("profiles in force: %v", in.Profiles)
	}
	a.wantRate("profile", 230<<10)
	var metrics string
	a.ask("GET", "/metrics", "", &metrics)
	for _, line := range []string{
		`fserve_profile_active{profile="degraded"} 1`, `fserve_adapt_ceiling_bytes_per_second{level="client",name="` + testenv.ClientAddr + `"} 1e+06`,
		`fserve_adapt_clients{state="closed"} 1`, `fserve_adapt_connections 2`,
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("no metric %s", line)
		}
	}
	a.ask("POST", "/alerts", alert("resolved", "2026-01-02T04:04:05Z"), &in)
	if len(in.Profiles) != 0 {
		t.Errorf("profiles in force: %v", in.Profiles)
	}
}

// wantRate waits until what the server says it sends is below a rate, and not nothing:
// a machine that stands still now and then sends less than it may.
func (a *adapted) wantRate(why string, most float64) {
	a.t.Helper()
	var r struct {
		Clients []struct {
			Name string  `json:"name"`
			Rate float64 `json:"rate_1s"`
		} `json:"clients"`
	}
	var raw string
	if !testenv.Eventually(patience, func() bool {
		a.ask("GET", "/limits", "", &raw)
		if err := json.Unmarshal([]byte(raw), &r); err != nil {
			a.t.Fatal(err)
		}
		for _, c := range r.Clients {
			if c.Name == testenv.ClientAddr && c.Rate > 0 && c.Rate <= most {
				return true
			}
		}
		return false
	}) {
		a.t.Errorf("%s: not from 0 to %v: %s", why, most, raw)
	}
}
