package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/lease"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// needLeases skips a test where the file system of its directory has no leases.
func needLeases(t *testing.T) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f.Close()
	if e := lease.Probe(int32(r.Fd())); e != 0 {
		t.Skipf("no leases here: %v", e)
	}
}

// copyOver writes to a file as cp does.
func copyOver(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	for half := range slices.Chunk(content, (len(content)+1)/2) {
		if _, err := f.Write(half); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// Files are copied over those that are served, again and again: no request is answered
// by a reset, by nothing, or by parts of two versions.
func TestCopiedOver(t *testing.T) {
	needLeases(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const files, size, rounds, requests = 10, 50_000, 40, 60
		g := start(t, d, server.Config{
			Site:   server.Site{Consistency: openfile.ConsistencyCopy, WriteWait: 5 * time.Second},
			Engine: engine.Config{Loops: 4},
		})
		name := func(i int) string { return fmt.Sprintf("f%d", i%files) }
		for i := range files {
			g.write(name(i), strings.Repeat("a", size))
		}
		for round := range rounds {
			var cp sync.WaitGroup
			cp.Go(func() {
				content := bytes.Repeat([]byte{'b' + byte(round%20)}, size)
				for i := range files {
					if err := copyOver(filepath.Join(g.root, name(i)), content); err != nil {
						t.Error(err)
					}
				}
			})
			var clients sync.WaitGroup
			for k := range 6 {
				clients.Go(func() {
					c, err := dialer(0).Dial("tcp", g.addr)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					client := http.Client{Transport: &http.Transport{}, Timeout: patience}
					defer client.CloseIdleConnections()
					for i := range requests / 6 {
						r, err := client.Get("http://" + g.addr + "/" + name(6*i+k))
						if err != nil {
							t.Errorf("round %d: %v", round, err)
							return
						}
						body, err := io.ReadAll(r.Body)
						r.Body.Close()
						if err != nil || len(body) != size {
							t.Errorf("round %d: status %d, %d of %d bytes: %v", round, r.StatusCode, len(body), size, err)
							return
						}
						wantOneVersion(t, body)
					}
				})
			}
			clients.Wait()
			cp.Wait()
			if t.Failed() {
				return
			}
		}
	})
}

// What happens to requests for a file that somebody has open to write.
func TestBeingWritten(t *testing.T) {
	needLeases(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, size := range []int{3000, 300_000} {
			half := []byte(strings.Repeat("x", size/2))
			begin := func(g *rig) *os.File {
				f, err := os.Create(filepath.Join(g.root, "f"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				if _, err := f.Write(half); err != nil {
					t.Fatal(err)
				}
				return f
			}
			g := serve(t, d, server.Config{Site: server.Site{WriteWait: patience}})
			f := begin(g)
			waits := make(chan *response)
			go func() { waits <- g.once(http.MethodGet, "/f") }()
			select {
			case r := <-waits:
				t.Errorf("size %d: status %d, length %d while it is being written", size, r.status, r.length)
				continue
			case <-time.After(100 * time.Millisecond):
			}
			if _, err := f.Write(half); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if r := <-waits; r.status != 200 || r.length != int64(size) {
				t.Errorf("size %d: status %d, length %d", size, r.status, r.length)
			}

			g = serve(t, d, server.Config{Site: server.Site{WriteWait: -1}})
			f = begin(g)
			r := g.once(http.MethodGet, "/f")
			if r.status != 503 || r.get("Retry-After") == "" {
				t.Errorf("size %d, refuse: status %d, Retry-After %q", size, r.status, r.get("Retry-After"))
			}
			f.Close()
			if r := g.once(http.MethodGet, "/f"); r.status != 200 {
				t.Errorf("size %d, refuse: status %d when it is written", size, r.status)
			}

			g = serve(t, d, server.Config{})
			begin(g)
			if r := g.once(http.MethodGet, "/f"); r.status != 200 || r.length != int64(size/2) {
				t.Errorf("size %d, serve: status %d, length %d", size, r.status, r.length)
			}

			const wait = 200 * time.Millisecond
			g = serve(t, d, server.Config{Site: server.Site{WriteWait: wait}})
			begin(g)
			for i := range 3 {
				asked := time.Now()
				r := g.once(http.MethodGet, "/f")
				if took := time.Since(asked); r.status != 200 || i == 0 && took < wait/2 {
					t.Errorf("size %d, wait: status %d after %v", size, r.status, took)
				}
			}
		}
	})
}

// A file that only grows is sent with the length that it had, and nobody is cut off.
func TestGrowing(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Growing: []string{"*.log"}, WriteWait: patience}})
		line := []byte(strings.Repeat("log ", 500) + "\n")
		f, err := os.OpenFile(filepath.Join(g.root, "f.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			defer f.Close()
			for {
				if _, err := f.Write(line); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Microsecond):
				}
			}
		}()
		var last int64
		for range 300 {
			r := g.once(http.MethodGet, "/f.log")
			if r.status != 200 || int64(len(r.body)) != r.length || r.length < last {
				t.Fatalf("status %d, %d of %d bytes after %d", r.status, len(r.body), r.length, last)
			}
			for p := range bytes.Lines(r.body) {
				if len(p) == len(line) && !bytes.Equal(p, line) {
					t.Fatalf("line %q", p)
				}
			}
			last = r.length
		}
		close(stop)
		<-stopped
		g.wantEnds(engine.FileChanged, 0)
	})
}

// Somebody overwrites a file whose bytes lie in the socket of a client that does not read,
// and puts its time back, or does so through a mapping: the client gets no body that looks
// whole, and the writer goes on at once.
func TestRecalled(t *testing.T) {
	needLeases(t)
	write := map[string]func(path string, size int) error{
		"write": func(path string, size int) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(bytes.Repeat([]byte("b"), size))
			return errors.Join(err, f.Close(), os.Chtimes(path, settled, settled))
		},
		"mapping": func(path string, size int) error {
			fd, err := unix.Open(path, unix.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			p, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			copy(p, bytes.Repeat([]byte("b"), size))
			return unix.Munmap(p)
		},
	}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for how, write := range write {
			for _, size := range []int{200_000, 20 << 20} { // in the socket as a whole, and not
				g := serve(t, d, server.Config{})
				g.write("f", strings.Repeat("a", size))
				c := g.dialWith(4 << 10)
				c.send(request(http.MethodGet, "/f"))
				sent := func(s *loop.Stats) uint64 { return s.Driver.Bytes[engine.ViaSendfile] }
				if !testenv.Eventually(patience, func() bool { return g.stats(sent) >= 100_000 }) {
					t.Fatal("nothing is sent")
				}
				begin := time.Now()
				if err := write(filepath.Join(g.root, "f"), size); err != nil {
					t.Fatal(err)
				}
				if held := time.Since(begin); held > patience {
					t.Errorf("%s, %d bytes: the writer was held for %v", how, size, held)
				}
				r, err := readResponse(c.r, http.MethodGet)
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s, %d bytes: the client got %+v, %v", how, size, r.status, err)
				}
				if n := g.stats(func(s *loop.Stats) uint64 { return s.Recalled }); n != 1 {
					t.Errorf("%s, %d bytes: %d connections recalled", how, size, n)
				}
				if r := g.once(http.MethodGet, "/f"); r.status != 200 || len(r.body) != size || r.body[0] != 'b' {
					t.Errorf("%s, %d bytes: then status %d, %d bytes", how, size, r.status, len(r.body))
				}
			}
		}
	})
}
