package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// logHas waits until a file has a text.
func logHas(t *testing.T, file, want string) {
	t.Helper()
	var b []byte
	if !testenv.Eventually(patience, func() bool {
		b, _ = os.ReadFile(file) // it may not be there
		return strings.Contains(string(b), want)
	}) {
		t.Fatalf("%s without %q:\n%s", file, want, b)
	}
}

// The log for operators has a file of its own, which is opened anew at SIGUSR1. What cannot be
// opened anew goes on in the old file.
func TestErrorLog(t *testing.T) {
	root, _, _ := site(t)
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file, moved := filepath.Join(dir, "error.log"), filepath.Join(dir, "error.log.1")
	p := serve(t, nil, "--root", root, "--log-file", file)
	p.signal(syscall.SIGHUP)
	logHas(t, file, "INFO configuration reloaded")
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	if !testenv.Eventually(patience, func() bool { _, err := os.Stat(file); return err == nil }) {
		t.Fatal("no new file")
	}
	p.signal(syscall.SIGHUP)
	logHas(t, file, "INFO configuration reloaded")

	gone := dir + ".gone"
	if err := os.Rename(dir, gone); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	logHas(t, filepath.Join(gone, "error.log"), "ERROR going on with the old log")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	logHas(t, filepath.Join(gone, "error.log"), "INFO draining")
	if text := p.errors(); strings.Contains(text, "INFO") {
		t.Errorf("on standard error, too: %s", text)
	}
}

// Why the process ends is said in both places.
func TestErrorLogHasTheEnd(t *testing.T) {
	root, _, _ := site(t)
	file := filepath.Join(t.TempDir(), "error.log")
	taken := serve(t, nil, "--root", root).addrs[0]
	r := fserve(t, nil, "--root", root, "--log-file", file, "--listen", taken)
	logHas(t, file, "address already in use")
	if !strings.Contains(r.stderr, "address already in use") {
		t.Errorf("%+v", r)
	}
}

// A full disk under the log for operators: lines are dropped and counted, serving goes on, and
// when there is room again the log says how many are lost.
func TestErrorLogOnAFullDisk(t *testing.T) {
	root, _, _ := site(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	file, filler := filepath.Join(dir, "log"), filepath.Join(dir, "filler")
	writeFile(t, filler, strings.Repeat("x", 16<<10))
	p := serve(t, nil, "--root", root, "--log-file", file, "--admin", "127.0.0.1:0")
	p.wantLog("admin listener on")
	dropped := regexp.MustCompile(`(?m)^fserve_log_dropped_lines_total [1-9]`)
	if !testenv.Eventually(patience, func() bool {
		p.signal(syscall.SIGHUP)
		return dropped.MatchString(ask(t, p.admin()+"/metrics", nil, nil))
	}) {
		t.Fatal("no line is counted as dropped")
	}
	if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	logHas(t, file, "lines of the log were lost")
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}
