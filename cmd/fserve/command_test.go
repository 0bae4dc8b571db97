package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// between returns what stands between two texts.
func between(s, begin, end string) string {
	_, s, _ = strings.Cut(s, begin)
	s, _, _ = strings.Cut(s, end)
	return s
}

// The help is one screen; each flag is in one topic.
func TestHelp(t *testing.T) {
	r := fserve(t, nil, "--help")
	lines := strings.Split(r.stdout, "\n")
	if again := fserve(t, nil, "help"); r.code != 0 || r.stderr != "" || again != r || len(lines) > 48 {
		t.Errorf("%d lines, %+v", len(lines), r)
	}
	for _, line := range lines {
		if len(line) > 100 {
			t.Errorf("a long line: %s", line)
		}
	}
	all := fserve(t, nil, "help", "all")
	topics := regexp.MustCompile(`(?m)^  ([a-z]+) +\S`).FindAllStringSubmatch(between(r.stdout, "TOPIC:\n", "\n\n"), -1)
	var together strings.Builder
	for _, m := range topics {
		topic := fserve(t, nil, "help", m[1])
		if topic.code != 0 || !strings.Contains(topic.stdout, "--") || !strings.Contains(topic.stdout, "\n  fserve ") {
			t.Errorf("help %s: %+v", m[1], topic)
		}
		if m[1] != "all" {
			together.WriteString(topic.stdout)
		}
	}
	flag := regexp.MustCompile(`(?m)^  (?:-.,|   ) --([a-z-]+)`)
	seen := make(map[string]int)
	for _, m := range flag.FindAllStringSubmatch(together.String(), -1) {
		seen[m[1]]++
	}
	if n := len(flag.FindAllString(all.stdout, -1)); n < 60 || n != len(seen) || len(topics) < 8 {
		t.Errorf("%d flags in %d topics, %d of all", len(seen), len(topics), n)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("--%s is in %d topics", name, n)
		}
	}
	for _, command := range []string{"check", "config", "doctor", "completion", "version"} {
		if r := fserve(t, nil, "help", command); r.code != 0 || !strings.Contains(r.stdout, "fserve "+command) || strings.Count(r.stdout, "\n") > 30 {
			t.Errorf("help %s: %+v", command, r)
		}
	}
}

func TestVersion(t *testing.T) {
	r := fserve(t, nil, "version")
	if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "fserve ") || !strings.Contains(r.stdout, "go1.") {
		t.Errorf("%+v", r)
	}
	if flag := fserve(t, nil, "--version"); flag != r {
		t.Errorf("%+v", flag)
	}
}

// Completions are scripts that their shells take, and know commands, flags and values.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := fserve(t, nil, "completion", shell)
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "fserve") {
			t.Errorf("%s: %+v", shell, r)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(r.stdout)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", shell, err, out)
		}
	}
	for _, test := range []struct{ args, want string }{
		{"ch", "check\t"}, {"--driv", "--driver\t"}, {"--driver ", "fallback\n"}, {"check --symlinks ", "inside\n"}, {"help lim", "limits\n"},
		{"completion ", "fish\n"}, {"--root ", ":16\n"}, {"-c ", "yaml\n:8\n"}, {"--tls-key ", ":0\n"}, {"--limit-client ", ":4\n"},
	} {
		r := fserve(t, nil, append([]string{"__complete"}, strings.Split(test.args, " ")...)...)
		if !strings.Contains(r.stdout, test.want) {
			t.Errorf("%q: %q, want %q", test.args, r.stdout, test.want)
		}
	}
	if r := fserve(t, nil, "completion", "tcsh"); r.code != 2 {
		t.Errorf("tcsh: %+v", r)
	}
}

func TestExitCodes(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const usage, unavailable, config = 2, 69, 78
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"", usage, "--root is required"},
		{"--root " + root + " --no-such-flag", usage, "no-such-flag"},
		{"--root " + root + " no-such-command", usage, "no-such-command"},
		{"--root " + root + " --driver kqueue", usage, "kqueue"},
		{"--root " + root + " --zero-copy no", usage, "sendfile"},
		{"--root " + root + " --workers -1", usage, "--workers"},
		{"--root " + root + " --workers 100000", usage, "--workers"},
		{"--root " + root + " --send-timeout 0s", usage, "timeouts"},
		{"--root " + root + " --idle-timeout 10", usage, "idle-timeout"},
		{"--root " + root + " --drain-timeout -1s", usage, "--drain-timeout"},
		{"--root " + root + " --listen 8080", usage, "HOST:PORT"},
		{"version --root " + root, usage, "root"},
		{"--root " + root + "/none", config, "no such file"},
		{"--root " + file, config, "not a directory"},
		{"--root " + root + " --access-log " + root + "/none/log", config, "access log"},
		{"--root " + root + " --listen " + taken.Addr().String(), unavailable, "address already in use"},
		{"--root " + root + " --listen 127.0.0.1:99999", usage, "99999"},
		{"--root " + root + " --listen 192.0.2.1:8080", unavailable, "assign requested address"},
		{"--root " + root + " --listen 127.0.0.1:0," + taken.Addr().String(), unavailable, "address already in use"},
	} {
		r := fserve(t, nil, strings.Fields(test.args)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.says) || r.stdout != "" {
			t.Errorf("fserve %s: %+v; want code %d and %q", test.args, r, test.code, test.says)
		}
		if !strings.HasPrefix(r.stderr, "fserve: ") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("fserve %s: says %q, want one line", test.args, r.stderr)
		}
	}
}

