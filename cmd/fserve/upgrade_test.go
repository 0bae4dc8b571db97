package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

var successorLine = regexp.MustCompile(`a successor has been started pid=(\d+)`)

// replacedText is logged by a process that another one has taken the place of.
const replacedText = "upgrade: replaced"

// line is a server and those that take its place, one after the other.
type line struct {
	*process
	pidFile string
}

// serveLine starts a server with a PID file, and ends all that come of it with
// the test.
func serveLine(t *testing.T, cmd *exec.Cmd, env []string) *line {
	t.Helper()
	l := &line{pidFile: filepath.Join(t.TempDir(), "pid")}
	cmd.Args = append(cmd.Args, "--pid-file", l.pidFile)
	l.process = serveCommand(t, cmd, env)
	t.Cleanup(func() { // they hold standard error, whose end is waited for
		for _, pid := range l.successors() {
			if !ended(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return l
}

// successors are the processes that the line has started.
func (l *line) successors() (pids []int) {
	for _, m := range successorLine.FindAllStringSubmatch(l.errors(), -1) {
		pid, _ := strconv.Atoi(m[1])
		pids = append(pids, pid)
	}
	return pids
}

// serving is the process that serves now, by the PID file.
func (l *line) serving() int {
	b, err := os.ReadFile(l.pidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// upgrade makes another process serve, and returns the number of the one before.
func (l *line) upgrade() (before int) {
	l.t.Helper()
	before = l.serving()
	times := strings.Count(l.errors(), replacedText)
	if err := syscall.Kill(before, syscall.SIGUSR2); err != nil {
		l.t.Fatal(err)
	}
	if !testenv.Eventually(patience, func() bool {
		return strings.Count(l.errors(), replacedText) > times && l.serving() != before
	}) {
		l.t.Fatalf("process %d is not replaced", before)
	}
	return before
}

// stop ends the process that serves, and waits for the whole line.
func (l *line) stop() {
	l.t.Helper()
	if err := syscall.Kill(l.serving(), syscall.SIGTERM); err != nil {
		l.t.Fatal(err)
	}
	l.wantExit(0)
}

// ended reports whether a process is no more, or waits to be reaped.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) > 0 && rest[0] == 'Z'
}

// visitor is a client that takes nothing on trust: it repeats no request, and a
// connection that ends without a word is a failure.
type visitor struct {
	dial func() (net.Conn, error)
	once bool // a connection for each request
	conn net.Conn
	r    *bufio.Reader
}

func (v *visitor) close() {
	if v.conn != nil {
		v.conn.Close()
		v.conn = nil
	}
}

// get downloads a file and checks every byte.
func (v *visitor) get(name string, content testenv.Pattern, size int64) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			v.close()
		}
	}()
	if v.conn == nil {
		if v.conn, err = v.dial(); err != nil {
			return err
		}
		v.r = bufio.NewReaderSize(v.conn, 64<<10)
	}
	if err := v.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	request := "GET /" + name + " HTTP/1.1\r\nHost: h\r\n"
	if v.once {
		request += "Connection: close\r\n"
	}
	if _, err := io.WriteString(v.conn, request+"\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", len(body), err)
	}
	if resp.StatusCode != http.StatusOK || int64(len(body)) != size {
		return fmt.Errorf("%s, %d bytes", resp.Status, len(body))
	}
	if resp.Close {
		v.close()
	}
	return content.Check(body, 0)
}

// load downloads with several visitors until at least so many files have come,
// and enough is closed.
type load struct {
	downloads atomic.Int64
	enough    chan struct{}
	done      sync.WaitGroup
	mu        sync.Mutex
	faults    []error
}

func (w *load) run(v *visitor, files map[string]int64, content testenv.Pattern) {
	defer v.close()
	for {
		for name, size := range files {
			select {
			case <-w.enough:
				return
			default:
			}
			if err := v.get(name, content, size); err != nil {
				w.mu.Lock()
				w.faults = append(w.faults, err)
				w.mu.Unlock()
			}
			w.downloads.Add(1)
		}
	}
}

// wantNoFault ends the load and fails the test if a download has failed.
func (w *load) wantNoFault(t *testing.T) {
	t.Helper()
	close(w.enough)
	w.done.Wait()
	for i, err := range w.faults {
		if i == 10 {
			t.Errorf("and %d more", len(w.faults)-i)
			break
		}
		t.Error(err)
	}
	t.Logf("%d downloads, %d failed", w.downloads.Load(), len(w.faults))
}

// visited are the ways to a server: TCP, a Unix socket and TLS.
func visited(l *line, socket string) []func() (net.Conn, error) {
	var d net.Dialer
	tcp := l.addrs[0]
	secure := strings.TrimPrefix(l.addrs[len(l.addrs)-1], "https://")
	return []func() (net.Conn, error){
		func() (net.Conn, error) { return d.Dial("tcp", tcp) },
		func() (net.Conn, error) { return d.Dial("unix", socket) },
		func() (net.Conn, error) {
			return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the content is checked
		},
	}
}

// Ten upgrades under load, with clients that repeat nothing: by TCP, Unix sockets
// and TLS, with connections that are kept and with ones for each request. None of
// a thousand downloads fails. The number of event loops changes on the way.
func TestUpgradesUnderLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		const upgrades, downloads = 10, 1000
		root, content := t.TempDir(), testenv.NewPattern(77)
		files := map[string]int64{"small": 1 << 10, "middle": 100 << 10, "large": 1<<20 + 11}
		for name, size := range files {
			patterned(t, filepath.Join(root, name), content, size)
		}
		cert, key := writePair(t, t.TempDir())
		socket := filepath.Join(t.TempDir(), "s")
		config := filepath.Join(t.TempDir(), "f.yaml")
		write := func(workers int) {
			writeFile(t, config, fmt.Sprintf("root: %s\nlisten: [127.0.0.1:0, 'unix:%s']\ntls: {listen: [127.0.0.2:0], cert: %s, key: %s}\nworkers: %d\n",
				root, socket, cert, key, workers))
		}
		write(2)
		l := serveLine(t, exec.Command(binary, "--config", config, "--config-watch=false", driver), nil)
		w := &load{enough: make(chan struct{})}
		for _, dial := range visited(l, socket) {
			for _, once := range []bool{false, true} {
				w.done.Go(func() { w.run(&visitor{dial: dial, once: once}, files, content) })
			}
		}
		var before []int
		for i := range upgrades {
			write(1 + i%3)
			before = append(before, l.upgrade())
			testenv.Eventually(patience, func() bool { return w.downloads.Load() >= int64((i+1)*downloads/upgrades) })
		}
		w.wantNoFault(t)
		if n := w.downloads.Load(); n < downloads {
			t.Errorf("%d downloads, want %d", n, downloads)
		}
		for _, pid := range before {
			if !testenv.Eventually(patience, func() bool { return ended(pid) }) {
				t.Errorf("process %d goes on", pid)
			}
		}
		if _, err := os.Stat(socket); err != nil {
			t.Errorf("the socket of those that follow is gone: %v", err)
		}
		l.stop()
		for _, name := range []string{socket, l.pidFile} {
			if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
	})
}

func patterned(t *testing.T, path string, content testenv.Pattern, size int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(content.WriteAt(f, 0, size), f.Close()); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
}
