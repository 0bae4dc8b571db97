// Package clients runs the programs that people download with against fserve, each with
// both drivers, and compares what they got with what is there: bytes and lists.
//
// It needs FSERVE_CLIENTS=1 (make clients), as it takes minutes. A client that is not
// installed is a skip that is counted, and with CI set a failure; .ci/clients installs
// them all.
package clients

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// patience bounds a client: all of them take seconds, on a busy machine some more.
const patience = time.Minute

// binary is fserve, built once; missing are the clients that tests were skipped for.
var (
	binary  string
	missing = make(map[string]bool)
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("FSERVE_CLIENTS") == "" {
		return 0
	}
	dir, err := os.MkdirTemp("", "fserve-clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "fserve")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/fserve").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	code := testenv.Main(m)
	if len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "WARNING: %d clients are not installed, and were not tested: %s\n",
			len(missing), strings.Join(slices.Sorted(maps.Keys(missing)), " "))
	}
	return code
}

// need skips the test unless the programs are there, and fails it with CI set.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if missing[p] = true; os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", p)
		}
		t.Skipf("%s is not installed", p)
	}
}

// origin is a running fserve.
type origin struct {
	t      *testing.T
	root   string
	url    string // with a slash at its end
	secure string // the same by TLS; empty: it is not listened for
	log    string // access log
	cmd    *exec.Cmd
}

// onBoth runs a test with each driver, on a directory that is served with listings and further options.
func onBoth(t *testing.T, root string, test func(t *testing.T, o *origin), options ...string) {
	for _, driver := range []string{"uring", "fallback"} {
		t.Run(driver, func(t *testing.T) {
			if driver == "uring" {
				testenv.NeedUring(t)
			}
			test(t, serve(t, root, driver, options...))
		})
	}
}

var startLine = regexp.MustCompile(`^fserve: serving .* on (http://[0-9.:]+)(?: (https://[0-9.:]+))?`)

func serve(t *testing.T, root, driver string, options ...string) *origin {
	t.Helper()
	o := &origin{t: t, root: root, log: filepath.Join(t.TempDir(), "access.log")}
	o.cmd = exec.Command(binary, append(options, "--root", root, "--listen", "127.0.0.1:0", "--driver", driver, "--listing",
		"--access-log", o.log, "--access-log-format", "json", "--drain-timeout", "0s")...)
	stderr, err := o.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.stop)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := startLine.FindStringSubmatch(lines.Text()); m != nil {
			o.url, o.secure = m[1]+"/", m[2]+"/"
			go func() {
				for lines.Scan() { // so that the server never waits for who reads
				}
			}()
			return o
		}
		t.Log(lines.Text())
	}
	t.Fatal("fserve does not start")
	return nil
}

// stop ends the server, so that its log is whole.
func (o *origin) stop() {
	if o.cmd != nil {
		_ = o.cmd.Process.Signal(syscall.SIGTERM)
		_ = o.cmd.Wait()
		o.cmd = nil
	}
}

// answer is a line of the access log.
type answer struct {
	Method   string `json:"method"`
	Target   string `json:"target"`
	Status   int    `json:"status"`
	Bytes    int64  `json:"bytes"` // of the body
	Protocol string `json:"protocol"`
}

// answers returns what has been answered for targets that begin with a prefix.
func (o *origin) answers(prefix string) (list []answer) {
	o.t.Helper()
	text, err := os.ReadFile(o.log)
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var a answer
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			o.t.Fatalf("%v: %s", err, line)
		}
		if strings.HasPrefix(a.Target, prefix) {
			list = append(list, a)
		}
	}
	return list
}

// wantParts ends the server and fails the test unless what it sent of a file was in parts, and
// no more than so many bytes together.
func (o *origin) wantParts(target string, most int64) {
	o.t.Helper()
	o.stop()
	var sent int64
	parts := 0
	for _, a := range o.answers(target) {
		sent += a.Bytes
		if a.Status == 206 {
			parts++
		}
	}
	o.t.Logf("%s: %d bytes in %d answers with parts", target, sent, parts)
	if parts == 0 || sent > most {
		o.t.Errorf("%s: %d bytes were sent in %d answers with parts, want at most %d", target, sent, parts, most)
	}
}

// client runs a client in a directory, and returns what it wrote.
func client(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // of what it has started
	cmd.Dir = dir
	// What the machine's user has configured is not tested.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", "TMPDIR=" + os.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out))
	}
	return string(out)
}

func tail(out []byte) []byte {
	const most = 4 << 10
	return out[max(0, len(out)-most):]
}

// tree returns the files below a directory, by name, with what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantTree fails the test unless two directories have the same files. What a client makes
// beside them is given by its names.
func wantTree(t *testing.T, got, want string, beside *regexp.Regexp) {
	t.Helper()
	there, here := tree(t, want), tree(t, got)
	for name, content := range there {
		if is, ok := here[name]; !ok {
			t.Errorf("%q is missing", name)
		} else if is != content {
			t.Errorf("%q has other content: %d bytes, want %d", name, len(is), len(content))
		}
	}
	for name := range here {
		if _, ok := there[name]; !ok && (beside == nil || !beside.MatchString(name)) {
			t.Errorf("%q is there, too", name)
		}
	}
}

// wantFile fails the test unless two files are the same.
func wantFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%s: %d bytes that are not those of %s, which has %d", got, len(a), want, len(b))
	}
}

// write makes a file, with its directories.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise makes a file of so many bytes that no compression makes smaller, the same for a name each
// time.
func noise(t *testing.T, name string, n int) string {
	t.Helper()
	content := make([]byte, n)
	seed := sha256.Sum256([]byte(filepath.Base(name)))
	_, _ = rand.NewChaCha8(seed).Read(content) // never fails
	write(t, name, string(content))
	return string(content)
}
