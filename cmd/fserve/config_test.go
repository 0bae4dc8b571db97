package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// writeFile makes a file and the directories above it.
func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	file := func(name, content string) string {
		writeFile(t, filepath.Join(dir, name), content)
		return filepath.Join(dir, name)
	}
	good := file("good.yaml", "root: "+root+"\nlimits: {client: 10MiB/s}\n")
	bad := file("bad.yaml", "rot: x\nworkers: 3000\nlimits: {client: 10}\n")
	for _, test := range []struct {
		name           string
		args           []string
		env            []string
		code           int
		stdout, stderr string
	}{
		{"good", []string{"--config", good}, nil, 0, "fserve: " + good + ": good\n", ""},
		{"by variable", nil, []string{"FSERVE_CONFIG=" + good}, 0, "fserve: " + good + ": good\n", ""},
		{"no file", []string{"--root", root}, nil, 0, "fserve: the configuration: good\n", ""},
		{"all problems", []string{"--config", bad, "--listen=8080"}, nil, 78, "",
			"fserve: " + bad + `:1:1: unknown key "rot"; did you mean root?` + "\n" +
				"fserve: " + bad + ":2:10: workers: 3000: --workers must be from 1 to 1024, or 0 for one for each core\n" +
				"fserve: " + bad + `:3:18: limits.client: rate "10" has no unit (nginx would mean bytes, tc bits): write 10B/s, 10KiB/s or 10Kbit/s` + "\n" +
				`fserve: --listen: "8080": an address is HOST:PORT or unix:/PATH; write :8080` + "\n"},
		{"missing file", []string{"--config", dir + "/none.yaml"}, nil, 78, "", "fserve: " + dir + "/none.yaml: cannot be read: no such file or directory\n"},
		{"of the machine", []string{"--config", good, "--root", root + "/none"}, nil, 78, "",
			"fserve: --root: open " + root + "/none: no such file or directory\n"},
		{"certificate", []string{"--root", root, "--tls-listen=127.0.0.1:0", "--tls-cert", good, "--tls-key", good}, nil, 78, "",
			"fserve: --tls-cert: " + good + " and " + good + ": tls: failed to find any PEM data in certificate input\n"},
		{"access log", []string{"--root", root, "--access-log", dir + "/none/log"}, nil, 78, "",
			"fserve: --access-log: access log: " + dir + "/none/log: access: no such file or directory\n"},
		{"token", []string{"--root", root, "--admin=:0", "--admin-token-file", dir + "/none"}, nil, 78, "",
			"fserve: --admin-token-file: admin token: open " + dir + "/none: no such file or directory\n"},
		{"empty token", []string{"--root", root, "--admin=:0", "--admin-token-file", file("empty", " \n")}, nil, 78, "",
			"fserve: --admin-token-file: admin token: " + dir + "/empty: not one line of printable ASCII characters without spaces\n"},
		{"flags", []string{"--workers=many"}, nil, 2, "", `fserve: invalid argument "many" for "--workers" flag: "many" is not a whole number` + "\n"},
	} {
		r := fserve(t, test.env, append([]string{"check"}, test.args...)...)
		if r.code != test.code || r.stdout != test.stdout || r.stderr != test.stderr {
			t.Errorf("%s: %+v\nwant %d %q %q", test.name, r, test.code, test.stdout, test.stderr)
		}
	}
	if r := fserve(t, nil, "--config", bad); r.code != 78 || strings.Count(r.stderr, "\n") != 3 {
		t.Errorf("started: %+v", r)
	}
}

func TestPrintConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, file, "root: /r\nadmin: {token: hush}\n")
	r := fserve(t, []string{"FSERVE_IDLE_TIMEOUT=5s"}, "config", "--config", file, "--workers=3")
	for _, want := range []string{"root: /r # " + file + ":1:7", "idle: 5s # FSERVE_IDLE_TIMEOUT", "workers: 3 # --workers", "driver: auto # default", "token: (hidden) # "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("not said: %s", want)
		}
	}
	if r.code != 0 || r.stderr != "" || strings.Contains(r.stdout, "hush") {
		t.Errorf("%+v", r)
	}
	// What is printed is a file.
	writeFile(t, file, regexp.MustCompile(`(?m)^  token: .*\n`).ReplaceAllString(r.stdout, ""))
	if again := fserve(t, nil, "config", "--config", file); again.code != 0 || !strings.Contains(again.stdout, "idle: 5s # "+file) {
		t.Errorf("%+v", again)
	}
}

