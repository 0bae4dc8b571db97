package main_test

import (
	"context"
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
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// manager is a service manager as far as sd_notify(3) goes.
type manager struct {
	t   *testing.T
	env []string
	got chan string // messages; closed at the end
}

func newManager(t *testing.T, env ...string) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t, append(env, "NOTIFY_SOCKET="+path), make(chan string, 10_000)}
	done := make(chan struct{})
	// Read at once, as a manager does: the socket holds ten messages (/proc/sys/net/unix/max_dgram_qlen),
	// and who has one more to say waits.
	go func() {
		defer close(done)
		defer close(m.got)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.got <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return m
}

// want waits for a message that matches, and fails the test if one that matches
// not comes before it.
func (m *manager) want(match string, not ...string) []string {
	m.t.Helper()
	late := time.After(patience)
	for {
		var text string
		select {
		case text = <-m.got:
		case <-late:
			m.t.Fatalf("no %s", match)
		}
		if found := regexp.MustCompile(match).FindStringSubmatch(text); found != nil {
			return found
		}
		for _, no := range not {
			if regexp.MustCompile(no).MatchString(text) {
				m.t.Fatalf("%q before %s", text, match)
			}
		}
	}
}

// What systemd's Type=notify-reload wants to hear: ready, signs of life, a reload
// with its time and its end, the process that takes over, and the end.
func TestNotify(t *testing.T) {
	root, _, _ := site(t)
	m := newManager(t, "WATCHDOG_USEC=300000")
	l := serveLine(t, exec.Command(binary, "--listen", "127.0.0.1:0", "--root", root), m.env)
	pid := l.serving()
	m.want(fmt.Sprintf(`(?s)READY=1.*MAINPID=%d\b`, pid), "WATCHDOG", "STOPPING")
	m.want("^WATCHDOG=1$")
	m.want("^WATCHDOG=1$")
	l.signal(syscall.SIGHUP)
	m.want(`^RELOADING=1\nMONOTONIC_USEC=\d+$`, "READY")
	m.want("READY=1")
	l.upgrade()
	m.want(fmt.Sprintf("^MAINPID=%d$", l.serving()), "READY")
	m.want(fmt.Sprintf(`(?s)READY=1.*MAINPID=%d\b`, l.serving()), "STOPPING")
	m.want("^WATCHDOG=1$")
	if err := syscall.Kill(l.serving(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.want("STOPPING=1")
	l.wantExit(0)
}

// activated starts a server with listening sockets, as systemd does.
func activated(t *testing.T, files []*os.File, args ...string) *process {
	t.Helper()
	// LISTEN_PID must be that of the server: the shell becomes it.
	cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf(`LISTEN_FDS=%d LISTEN_PID=$$ exec "$0" "$@"`, len(files)), binary}, args...)...)
	cmd.ExtraFiles = files
	return serveCommand(t, cmd, nil)
}

func listenFile(t *testing.T, network, addr string) (*os.File, net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, ln.Addr()
}

