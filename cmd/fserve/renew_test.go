package main_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// askHost gets a path of a host and returns the status.
func (p *process) askHost(host, path string) int {
	p.t.Helper()
	q, err := http.NewRequest("GET", p.url(path), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	q.Host, q.Close = host, true
	r, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// requests are the counts of a scrape, by "host code".
func requests(t *testing.T, admin string) map[string]int {
	t.Helper()
	m := make(map[string]int)
	for s := bufio.NewScanner(strings.NewReader(call(t, 200, "GET", admin+"/metrics", ""))); s.Scan(); {
		var host, code string
		var n int
		line := strings.NewReplacer(`{code="`, " ", `",host="`, " ", `"}`, "").Replace(s.Text())
		if _, err := fmt.Sscanf(line, "fserve_requests_total %s %s %d", &code, &host, &n); err == nil {
			m[host+" "+code] = n
		}
	}
	return m
}

// Responses are counted by the host that they are of, and go on to be when hosts
// go and come back.
func TestRequestsByHost(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "f.txt"), "f")
		host := func(names ...string) (text string) {
			text = base + "admin: {listen: 127.0.0.1:0}\nhosts:\n"
			for _, n := range names {
				text += fmt.Sprintf("  %s: {root: %s, names: [other.%s], locations: {/l/: {alias: %s}}}\n", n, dir, n, dir)
			}
			return text
		}
		p, rewrite := configured(t, host("a.example", "b.example"), driver, "--config-watch=false", "--workers=2")
		admin := p.admin()
		get := func(host, path string, status int) {
			t.Helper()
			if got := p.askHost(host, path); got != status {
				t.Errorf("%s of %s: %d, want %d", path, host, got, status)
			}
		}
		want := func(want map[string]int) {
			t.Helper()
			got := requests(t, admin)
			for key, n := range want {
				if v, ok := got[key]; !ok || v != n {
					t.Errorf("%s: %d (%v), want %d; all: %v", key, v, ok, n, got)
				}
			}
		}
		want(map[string]int{"a.example 2xx": 0, "b.example 5xx": 0, "default 4xx": 0})
		for range 3 {
			get("A.Example:80", "/f.txt", 200)
		}
		get("other.a.example", "/l/f.txt", 200)
		get("a.example", "/none", 404)
		get("b.example", "/l/none", 404)
		get("elsewhere.example", "/none", 404)
		want(map[string]int{"a.example 2xx": 4, "a.example 4xx": 1, "b.example 2xx": 0, "b.example 4xx": 1, "default 4xx": 1})
		reload := func(text string) {
			t.Helper()
			rewrite(text)
			call(t, 200, "POST", admin+"/-/reload", "")
		}
		reload(host("c.example"))
		get("c.example", "/f.txt", 200)
		get("a.example", "/none", 404) // is the default host's now
		want(map[string]int{"a.example 2xx": 4, "a.example 4xx": 1, "c.example 2xx": 1, "default 4xx": 2})
		reload(host("b.example", "a.example"))
		get("a.example", "/f.txt", 200)
		want(map[string]int{"a.example 2xx": 5, "b.example 4xx": 1, "c.example 2xx": 1, "default 4xx": 2})
	})
}

// SIGHUP opens the roots anew: a link that was switched leads to what it leads to
// now. The configuration is the same, and what was changed by HTTP stays.
func TestHangupFollowsLink(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "1", "index.html"), "one")
		writeFile(t, filepath.Join(dir, "2", "index.html"), "two")
		current := filepath.Join(dir, "current")
		link := func(to string) {
			t.Helper()
			if err := os.Symlink(to, current+".new"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(current+".new", current); err != nil {
				t.Fatal(err)
			}
		}
		link("1")
		p := serve(t, nil, "--root", current, driver, "--admin", "127.0.0.1:0")
		call(t, 200, "PUT", p.admin()+"/limits/client", `{"rate":"7MiB/s"}`)
		if got := ask(t, p.url("/"), nil, nil); got != "one" {
			t.Errorf("%q", got)
		}
		before := descriptors(t, p.cmd.Process.Pid)
		for i, to := range []string{"2", "1", "2"} {
			link(to)
			p.signal(syscall.SIGHUP)
			want := map[string]string{"1": "one", "2": "two"}[to]
			if !testenv.Eventually(patience, func() bool { return ask(t, p.url("/"), nil, nil) == want }) {
				t.Fatalf("switch %d does not show", i)
			}
		}
		if got := call(t, 200, "GET", p.admin()+"/limits", ""); !strings.Contains(got, `"client":{"rate":"7MiB/s"`) {
			t.Errorf("the limit was lost: %s", got)
		}
		if !testenv.Eventually(patience, func() bool { return descriptors(t, p.cmd.Process.Pid) <= before }) {
			t.Errorf("%d descriptors, %d before", descriptors(t, p.cmd.Process.Pid), before)
		}
	})
}

// The admin token is read again at a reload; a file that has gone bad changes
// nothing.
func TestReloadRenewsToken(t *testing.T) {
	dir := t.TempDir()
	token := func(name, text string) string {
		writeFile(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	file := func(token string) string {
		return base + "admin: {listen: 127.0.0.1:0, token_file: " + token + "}\n"
	}
	first := token("1", "first\n")
	p, rewrite := configured(t, file(first), "--config-watch=false")
	reload := func(status int, with string) {
		t.Helper()
		call(t, status, "POST", p.admin()+"/-/reload", "", "Authorization: Bearer "+with)
	}
	want := func(good, bad string) {
		t.Helper()
		call(t, 200, "GET", p.admin()+"/limits", "", "Authorization: Bearer "+good)
		call(t, 401, "GET", p.admin()+"/limits", "", "Authorization: Bearer "+bad)
	}
	want("first", "second")
	token("1", "second\n")
	want("first", "second") // not before it is asked for
	reload(200, "first")
	want("second", "first")
	p.wantLog("the admin token has changed")
	token("1", "two words\n")
	reload(422, "second")
	want("second", "two words")
	rewrite(file(token("2", "third\n"))) // another file
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	reload(200, "second")
	want("third", "second")
}
