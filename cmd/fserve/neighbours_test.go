package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// piped is a server whose standard streams are pipes of the test.
type piped struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr [2]*os.File // the ends that are read, and those that are written
	url, metrics   string
}

func servePiped(t *testing.T, args ...string) *piped {
	t.Helper()
	p := &piped{t: t, cmd: exec.Command(binary, append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...)}
	for _, ends := range []*[2]*os.File{&p.stdout, &p.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		*ends = [2]*os.File{r, w}
		t.Cleanup(func() { r.Close(); w.Close() })
	}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.stdout[1], p.stderr[1], cleanEnv()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	if err := p.stderr[0].SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r, said := bufio.NewReader(p.stderr[0]), ""
	for !strings.Contains(said, "admin listener on") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", said, err)
		}
		said += line
	}
	p.url = regexp.MustCompile(`on (http://\S+), driver`).FindStringSubmatch(said)[1] + "/"
	p.metrics = regexp.MustCompile(`admin listener on (\S+)`).FindStringSubmatch(said)[1] + "/metrics"
	return p
}

func (p *piped) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wantEnd waits for the end by SIGTERM, which is a clean one.
func (p *piped) wantEnd() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the end: %v", err)
	}
}

// Whoever reads standard output and error goes away: lines are dropped and counted, serving
// goes on, and a reload does.
func TestReadersGoAway(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		p := servePiped(t, "--root", root, "--access-log", "-", driver)
		for _, end := range []*os.File{p.stdout[0], p.stdout[1], p.stderr[0], p.stderr[1]} {
			end.Close()
		}
		p.signal(syscall.SIGHUP) // which has lines
		for _, name := range []string{"fserve_log_dropped_lines_total", "fserve_access_log_dropped_lines_total"} {
			match := regexp.MustCompile(`(?m)^` + name + ` [1-9]`)
			if !testenv.Eventually(patience, func() bool {
				return ask(t, p.url, nil, nil) == "<p>hello" && match.MatchString(ask(t, p.metrics, nil, nil))
			}) {
				t.Errorf("%s does not count", name)
			}
		}
		p.wantEnd()
	})
}

// fill makes a pipe take nothing more.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	dup, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0) // Fd has made it blocking
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	if err := unix.SetNonblock(dup, true); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Write(dup, make([]byte, 1))
	}
	if err := unix.SetNonblock(dup, false); err != nil { // it is the server's, too
		t.Fatal(err)
	}
}

// Whoever reads standard output and error does so no more: nothing waits, not even the end.
func TestReadersStop(t *testing.T) {
	root, _, _ := site(t)
	p := servePiped(t, "--root", root, "--access-log", "-")
	fill(t, p.stdout[1])
	fill(t, p.stderr[1])
	for range 3 {
		p.signal(syscall.SIGHUP)
		p.signal(syscall.SIGUSR1)
		if got := ask(t, p.url, nil, nil); got != "<p>hello" {
			t.Errorf("%q", got)
		}
	}
	p.wantEnd()
}

// An access log that is a FIFO needs somebody who reads it at start. One who stops costs
// lines, and nothing else waits.
func TestAccessLogFIFO(t *testing.T) {
	root, _, _ := site(t)
	fifo := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--root", root, "--listen", "127.0.0.1:0", "--access-log", fifo}
	if r := fserve(t, nil, args...); r.code != 78 || !strings.Contains(r.stderr, "access log: ") {
		t.Errorf("nobody reads: %+v", r)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := serve(t, nil, args[:2:2]...)
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	p = serve(t, nil, args...)
	ask(t, p.url("/?first"), nil, nil)
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || !strings.Contains(line, "/?first") {
		t.Errorf("%q, %v", line, err)
	}
	filler, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		if err = filler.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err == nil {
			_, err = filler.Write(make([]byte, 4096))
		}
	}
	for range 3 {
		ask(t, p.url("/"), nil, nil)
		p.signal(syscall.SIGUSR1)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	p.wantLog("the access log is not complete")
}

// A second signal ends the process at once, also while the kernel opens a file and does
// not come to an end.
func TestSecondSignalWhileAnOpenHangs(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		hung := filepath.Join(root, "hung")
		writeFile(t, hung, "x")
		hang(t, hung)
		p := serve(t, nil, "--root", root, "--drain-timeout=1h", driver)
		conn, err := net.Dial("tcp", p.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /hung HTTP/1.1\r\nHost: h\r\n\r\n")
		p.signal(syscall.SIGTERM)
		p.wantLog("draining")
		begun := time.Now()
		p.signal(syscall.SIGTERM)
		p.wantExit(0)
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("the end took %v", took)
		}
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A signal ends a process, too, that hangs while it starts.
func TestSignalWhileTheStartHangs(t *testing.T) {
	root, _, _ := site(t)
	hung := filepath.Join(root, "hung")
	writeFile(t, hung, "x")
	hang(t, hung)
	cmd := exec.Command(binary, "--root", root, "--listen", "127.0.0.1:0", "--error-page", "404=/hung")
	cmd.Env = cleanEnv()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	opening := func() bool { // a thread waits in the kernel for whoever permits it
		waits, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", cmd.Process.Pid)) // the pattern is good
		for _, w := range waits {
			if b, _ := os.ReadFile(w); strings.Contains(string(b), "fanotify") {
				return true
			}
		}
		return false
	}
	if !testenv.Eventually(patience, opening) {
		t.Skip("nothing hangs here")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
}

// hang makes opens of a file wait until the end of the test, as a file system does whose server
// is gone: somebody is to permit them, and does not.
func hang(t *testing.T, name string) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, unix.O_RDONLY)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM, unix.AT_FDCWD, name)
	}
	if err != nil {
		t.Skipf("no fanotify: %v", err)
	}
}

// What processes have left that were killed before they served is swept at start; what is
// somebody else's stays.
func TestPIDFilesAreSwept(t *testing.T) {
	root, _, _ := site(t)
	dir := t.TempDir()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	stale, alive, other := fmt.Sprintf("pid.%d", dead.Process.Pid), fmt.Sprintf("pid.%d", os.Getpid()), "pid.old"
	for _, name := range []string{stale, "pid.3141592653", alive, other} {
		writeFile(t, filepath.Join(dir, name), "1\n")
	}
	serve(t, nil, "--root", root, "--pid-file", filepath.Join(dir, "pid"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(entries), fmt.Sprintf("[- pid - %s - %s]", alive, other); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
