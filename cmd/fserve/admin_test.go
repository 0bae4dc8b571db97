package main_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

var adminLine = regexp.MustCompile(`(?m)^fserve: admin listener on (\S+)$`)

// admin returns the address of the process's admin listener.
func (p *process) admin() string {
	p.t.Helper()
	var m []string
	if !testenv.Eventually(patience, func() bool { m = adminLine.FindStringSubmatch(p.errors()); return m != nil }) {
		p.t.Fatal("no word of an admin listener")
	}
	return m[1]
}

// call sends a request to an admin listener, and fails the test unless the answer
// has the status.
func call(t *testing.T, status int, method, url, body string, fields ...string) string {
	t.Helper()
	a := testenv.Ask(t, testenv.Single, method, url, body, fields...)
	if a.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d: %s", method, url, a.StatusCode, status, a.Body)
	}
	return a.Body
}

// Downloads that stand still go on when they are let go, are slowed down and let
// go again, by HTTP; none is lost and every byte is right.
func TestRetuneByHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		const downloads = 20
		root, big, size := site(t)
		p := serve(t, nil, "--root", root, driver, "--admin", "127.0.0.1:0", "--limit-path", "/big=0", "--workers", "2")
		admin := p.admin()
		var all sync.WaitGroup
		for range downloads {
			all.Go(func() {
				tr := &http.Transport{}
				defer tr.CloseIdleConnections()
				resp, err := (&http.Client{Transport: tr, Timeout: patience}).Get(p.url("/big.bin"))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err == nil {
					err = big.Check(body, 0)
				}
				if err != nil || int64(len(body)) != size {
					t.Errorf("%d bytes of %d: %v", len(body), size, err)
				}
			})
		}
		if !testenv.Eventually(patience, func() bool {
			return strings.Contains(call(t, 200, "GET", admin+"/metrics", ""), "\nfserve_transfers_waiting 20\n")
		}) {
			t.Error("the downloads do not wait")
		}
		call(t, 200, "PUT", admin+"/limits/path/big", `{"rate":"20MiB/s","weight":2}`)
		call(t, 200, "POST", admin+"/config", `{"client_id":"127.0.0.1","target_bps":50000000}`)
		call(t, 200, "PUT", admin+"/limits/global", `{"rate":"0"}`)
		call(t, 200, "PUT", admin+"/limits/connection", `{"rate":"1GiB/s"}`)
		call(t, 200, "DELETE", admin+"/limits/client/127.0.0.1", ``)
		call(t, 200, "DELETE", admin+"/limits/path/big", ``)
		call(t, 200, "PUT", admin+"/limits/global", `{"rate":"unlimited"}`)
		all.Wait()
		p.wantLog("limit changed")
		p.signal(15)
		p.wantExit(0)
	})
}

// A drain by HTTP is one by signal: the download that runs is finished, and the
// admin listener is there to the end.
func TestDrainByHTTP(t *testing.T) {
	root, big, size := site(t)
	p := serve(t, nil, "--root", root, "--admin", "127.0.0.1:0")
	admin := p.admin()
	call(t, 200, "GET", admin+"/readyz", "")
	_, resp := slowDownload(t, p.addrs[0])
	defer resp.Body.Close()
	call(t, 202, "POST", admin+"/-/drain", "")
	if !testenv.Eventually(patience, refused(p.addrs[0])) {
		t.Error("new connections are accepted")
	}
	call(t, 503, "GET", admin+"/readyz", "")
	call(t, 200, "GET", admin+"/livez", "")
	if m := call(t, 200, "GET", admin+"/metrics", ""); !strings.Contains(m, "\nfserve_draining 1\n") || !strings.Contains(m, "\nfserve_transfers_active 1\n") {
		t.Error("the metrics do not tell")
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = big.Check(body, 0)
	}
	if err != nil || int64(len(body)) != size {
		t.Errorf("%d bytes of %d: %v", len(body), size, err)
	}
	p.wantExit(0)
}

// SIGTERM makes the server unready too.
func TestUnreadyBySignal(t *testing.T) {
	root, _, _ := site(t)
	p := serve(t, nil, "--root", root, "--admin", "127.0.0.1:0")
	admin := p.admin()
	_, resp := slowDownload(t, p.addrs[0])
	defer resp.Body.Close()
	p.signal(15)
	if !testenv.Eventually(patience, refused(p.addrs[0])) {
		t.Error("new connections are accepted")
	}
	call(t, 503, "GET", admin+"/readyz", "")
}

// The file is read anew when it is asked for; what cannot be used changes
// nothing.
func TestReloadByHTTP(t *testing.T) {
	root, _, _ := site(t)
	file := filepath.Join(t.TempDir(), "fserve.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("admin:\n  listen: 127.0.0.1:0\n")
	p := serve(t, nil, "--root", root, "--config", file, "--config-watch=false")
	admin := p.admin()
	write("admin:\n  listen: 127.0.0.1:0\nlimits:\n  client: 7MiB/s\n")
	if got := call(t, 200, "POST", admin+"/-/reload", ""); !strings.Contains(got, `"path":"limits.client"`) {
		t.Errorf("%s", got)
	}
	if got := call(t, 200, "GET", admin+"/limits", ""); !strings.Contains(got, `"client":{"rate":"7MiB/s"`) {
		t.Errorf("%s", got)
	}
	write("limits:\n  client: 7\n")
	call(t, 422, "POST", admin+"/-/reload", "")
	if got := call(t, 200, "GET", admin+"/metrics", ""); !strings.Contains(got, "\nfserve_config_last_reload_successful 0\n") {
		t.Error("the metrics do not tell")
	}
	if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
}

func TestAdminToken(t *testing.T) {
	root, _, _ := site(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(" s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, nil, "--root", root, "--admin", "0.0.0.0:0", "--admin-token-file", file, "--admin-pprof")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.admin(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	call(t, 401, "GET", url+"/metrics", "")
	call(t, 401, "GET", url+"/debug/pprof/cmdline", "", "Authorization: Bearer wrong")
	call(t, 200, "GET", url+"/debug/pprof/cmdline", "", "Authorization: Bearer s3cret")
	call(t, 200, "GET", url+"/readyz", "")
}

// What cannot work ends the process with the reason, and nothing is left behind.
func TestAdminRefused(t *testing.T) {
	root, _, _ := site(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code int
		args []string
		says string
	}{
		"no token":          {2, []string{"--admin", "0.0.0.0:0"}, "token"},
		"address in use":    {69, []string{"--admin", taken.Addr().String()}, "address already in use"},
		"no token file":     {78, []string{"--admin", "127.0.0.1:0", "--admin-token-file", empty + "-not"}, "no such file"},
		"empty token file":  {78, []string{"--admin", "127.0.0.1:0", "--admin-token-file", empty}, "not one line of printable"},
		"no such directory": {69, []string{"--admin", "unix:" + empty + "-not/sock"}, "no such file"},
	} {
		r := fserve(t, nil, append([]string{"--root", root, "--listen", "127.0.0.1:0"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: code %d, want %d: %s", name, r.code, c.code, r.stderr)
		}
	}
}
