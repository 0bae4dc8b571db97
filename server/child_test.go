package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server"
)

// childEnv says what a process that a test starts of its own program does. Where times of
// milliseconds are measured, server and writers are such, and come before the clients, which
// in life are other machines.
const childEnv = "FSERVE_TEST_CHILD"

// child is such a process. It says a line when it is ready, and ends with its input.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Closer
	out  *bufio.Reader
	said string
}

// startChild starts one that does what is described, and waits for what it says.
func startChild(t *testing.T, command func(string, ...string) *exec.Cmd, do any) *child {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	what, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	// Without the right to it, nice says so and goes on.
	c := &child{t: t, cmd: command("nice", "-n", "-17", program)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+fmt.Sprintf("%T ", do)+string(what))
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	c.in, c.out = in, bufio.NewReader(out)
	said, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%T: %v", do, err)
	}
	c.said = strings.TrimSpace(said)
	return c
}

// end ends it and takes what it reports, if anything is wanted.
func (c *child) end(report any) {
	c.t.Helper()
	c.in.Close()
	if report != nil {
		if err := json.NewDecoder(c.out).Decode(report); err != nil {
			c.t.Error(err)
		}
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
}

// runChild is such a process's life. It returns its exit code.
func runChild(what string) int {
	kind, text, _ := strings.Cut(what, " ")
	run := map[string]func([]byte) error{
		fmt.Sprintf("%T", childServer{}): childOf[childServer], fmt.Sprintf("%T", childWriter{}): childOf[childWriter],
	}[kind]
	if err := run([]byte(text)); err != nil {
		fmt.Fprintln(os.Stderr, kind, err)
		return 1
	}
	return 0
}

func childOf[T interface{ run() error }](text []byte) error {
	var do T
	if err := json.Unmarshal(text, &do); err != nil {
		return err
	}
	return do.run()
}

// ended is closed at the end of the input.
func ended() chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
}

// childServer serves a directory with two loops. It says its address.
type childServer struct {
	Host, Root  string
	Driver      engine.DriverKind
	Consistency openfile.Consistency
}

func (c childServer) run() error {
	const loops = 2
	runtime.GOMAXPROCS(loops + 5) // as the command does
	srv, err := server.New(server.Config{
		Listen: []string{c.Host + ":0"}, Engine: engine.Config{Driver: c.Driver, Loops: loops},
		Site: server.Site{Root: c.Root, Consistency: c.Consistency, WriteWait: 2 * time.Second},
	})
	if err != nil {
		return err
	}
	fmt.Println(srv.Addrs()[0])
	<-ended()
	return srv.Close()
}

// childWriter overwrites the files f0, f1 and so on, of these sizes, one after the other. It
// reports how long each open(2) was held.
type childWriter struct {
	Dir   string
	Sizes []int
	Every time.Duration
}

func (c childWriter) run() error {
	held := []time.Duration{}
	fmt.Println("begins")
	for stop := ended(); ; {
		select {
		case <-stop:
			return json.NewEncoder(os.Stdout).Encode(held)
		case <-time.After(c.Every):
		}
		i := rand.IntN(len(c.Sizes))
		took, err := rewrite(filepath.Join(c.Dir, fmt.Sprintf("f%d", i)), bytes.Repeat([]byte{'a' + byte(len(held)%26)}, c.Sizes[i]))
		if err != nil {
			return err
		}
		held = append(held, took)
	}
}

// rewrite overwrites a file by write(2), or through a mapping, and puts the time of
// modification back or leaves it. It returns how long open(2) took.
func rewrite(path string, content []byte) (time.Duration, error) {
	begin := time.Now()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	took := time.Since(begin)
	if err != nil {
		return took, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return took, err
	}
	if rand.IntN(2) == 0 {
		_, err = unix.Pwrite(fd, content, 0)
	} else if p, e := unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); e == nil {
		copy(p, content)
		err = unix.Munmap(p)
	} else {
		err = e
	}
	if rand.IntN(2) == 0 {
		back := []unix.Timespec{st.Atim, st.Mtim}
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, back, 0))
	}
	return took, err
}