func TestStartLine(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		p := serve(t, nil, "--root", root, driver, "--workers", "2", "--listen", "127.0.0.1:0")
		if p.root != root || "--driver="+p.driver != driver || len(p.addrs) != 2 || !strings.HasSuffix(p.line, ", 2 workers") {
			t.Errorf("start line %q", p.line)
		}
		for i := range p.addrs {
			resp, err := http.Get("http://" + p.addrs[i] + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "<p>hello" {
				t.Errorf("%q, %v", body, err)
			}
		}
	})
}

func TestStartLineShowsAbsoluteRoot(t *testing.T) {
	root, _, _ := site(t)
	cmd := exec.Command(binary, "--listen", "127.0.0.1:0", "--root", ".")
	cmd.Dir = root
	if p := serveCommand(t, cmd, nil); p.root != root {
		t.Errorf("root %q, want %q", p.root, root)
	}
}

// Where a sandbox forbids io_uring the server says so and uses epoll, unless
// it was told not to.
func TestWithoutUring(t *testing.T) {
	root, _, _ := site(t)
	done := make(chan struct{})
	go func() { // processes started from its thread are under the filter too
		defer close(done)
		testenv.Deny(t, syscall.EPERM, unix.SYS_IO_URING_SETUP)
		r := fserve(t, nil, "--root", root, "--listen", "127.0.0.1:0", "--driver", "uring")
		if r.code != 69 || !strings.Contains(r.stderr, "io_uring") {
			t.Errorf("--driver uring: %+v", r)
		}
		p := serve(t, nil, "--root", root)
		if p.driver != "fallback" || !strings.Contains(p.why, "io_uring cannot be used") {
			t.Errorf("start line %q", p.line)
		}
	}()
	<-done
}

// Where a sandbox forbids openat2 the start line says what is lost, and links inside the
// root are followed all the same: those of a Kubernetes ConfigMap, say.
func TestWithoutOpenat2(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(root, "..2026_11"), 0o755), os.Symlink("..2026_11", filepath.Join(root, "..data")),
		os.WriteFile(filepath.Join(root, "..2026_11", "key"), []byte("value"), 0o644), os.Symlink("..data/key", filepath.Join(root, "key")),
		os.Symlink("/etc/passwd", filepath.Join(root, "out"))); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // processes started from its thread are under the filter too
		defer close(done)
		testenv.Deny(t, syscall.EPERM, unix.SYS_OPENAT2)
		for _, driver := range []string{"uring", "fallback"} {
			p := serve(t, nil, "--root", root, "--driver", driver)
			if !strings.HasSuffix(p.line, "workers; every open leaves its loop (openat2: operation not permitted)") {
				t.Errorf("start line %q", p.line)
			}
			if a := get(t, p.url("/key")); a.StatusCode != 200 || a.Body != "value" {
				t.Errorf("%s: a link inside the root: %d %q", driver, a.StatusCode, a.Body)
			}
			if a := get(t, p.url("/out")); a.StatusCode != 404 {
				t.Errorf("%s: a link out of the root: %d", driver, a.StatusCode)
			}
		}
	}()
	<-done
}

func TestEnvironment(t *testing.T) {
	root, _, _ := site(t)
	other := t.TempDir()
	env := []string{"FSERVE_ROOT=" + root, "FSERVE_LISTEN=127.0.0.1:0,127.0.0.1:0", "FSERVE_DRIVER=fallback", "FSERVE_WORKERS=3"}
	cmd := exec.Command(binary)
	p := serveCommand(t, cmd, env)
	if p.root != root || len(p.addrs) != 2 || p.driver != "fallback" || !strings.HasSuffix(p.line, ", 3 workers") {
		t.Errorf("start line %q", p.line)
	}
	// A flag wins.
	p = serve(t, env, "--root", other, "--workers=1")
	if p.root != other || len(p.addrs) != 1 || p.driver != "fallback" || !strings.HasSuffix(p.line, ", 1 workers") {
		t.Errorf("start line %q", p.line)
	}
	for _, bad := range []string{"FSERVE_SEND_TIMEOUT=soon", "FSERVE_WORKERS=many", "FSERVE_DRIVER=kqueue"} {
		r := fserve(t, []string{bad}, "--root", root)
		name, _, _ := strings.Cut(bad, "=")
		if r.code != 2 || !strings.Contains(r.stderr, name) {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

func TestAccessLog(t *testing.T) {
	root, _, _ := site(t)
	file := filepath.Join(t.TempDir(), "access.log")
	for _, to := range []string{file, "-"} {
		p := serve(t, nil, "--root", root, "--access-log", to)
		for i := range 3 {
			resp, err := http.Get(p.url(fmt.Sprintf("/?%s-%d", filepath.Base(to), i)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
		got := p.output()
		if to == file {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if strings.Count(got, "\n") != 3 || !strings.Contains(got, `-2 HTTP/1.1" 200 8 "-" "Go-http-client/1.1"`) {
			t.Errorf("--access-log %s: %q", to, got)
		}
	}
}

// What the server may not read is 403. Root may read everything, so the server
// runs as somebody else.
func TestForbidden(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("running as another user needs root")
	}
	root := t.TempDir()
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"open": 0o644, "closed": 0, "dir/f": 0o644, "sealed/f": 0o644} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	// One directory that may be passed but not listed, and one that may not.
	if err := os.Chmod(filepath.Join(root, "dir"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "sealed"), 0o700); err != nil {
		t.Fatal(err)
	}
	onBoth(t, func(t *testing.T, driver string) {
		cmd := exec.Command(binary, "--listen", "127.0.0.1:0", "--root", root, driver)
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		p := serveCommand(t, cmd, nil)
		for path, want := range map[string]int{
			"/open": 200, "/closed": 403, "/dir/f": 200, "/dir/": 403, "/dir/none": 404, "/sealed/f": 403, "/sealed/": 403,
		} {
			resp, err := http.Get(p.url(path))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
			}
		}
	})
}
