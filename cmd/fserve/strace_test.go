package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

// movers are the system calls that can move bytes of a file to a socket.
var movers = []string{
	"read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev2",
	"sendto", "sendmsg", "sendmmsg", "sendfile", "splice", "copy_file_range",
}

// moved matches a call that moves bytes and what it returned. A call that was
// interrupted by another thread is resumed on a line of its own.
var moved = regexp.MustCompile(`(?:^\d+ +|<\.\.\. )(\w+)(?:\(| resumed).*= (\d+)$`)

// trace runs the server under strace, downloads the large file, and returns
// how many bytes each system call has moved.
func trace(t *testing.T, args ...string) map[string]int64 {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	out := filepath.Join(t.TempDir(), "trace")
	if err := exec.Command(strace, "-o", out, "true").Run(); err != nil {
		t.Skipf("strace cannot trace here: %v", err)
	}
	root, big, size := site(t)
	testenv.Hold(t, filepath.Join(root, "big.bin"))
	// -D: the server is our child and the tracer is not.
	cmd := exec.Command(strace, append([]string{"-D", "-f", "-o", out, "-e", "trace=" + strings.Join(movers, ","),
		binary, "--listen", "127.0.0.1:0", "--root", root}, args...)...)
	p := serveCommand(t, cmd, nil)
	resp, err := http.Get(p.url("/big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil {
		err = big.Check(body, 0)
	}
	if err != nil || int64(len(body)) != size {
		t.Fatalf("%d bytes of %d: %v", len(body), size, err)
	}
	tracer := tracerOf(t, cmd.Process.Pid)
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	// The trace is whole when the tracer has ended, a moment after the server.
	if !testenv.Eventually(patience, func() bool { return hasEnded(tracer) }) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tracer))
		t.Fatalf("the tracer does not end:\n%s", status)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	sum := make(map[string]int64)
	for _, line := range strings.Split(string(b), "\n") {
		if m := moved.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseInt(m[2], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum[m[1]] += n
		}
	}
	t.Logf("bytes by call: %v", sum)
	return sum
}

// tracerOf returns the process that traces another.
func tracerOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^TracerPid:\s+(\d+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no tracer:\n%s", b)
	}
	tracer, err := strconv.Atoi(string(m[1]))
	if err != nil || tracer == 0 {
		t.Fatalf("tracer %d: %v", tracer, err)
	}
	return tracer
}

// hasEnded reports whether a process is gone, or a zombie that nobody has
// waited for: its parent may be one that does not, as in a container.
func hasEnded(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b), ") ") // proc_pid_stat(5)
	return strings.HasPrefix(state, "Z")
}

// The bytes of a file that is in memory go the way that was asked for, and no
// other: by default from the page cache to the socket, never through ours.
func TestBytesTakeTheirWay(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		for _, test := range []struct {
			mode string
			ways map[string]int64 // how often each byte is moved by a call
		}{
			{"auto", map[string]int64{"sendfile": 1}},
			{"sendfile", map[string]int64{"sendfile": 1}},
			{"splice", map[string]int64{"splice": 2}}, // into a pipe and out of it
		} {
			t.Run(test.mode, func(t *testing.T) {
				sum := trace(t, driver, "--zero-copy="+test.mode)
				besides := int64(100 << 10) // heads, and what the runtime reads for itself
				if test.mode == "auto" {
					besides += 2 * 256 << 10 // the end of the file, into a pipe and out of it
				}
				const size = 16 << 20
				for _, call := range movers {
					want := test.ways[call] * size
					if got := sum[call]; got < want-besides || got > want+besides {
						t.Errorf("%s has moved %d bytes, want about %d", call, got, want)
					}
				}
			})
		}
	})
}
