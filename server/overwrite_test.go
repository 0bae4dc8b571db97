package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/testenv"
)

// chaosEnv is set to how many whole bodies TestOverwritten wants to see; without it they
// are few.
const chaosEnv = "FSERVE_CHAOS_BODIES"

// overwriting is a directory of files that are overwritten in place while they are served.
type overwriting struct {
	t     *testing.T
	dir   string
	sizes []int
	every time.Duration

	whole, mixed, cut, refused atomic.Int64
	held                       []time.Duration // writers, in open(2)
}

func (o *overwriting) name(i int) string { return fmt.Sprintf("f%d", i) }

// client downloads until so many bodies were whole.
func (o *overwriting) client(dial func() (net.Conn, error), slow bool, want int64) {
	var conn net.Conn
	var r *bufio.Reader
	buf := make([]byte, 32<<10)
	for o.whole.Load() < want && !o.t.Failed() {
		if conn == nil {
			var err error
			if conn, err = dial(); err != nil {
				o.t.Error(err)
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			r = bufio.NewReaderSize(conn, 32<<10)
		}
		// Small files are asked for more often: many bodies, and some of many megabytes.
		i := min(rand.IntN(len(o.sizes)), rand.IntN(len(o.sizes)))
		if !o.get(conn, r, i, buf, slow) {
			conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		conn.Close()
	}
}

// get downloads a file and looks at its body, if it gets one that looks whole. It reports
// whether the connection goes on.
func (o *overwriting) get(conn net.Conn, r *bufio.Reader, i int, buf []byte, slow bool) bool {
	if _, err := conn.Write([]byte(request(http.MethodGet, "/"+o.name(i)))); err != nil {
		o.cut.Add(1)
		return false
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		o.cut.Add(1)
		return false
	}
	if resp.StatusCode != http.StatusOK {
		o.refused.Add(1)
		return false
	}
	left, seen := resp.ContentLength, versions{}
	for left > 0 {
		n, err := resp.Body.Read(buf)
		seen.note(buf[:n])
		left -= int64(n)
		if err != nil && left > 0 {
			o.cut.Add(1)
			return false
		}
		if slow {
			time.Sleep(time.Millisecond)
		}
	}
	o.whole.Add(1)
	if len(seen.runs) > 1 {
		o.mixed.Add(1)
		o.t.Logf("%s, slow %v, %s: %s", o.name(i), slow, conn.LocalAddr(), &seen)
	}
	return true
}

// versions are what a body is made of.
type versions struct {
	runs []versionRun
	size int64
}

// versionRun is where the bytes of a version begin.
type versionRun struct {
	of  byte
	off int64
}

func (v *versions) note(p []byte) {
	for len(p) > 0 {
		if n := len(v.runs); n == 0 || v.runs[n-1].of != p[0] {
			v.runs = append(v.runs, versionRun{p[0], v.size})
		}
		n := len(p) - len(bytes.TrimLeft(p, string(p[:1])))
		v.size += int64(n)
		p = p[n:]
	}
}

func (v *versions) String() string {
	var b strings.Builder
	for _, r := range v.runs[:min(len(v.runs), 8)] {
		fmt.Fprintf(&b, "%c from %d, ", r.of, r.off)
	}
	fmt.Fprintf(&b, "%d runs, %d bytes", len(v.runs), v.size)
	return b.String()
}

// run lets clients download while files are overwritten.
func (o *overwriting) run(dial func() (net.Conn, error), clients int, want int64) {
	for i, size := range o.sizes {
		if err := os.WriteFile(filepath.Join(o.dir, o.name(i)), bytes.Repeat([]byte("a"), size), 0o644); err != nil {
			o.t.Fatal(err)
		}
	}
	writer := startChild(o.t, exec.Command, childWriter{o.dir, o.sizes, o.every})
	var all sync.WaitGroup
	for k := range clients {
		all.Go(func() { o.client(dial, k%4 == 0, want) })
	}
	all.Wait()
	writer.end(&o.held)
}

// wholeBodies is how many a test wants to see.
func wholeBodies(t *testing.T) int64 {
	s := os.Getenv(chaosEnv)
	if s == "" {
		return 200
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", chaosEnv, err)
	}
	return n
}

// TestOverwritten: files from 12 KB to 32 MiB are overwritten in place while 64 clients
// download them over a line that copies, as a network card does. No body that looks whole
// is of two versions, whatever the writer does to the time of modification, and he is held
// for milliseconds.
func TestOverwritten(t *testing.T) {
	needLeases(t)
	want := wholeBodies(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, every := range []time.Duration{3 * time.Millisecond, 2500 * time.Millisecond} {
			l := testenv.NewCopyingLine(t)
			o := &overwriting{t: t, dir: t.TempDir(), every: every, sizes: []int{12 << 10, 50_000, 100_000, 300_000, 1 << 20, 4 << 20, 32 << 20}}
			srv := startChild(t, l.Command, childServer{testenv.ServerAddr, o.dir, d, openfile.ConsistencyLease})
			o.run(func() (net.Conn, error) { return l.Dial(srv.said) }, 64, want)
			srv.end(nil)
			o.report(fmt.Sprintf("every %v", every))
			if n := o.mixed.Load(); n > 0 {
				t.Errorf("every %v: %d of %d whole bodies are of two versions", every, n, o.whole.Load())
			}
		}
	})
}

func (o *overwriting) report(what string) {
	slices.Sort(o.held)
	n := len(o.held)
	if n == 0 {
		o.t.Logf("%s: no writer", what)
		return
	}
	o.t.Logf("%s: %d whole, %d mixed, %d cut off, %d refused; %d writers held p50 %v, p99 %v, most %v", what,
		o.whole.Load(), o.mixed.Load(), o.cut.Load(), o.refused.Load(), n, o.held[n/2], o.held[n*99/100], o.held[n-1])
}

// TestOverwrittenOnOneMachine: at loopback the client's kernel has the very pages of the
// file until they are read, so copies are what keeps versions apart there.
func TestOverwrittenOnOneMachine(t *testing.T) {
	needLeases(t)
	want := wholeBodies(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, how := range []openfile.Consistency{openfile.ConsistencyCopy, openfile.ConsistencyAuto} {
			o := &overwriting{t: t, dir: t.TempDir(), every: 3 * time.Millisecond, sizes: []int{12 << 10, 50_000, 100_000, 300_000, 1 << 20, 4 << 20, 32 << 20}}
			srv := startChild(t, exec.Command, childServer{"127.0.0.1", o.dir, d, how})
			o.run(func() (net.Conn, error) { return net.Dial("tcp", srv.said) }, 64, want)
			srv.end(nil)
			name := []string{openfile.ConsistencyCopy: "copy", openfile.ConsistencyAuto: "auto"}[how]
			o.report(name)
			if n := o.mixed.Load(); n > 0 && how == openfile.ConsistencyCopy {
				t.Errorf("%s: %d of %d whole bodies are of two versions", name, n, o.whole.Load())
			}
		}
	})
}