// Sockets of systemd serve the addresses that are configured like them; a client
// that connects before the server is there waits; others are named; the file of a
// Unix socket stays.
func TestSocketActivation(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		path := filepath.Join(t.TempDir(), "s")
		tcp, addr := listenFile(t, "tcp", "127.0.0.1:0")
		local, _ := listenFile(t, "unix", path)
		stray, strayAddr := listenFile(t, "tcp", "127.0.0.1:0")
		early, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer early.Close()
		p := activated(t, []*os.File{tcp, local, stray}, "--root", root, "--listen", addr.String()+",unix:"+path, "--workers=2", driver)
		if p.addrs[0] != addr.String() || p.addrs[1] != "unix:"+path {
			t.Errorf("%q", p.addrs)
		}
		p.wantLog("nothing listens on it")
		p.wantLog(strayAddr.String())
		early.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(early, "GET / HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(early); err != nil || !strings.HasSuffix(string(b), "<p>hello") {
			t.Errorf("%q %v", b, err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
		for range 10 { // whichever loop takes it
			if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
				t.Errorf("%q", got)
			}
			resp, err := client.Get("http://h/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the socket of systemd is gone: %v", err)
		}
		// It waits for the next one.
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
}

// A successor that does not start changes nothing but the log, which says why.
func TestUpgradeFails(t *testing.T) {
	root, _, _ := site(t)
	dir := t.TempDir()
	program, config := filepath.Join(dir, "fserve"), filepath.Join(dir, "f.yaml")
	copyProgram(t, program)
	good := "root: " + root + "\nlisten: 127.0.0.1:0\n"
	writeFile(t, config, good)
	l := serveLine(t, exec.Command(program, "--config", config, "--config-watch=false"), nil)
	pid := l.serving()
	refuse := func(why string) {
		t.Helper()
		l.signal(syscall.SIGUSR2)
		l.wantLog(why)
		l.wantLog("going on with this process")
		if got := ask(t, l.url("/"), nil, nil); got != "<p>hello" {
			t.Errorf("%q", got)
		}
		if l.serving() != pid {
			t.Errorf("process %d serves, not %d", l.serving(), pid)
		}
	}
	writeFile(t, config, good+"workers: many\n")
	refuse(`\"many\" is not a whole number (exit status 78)`)
	writeFile(t, config, good+"admin: {listen: 'unix:"+dir+"/none/s'}\n")
	refuse("no such file or directory (exit status 69)")
	replaceProgram(t, program, "#!/bin/sh\nexit 7\n")
	refuse("it has not said that it is ready (exit status 7)")
	replaceProgram(t, program, "no program\n")
	refuse("exec format error")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	refuse("no such file or directory")
	copyProgram(t, program)
	writeFile(t, config, good)
	l.upgrade()
	if got := ask(t, l.url("/"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
	l.stop()
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	replaceProgram(t, to, string(b))
}

// replaceProgram puts a program in the place of another one, which may be running.
func replaceProgram(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(content), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// A download that was under way comes to its end in the old process; with no
// patience it is cut.
func TestUpgradeUnderDownload(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, big, size := site(t)
		for _, patient := range []bool{true, false} {
			args := []string{"--listen", "127.0.0.1:0", "--root", root, driver}
			if !patient {
				args = append(args, "--upgrade-timeout=0s")
			}
			l := serveLine(t, exec.Command(binary, args...), nil)
			_, resp := slowDownload(t, l.addrs[0])
			old := l.upgrade()
			if got := ask(t, l.url("/"), nil, nil); got != "<p>hello" {
				t.Errorf("%q", got)
			}
			if patient && ended(old) {
				t.Error("the old process has left its download")
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if patient {
				if err == nil {
					err = big.Check(body, 0)
				}
				if err != nil || int64(len(body)) != size {
					t.Errorf("%d bytes of %d: %v", len(body), size, err)
				}
			} else if err == nil {
				t.Error("the download was not cut")
			}
			if !testenv.Eventually(patience, func() bool { return ended(old) }) {
				t.Error("the old process goes on")
			}
			l.stop()
		}
	})
}

// What cannot be written is said at start, with the code of its kind.
func TestUnwritablePaths(t *testing.T) {
	root, _, _ := site(t)
	dir := t.TempDir()
	none := filepath.Join(dir, "none", "x")
	taken := filepath.Join(dir, "taken")
	writeFile(t, taken, "a file")
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"--pid-file", none}, 78, "PID file: " + none + ": access: no such file or directory"},
		{[]string{"--pid-file", dir}, 78, "PID file: " + dir + ": it is there and is not a file"},
		{[]string{"--pid-file", "/proc/x"}, 78, "PID file: "},
		{[]string{"--listen", "unix:" + none}, 69, "listener unix:" + none + ": no such file or directory"},
		{[]string{"--listen", "unix:" + taken}, 69, "the file is there and is not a socket"},
		{[]string{"--admin", "unix:" + none}, 69, "no such file or directory"},
	} {
		r := fserve(t, nil, append([]string{"--root", root, "--listen", "127.0.0.1:0"}, test.args...)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.stderr) {
			t.Errorf("%q: %+v, want %d %q", test.args, r, test.code, test.stderr)
		}
	}
}

// The doctor's code says whether there is something to mend.
func TestDoctor(t *testing.T) {
	root, _, _ := site(t)
	text, json := fserve(t, nil, "doctor", "--root", root), fserve(t, nil, "doctor", "--root", root, "--json")
	bad := strings.Contains(text.stdout, "warning ")
	want := 0
	if bad {
		want = 1
	}
	if text.code != want || json.code != want || strings.Contains(json.stdout, `"status": "warning"`) != bad {
		t.Errorf("%+v\n%+v", text, json)
	}
	for _, name := range []string{"kernel", "io_uring", "open files", "somaxconn", "file system", "residency"} {
		if !strings.Contains(text.stdout, " "+name+": ") || !strings.Contains(json.stdout, `"name": "`+name+`"`) {
			t.Errorf("nothing about %s:\n%s", name, text.stdout)
		}
	}
}

// systemd takes the units as they are, but for the directory of the program and
// what is too new for it.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze")
	}
	dir := t.TempDir()
	units := []string{filepath.Join(dir, "fserve.service"), filepath.Join(dir, "fserve.socket")}
	for _, u := range units {
		b, err := os.ReadFile(filepath.Join("../../deploy/systemd", filepath.Base(u)))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "/usr/local/bin/fserve", binary)
		writeFile(t, u, strings.ReplaceAll(text, "Type=notify-reload", "Type=notify")) // 253
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) || strings.Contains(line, "fserve.") {
			t.Error(line)
		}
	}
	// Its code may be about units of the machine that ours name.
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Errorf("%v\n%s", err, out)
	}
}