// configured starts a server by a file that says what content says, with a
// %ROOT% for the root.
func configured(t *testing.T, content string, args ...string) (p *process, rewrite func(content string)) {
	t.Helper()
	root, _, _ := site(t)
	file := filepath.Join(t.TempDir(), "f.yaml")
	rewrite = func(content string) {
		t.Helper()
		writeFile(t, file, strings.ReplaceAll(content, "%ROOT%", root))
	}
	rewrite(content)
	return serveCommand(t, exec.Command(binary, append([]string{"--config", file}, args...)...), nil), rewrite
}

func (p *process) wantLog(text string) {
	p.t.Helper()
	if !testenv.Eventually(patience, func() bool { return strings.Contains(p.errors(), text) }) {
		p.t.Fatalf("not logged: %s", text)
	}
}

const base = "root: \"%ROOT%\"\nlisten: 127.0.0.1:0\n"

// Downloads that are under way feel new limits, and none is lost.
func TestReloadUnderDownload(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		p, rewrite := configured(t, base+"limits: {paths: {/big.bin: 0B/s}}\n", driver, "--config-watch=false")
		got := make(chan string, 1)
		go func() {
			resp, err := http.Get(p.url("/big.bin"))
			if err != nil {
				got <- err.Error()
				return
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil || n != resp.ContentLength {
				got <- "broken off"
			}
			close(got)
		}()
		if body := ask(t, p.url("/"), nil, nil); body != "<p>hello" {
			t.Errorf("%q", body)
		}
		rewrite(base + "workers: 7\nlog: {level: debug}\n")
		p.signal(syscall.SIGHUP)
		p.wantLog("configuration reloaded")
		if fault := <-got; fault != "" {
			t.Error(fault)
		}
		for _, want := range []string{"path=workers old=0 new=7", "path=log.level", "changed=2 need_restart=1"} {
			if !strings.Contains(p.errors(), want) {
				t.Errorf("not logged: %s", want)
			}
		}
	})
}

