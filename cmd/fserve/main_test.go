package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// patience bounds every wait for a process.
const patience = 30 * time.Second

// binary is the command under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fserve-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "fserve")
	// Readable by all: a test runs it as another user.
	err = errors.Join(os.Chmod(dir, 0o755), build())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return testenv.Main(m)
}

func build() error {
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

// fserve runs the command to its end. env are further variables.
func fserve(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(cleanEnv(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait() // the code tells
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// cleanEnv is the environment without variables of the command.
func cleanEnv() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FSERVE_") {
			env = append(env, v)
		}
	}
	return env
}

// process is a running server.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	line   string // the start line
	root   string
	addrs  []string // host:port
	driver string
	why    string
	exited chan struct{}

	mu     sync.Mutex
	stdout bytes.Buffer
	stderr bytes.Buffer
}

var startLine = regexp.MustCompile(`^fserve: serving (\S+) on ((?:(?:https?://|unix:)\S+ ?)+), driver (uring|fallback) \((.+)\), (\d+) workers(?:; .+)?$`)

// serve starts a server on a free port of loopback, and ends it with the test.
// args may override the address.
func serve(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	return serveCommand(t, cmd, env)
}

// serveCommand starts a command that becomes a server.
func serveCommand(t *testing.T, cmd *exec.Cmd, env []string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exited: make(chan struct{})}
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stdout = &locked{mu: &p.mu, w: &p.stdout}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go p.collect(stderr, lines)
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("standard error:\n%s", p.errors())
		}
	})
	p.awaitStart(lines)
	return p
}

// collect reads standard error to its end, then waits for the process.
func (p *process) collect(stderr io.Reader, lines chan<- string) {
	defer close(p.exited)
	s := bufio.NewScanner(stderr)
	for s.Scan() {
		p.mu.Lock()
		p.stderr.WriteString(s.Text() + "\n")
		p.mu.Unlock()
		select {
		case lines <- s.Text():
		default: // nobody waits for them any more
		}
	}
	close(lines)
	_ = p.cmd.Wait() // the code tells
}

func (p *process) awaitStart(lines <-chan string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				<-p.exited
				p.t.Fatalf("fserve ended with code %d", p.cmd.ProcessState.ExitCode())
			}
			if m := startLine.FindStringSubmatch(line); m != nil {
				p.line, p.root, p.driver, p.why = line, m[1], m[3], m[4]
				for _, u := range strings.Fields(m[2]) {
					p.addrs = append(p.addrs, strings.TrimPrefix(u, "http://"))
				}
				return
			}
		case <-deadline:
			p.t.Fatal("no start line")
		}
	}
}

func (p *process) url(path string) string { return "http://" + p.addrs[0] + path }

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wantExit fails the test unless the process ends with a code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the process does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d (%v), want %d", got, p.cmd.ProcessState, code)
	}
}

// locked is a writer that shares its lock with readers.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// onBoth runs a test on each driver, by its flag.
func onBoth(t *testing.T, test func(t *testing.T, driver string)) {
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, "--driver=uring")
	})
	t.Run("fallback", func(t *testing.T) { test(t, "--driver=fallback") })
}

// site makes a directory with a page and a large patterned file.
func site(t *testing.T) (root string, big testenv.Pattern, size int64) {
	t.Helper()
	root, big, size = t.TempDir(), testenv.NewPattern(31), 16<<20+123
	if err := os.WriteFile(filepath.Join(root, "index.html"), []byte("<p>hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(root, "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(big.WriteAt(f, 0, size), f.Close()); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{"index.html", "big.bin"} {
		if err := os.Chtimes(filepath.Join(root, name), past, past); err != nil {
			t.Fatal(err)
		}
	}
	return root, big, size
}
