package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/bench/proc"
)

// TestMain lets this test binary be started as the servers that live in bench.
func TestMain(m *testing.M) {
	if ok, err := Main(os.Args[1:]); ok {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// site serves two files of 1 and 100 KiB.
func site(t *testing.T) Site {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := proc.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	s := Site{Root: t.TempDir(), Scratch: t.TempDir(), Self: self, CPU: cpus[0], Conns: 64, Path: "/small"}
	for name, size := range map[string]int{"small": 1 << 10, "large": 5 << 20} {
		if err := os.WriteFile(filepath.Join(s.Root, name), content(size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// nginx may run its worker as another user.
	for d := s.Root; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func content(size int) []byte { return []byte(strings.Repeat("abcdefg\n", size/8)) }

// startFor starts a server, and stops it at the end of the test.
func startFor(t *testing.T, spec Spec, s Site) *Server {
	t.Helper()
	srv, err := Start(t.Context(), spec, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	return srv
}

func fetch(t *testing.T, srv *Server, path string, size int) *http.Response {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + srv.Addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != string(content(size)) {
		t.Fatalf("%s%s: status %d, %d bytes, error %v", srv.Name, path, resp.StatusCode, len(body), err)
	}
	return resp
}

func TestServers(t *testing.T) {
	s := site(t)
	specs := []Spec{{Name: "fasthttp", Kind: FastHTTP}, {Name: "nethttp", Kind: NetHTTP}}
	if info, err := FindNginx(); errors.Is(err, ErrNoNginx) {
		t.Log("skipped:", err)
	} else if err != nil {
		t.Fatal(err)
	} else {
		specs = append(specs, Spec{Name: "nginx", Kind: Nginx, Binary: info.Binary})
		if info.Threads {
			specs = append(specs, Spec{Name: "nginx-aio", Kind: NginxAIO, Binary: info.Binary})
		}
	}
	for _, spec := range specs {
		srv := startFor(t, spec, s)
		fetch(t, srv, "/small", 1<<10)
		fetch(t, srv, "/large", 5<<20)
		pids, err := srv.Pids()
		if err != nil || len(pids) == 0 {
			t.Fatalf("%s: processes %v, error %v", spec.Name, pids, err)
		}
		if n := proc.Strays(pids, s.CPU); n != 0 {
			t.Errorf("%s: %d threads are not bound to core %d", spec.Name, n, s.CPU)
		}
		srv.Stop()
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("%s: process %d still exists (%v)", spec.Name, pid, err)
			}
		}
		if _, err := srv.Pids(); err == nil {
			t.Errorf("%s: no error for a server that has ended", spec.Name)
		}
	}
}

// The servers of others serve files, as far as they are installed.
func TestOthers(t *testing.T) {
	s := site(t)
	for kind := range others {
		t.Run(string(kind), func(t *testing.T) {
			bin := FindOther(kind)
			if bin == "" {
				t.Skip("it is not installed")
			}
			srv := startFor(t, Spec{Name: string(kind), Kind: kind, Binary: bin}, s)
			fetch(t, srv, "/small", 1<<10)
			fetch(t, srv, "/large", 5<<20)
		})
	}
}

func TestFloor(t *testing.T) {
	s := site(t)
	for _, s.Path = range []string{"/small", "/large"} {
		for _, s.Close = range []bool{false, true} {
			srv := startFor(t, Spec{Name: "floor/any name", Kind: Floor}, s)
			size := 1 << 10
			if s.Path == "/large" {
				size = 5 << 20
			}
			for range 2 {
				fetch(t, srv, s.Path, size)
			}
		}
	}
}

func TestStartFails(t *testing.T) {
	s := site(t)
	script := filepath.Join(s.Scratch, "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho out of order\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		spec Spec
		want string
	}{
		{Spec{Name: "x", Kind: Fserve, Binary: script}, "out of order"},
		{Spec{Name: "x", Kind: Fserve, Binary: "/does/not/exist"}, "no such file"},
		{Spec{Name: "x", Kind: "unheard of"}, "unknown kind"},
	} {
		if _, err := Start(t.Context(), tc.spec, s); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// Start gives up when its context ends, and leaves nothing behind.
func TestStartCancelled(t *testing.T) {
	s := site(t)
	script := filepath.Join(s.Scratch, "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Spec{Name: "x", Kind: Fserve, Binary: script}, s); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A server that does not end when asked to is killed.
func TestStopKills(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo ready; while :; do sleep 60; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := proc.StartOn(cmd, site(t).CPU); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	srv := &Server{pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(srv.done)
	}()
	srv.stop(time.Millisecond)
	srv.stop(time.Millisecond) // once more does no harm
	if s := cmd.ProcessState.String(); s != "signal: killed" {
		t.Errorf("it ended by %q", s)
	}
}

func TestParseNginx(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want NginxInfo
	}{
		{"nginx version: nginx/1.22.1\nconfigure arguments: --with-http_v2_module --with-threads\n", NginxInfo{Version: "1.22.1", Threads: true}},
		{"nginx version: nginx/1.28.0 (Ubuntu)\nconfigure arguments:\n", NginxInfo{Version: "1.28.0"}},
		{"something else\n", NginxInfo{Version: "unknown"}},
	} {
		if got := parseNginx(tc.in); got != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.in, got, tc.want)
		}
	}
}

func TestNoNginx(t *testing.T) {
	_, err := findNginx("no-such-program-1", "no-such-program-2")
	if !errors.Is(err, ErrNoNginx) || !strings.Contains(err.Error(), "apt-get install nginx-light") {
		t.Errorf("error %v", err)
	}
	if _, err := findNginx("false"); err == nil || errors.Is(err, ErrNoNginx) {
		t.Errorf("error %v", err)
	}
}