// A bad file changes nothing, is reported, and is forgotten when it is mended.
func TestReloadBadFile(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1.log"), filepath.Join(dir, "2.log")
	p, rewrite := configured(t, base+"access_log: {file: "+first+"}\n", "--config-watch=false")
	rewrite(base + "access_log: {file: " + second + "}\nlimits: {client: 3}\n")
	p.signal(syscall.SIGHUP)
	p.wantLog("configuration not reloaded, going on with the one in force")
	if _, err := os.Stat(second); err == nil {
		t.Error("part of a bad file was used")
	}
	if got := ask(t, p.url("/?one"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
	wantLine := func(name, want string) {
		t.Helper()
		var b []byte
		if !testenv.Eventually(patience, func() bool { b, _ = os.ReadFile(name); return strings.Contains(string(b), want) }) {
			t.Fatalf("%s: %q, want %s", name, b, want)
		}
		if strings.Count(string(b), "\n") != 1 {
			t.Errorf("%s: %q", name, b)
		}
	}
	wantLine(first, "/?one")
	// The place of the log cannot be had.
	rewrite(base + "access_log: {file: " + dir + "/none/log}\n")
	p.signal(syscall.SIGHUP)
	p.wantLog("access log: " + dir + "/none/log: access: no such file")
	rewrite(base + "access_log: {file: " + second + "}\nlimits: {client: 3GB/s}\n")
	p.signal(syscall.SIGHUP)
	p.wantLog("configuration reloaded")
	if got := ask(t, p.url("/?two"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
	wantLine(second, "/?two")
	wantLine(first, "/?one")
}

// The file is watched.
func TestReloadByWatching(t *testing.T) {
	p, rewrite := configured(t, base)
	rewrite(base + "timeouts: {drain: 1h}\n")
	p.wantLog("path=timeouts.drain old=30s new=1h")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	if !strings.Contains(p.errors(), "timeout=1h0m0s") {
		t.Errorf("drained by %s", p.errors())
	}
}

// A restart with a broken file starts from the last good one if that is wanted.
func TestFallback(t *testing.T) {
	state := t.TempDir()
	p, rewrite := configured(t, base+"files: {server_field: kept}\n", "--state-dir", state)
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	rewrite("root: [")
	args := append(p.cmd.Args[1:3:3], "--state-dir", state)
	if r := fserve(t, nil, args...); r.code != 78 || !strings.Contains(r.stderr, "not YAML") {
		t.Errorf("%+v", r)
	}
	p = serveCommand(t, exec.Command(binary, append(args, "--config-fallback")...), nil)
	p.wantLog("RUNNING WITH THE LAST GOOD ONE")
	resp, err := http.Get(p.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Server"); got != "kept" {
		t.Errorf("Server: %q", got)
	}
}

// Reloads by the dozen, with downloads all the while: none of them is harmed,
// and nothing is left behind.
func TestReloadStorm(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		_, big, size := site(t)
		p, rewrite := configured(t, base, driver, "--config-watch=false")
		testenv.Hold(t, filepath.Join(p.root, "big.bin")) // what is fetched takes pipes
		download := func() error {
			resp, err := http.Get(p.url("/big.bin"))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && int64(len(body)) != size {
				err = io.ErrUnexpectedEOF
			}
			return errors.Join(err, big.Check(body, 0))
		}
		if err := download(); err != nil {
			t.Fatal(err)
		}
		before := descriptors(t, p.cmd.Process.Pid)
		stop, faults := make(chan struct{}), make(chan error, 2)
		for range cap(faults) {
			go func() {
				var err error
				for err == nil {
					select {
					case <-stop:
						faults <- nil
						return
					default:
						err = download()
					}
				}
				faults <- err
			}()
		}
		const reloads = 60
		for i := range reloads {
			rewrite(fmt.Sprintf("%slimits: {client: %dGB/s, paths: {/%d/: 1MiB/s, /big.bin: {rate: 2GB/s, weight: %d}}}\n", base, 1+i%2, i, 1+i))
			p.signal(syscall.SIGHUP)
			p.wantLog(fmt.Sprintf("path=limits.paths[/%d/] old=\"\" new=1MiB/s", i))
		}
		close(stop)
		for range cap(faults) {
			if err := <-faults; err != nil {
				t.Error(err)
			}
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		pipes := 2 * cap(faults) // one for each download at most was made, and is kept for others
		if !testenv.Eventually(patience, func() bool { return descriptors(t, p.cmd.Process.Pid) <= before+pipes }) {
			t.Errorf("%d descriptors, %d before and up to %d of pipes", descriptors(t, p.cmd.Process.Pid), before, pipes)
		}
	})
}

// descriptors is how many a process has open.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Hosts and locations change at a reload, under downloads that go on; a file that
// is wrong about them changes nothing.
func TestReloadHosts(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		other := t.TempDir()
		writeFile(t, filepath.Join(other, "f.txt"), "other")
		p, rewrite := configured(t, base, driver, "--config-watch=false")
		hup := func(log string) {
			t.Helper()
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			p.wantLog(log)
		}
		ask := func(host, path string) (int, string) {
			t.Helper()
			a := testenv.Ask(t, http.DefaultClient, "GET", p.url(path), "", "Host: "+host)
			return a.StatusCode, a.Body
		}
		want := func(host, path string, status int, body string) {
			t.Helper()
			if s, b := ask(host, path); s != status || body != "" && b != body {
				t.Errorf("%s of %s: %d %q, want %d %q", path, host, s, b, status, body)
			}
		}
		want("o.example", "/o/f.txt", 404, "")
		rewrite(base + "hosts: {o.example: {root: " + other + "}}\nlocations: {/o/: {alias: " + other + ", deny: [127.0.0.1]}}\n")
		hup("path=hosts[o.example].root")
		p.wantLog("changed=5 need_restart=0")
		want("o.example", "/f.txt", 200, "other")
		want("x", "/o/f.txt", 403, "")
		rewrite(base + "hosts: {o.example: {root: " + other + "/none}}\n")
		hup("configuration not reloaded")
		want("o.example", "/f.txt", 200, "other")
		rewrite(base + "locations: {/o/: {alias: " + other + "}}\n")
		hup("path=hosts[o.example]")
		p.wantLog("need_restart=0")
		if !testenv.Eventually(patience, func() bool { s, _ := ask("o.example", "/o/f.txt"); return s == 200 }) {
			t.Error("the location is still closed")
		}
		want("o.example", "/f.txt", 404, "")
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
}
