package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// smallDisk returns a directory on a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, size); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A full disk under the access log: lines are dropped and counted, serving goes
// on, and so does the log when there is room again, with whole lines.
func TestFullDisk(t *testing.T) { onBoth(t, fullDisk) }

func fullDisk(t *testing.T, driver string) {
	root, _, _ := site(t)
	dir := smallDisk(t, "size=16k")
	log, filler := filepath.Join(dir, "log"), filepath.Join(dir, "filler")
	writeFile(t, filler, strings.Repeat("x", 8<<10))
	p := serve(t, nil, driver, "--root", root, "--access-log", log, "--admin", "127.0.0.1:0")
	p.wantLog("admin listener on")
	metrics := regexp.MustCompile(`admin listener on (\S+)`).FindStringSubmatch(p.errors())[1] + "/metrics"
	dropped := func() bool {
		return regexp.MustCompile(`(?m)^fserve_access_log_dropped_\w+ [1-9]`).MatchString(ask(t, metrics, nil, nil))
	}
	if !testenv.Eventually(patience, func() bool {
		for range 20 {
			if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
				t.Errorf("%q", got)
			}
		}
		return dropped()
	}) {
		t.Fatal("no line is counted as dropped")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	ask(t, p.url("/?room"), nil, nil)
	var text string
	if !testenv.Eventually(patience, func() bool {
		b, _ := os.ReadFile(log)
		text = string(b)
		return strings.Contains(text, "/?room")
	}) {
		t.Fatal("the log does not go on")
	}
	torn := 0
	for line := range strings.Lines(text) {
		if whole := strings.HasPrefix(line, "127.0.0.1 - - [") && strings.Count(line, " - - [") == 1; !whole || !strings.HasSuffix(line, "\"-\" \"Go-http-client/1.1\"\n") {
			torn++
		}
	}
	if torn > 1 || !strings.HasSuffix(text, "\n") {
		t.Errorf("%d lines are torn, at most the one that met the end of the disk may be", torn)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	p.wantLog("the access log is not complete")
}

// What a full disk does besides, as operations.md says: a log is opened anew, unless there is no room for
// its name; the last good configuration stays, and an upgrade fails; serving goes on.
func TestFullDiskBesides(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		const inodes = 8
		dir := smallDisk(t, fmt.Sprintf("size=32k,nr_inodes=%d", inodes+4)) // and those of the next four, and the root
		state, log, kept := filepath.Join(dir, "state"), filepath.Join(dir, "log"), filepath.Join(dir, "state/last-good.yaml")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%saccess_log: {file: %q}\npid_file: %q\n", base, log, filepath.Join(dir, "pid"))
		p, rewrite := configured(t, text, driver, "--config-watch=false", "--state-dir", state)
		good, err := os.ReadFile(kept)
		if err != nil {
			t.Fatal(err)
		}
		writeFull(t, filepath.Join(dir, "filler"))
		wantServed := func(when string) {
			if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
				t.Errorf("%s: %q", when, got)
			}
		}
		wantServed("full")

		rewrite(text + "limits: {client: 100MiB/s}\n")
		p.signal(syscall.SIGHUP)
		p.wantLog("the last good configuration is not kept")
		if now, err := os.ReadFile(kept); err != nil || !bytes.Equal(now, good) {
			t.Errorf("the last good configuration was %q, is %q: %v", good, now, err)
		}
		p.signal(syscall.SIGUSR2)
		p.wantLog("the successor does not serve; going on with this process")
		wantServed("after an upgrade")

		rename(t, log, log+".1")
		p.signal(syscall.SIGUSR1)
		if !testenv.Eventually(patience, func() bool { _, err := os.Stat(log); return err == nil }) {
			t.Fatal("the log is not opened anew")
		}
		for i := 0; os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600) == nil; i++ {
			if i > inodes {
				t.Fatal("there is room for names without end")
			}
		}
		rename(t, log, log+".2")
		p.signal(syscall.SIGUSR1)
		p.wantLog("going on with the old access log")
		if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
			t.Fatal(err)
		}
		wantServed("with room")
		if !testenv.Eventually(patience, func() bool { b, _ := os.ReadFile(log + ".2"); return len(b) > 0 }) {
			t.Error("the old log does not go on")
		}
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
	})
}

// writeFull writes a file until the disk is full.
func writeFull(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
