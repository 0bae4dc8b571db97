package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

const changing = 16 << 20 // bytes: more than the socket buffers on the way hold

// A file that changes while it is sent never gives a body that looks whole: the
// connection is reset before its end.
func TestFileChangesWhileItIsSent(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, test := range []struct {
			name   string
			fields []string
			change func(path string) error
		}{
			{"truncated to nothing", nil, func(path string) error { return os.Truncate(path, 0) }},
			{"truncated in the middle", nil, func(path string) error { return os.Truncate(path, changing/2) }},
			{"one byte shorter", nil, func(path string) error { return os.Truncate(path, changing-1) }},
			{"longer", nil, func(path string) error { return appendTo(path, "x") }},
			{"overwritten at its begin", nil, func(path string) error { return overwrite(path, 0) }},
			{"overwritten at its end", nil, func(path string) error { return overwrite(path, changing-10) }},
			{"overwritten beside the range", []string{"Range: bytes=1000-12000000"}, func(path string) error { return overwrite(path, 0) }},
			{"overwritten, several ranges", []string{"Range: bytes=0-6000000, 8000000-15000000"}, func(path string) error { return overwrite(path, 7_000_000) }},
		} {
			t.Run(test.name, func(t *testing.T) {
				g := start(t, d, server.Config{})
				g.pattern("big.bin", 15, changing)
				c := g.dialWith(16 << 10)
				c.send(request("GET", "/big.bin", test.fields...))
				r, err := readHead(c.r)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.check(http.MethodGet); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, c.r, 100_000); err != nil {
					t.Fatal(err)
				}
				if err := test.change(filepath.Join(g.root, "big.bin")); err != nil {
					t.Fatal(err)
				}
				if n := c.wantReset() + 100_000; n >= r.length {
					t.Errorf("the client got %d bytes of %d", n, r.length)
				}
				g.wantEnds(engine.FileChanged, 1)
				g.wantOpen(0)
				if n := g.logs.count("response cut off"); n != 1 {
					t.Errorf("logged %d times, want once", n)
				}
				g.once(http.MethodHead, "/big.bin").want(t, 200) // serving goes on
			})
		}
	})
}

func appendTo(path, s string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}

func overwrite(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("changed"), off)
	return errors.Join(err, f.Close())
}

// A file that is replaced by rename, or removed, is sent to its end as it was.
func TestFileReplacedWhileItIsSent(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for name, change := range map[string]func(g *rig) error{
			"replaced": func(g *rig) error {
				g.write("new", "new")
				return os.Rename(filepath.Join(g.root, "new"), filepath.Join(g.root, "big.bin"))
			},
			"removed": func(g *rig) error { return os.Remove(filepath.Join(g.root, "big.bin")) },
		} {
			t.Run(name, func(t *testing.T) {
				g := start(t, d, server.Config{})
				big := g.pattern("big.bin", 16, changing)
				c := g.dialWith(16 << 10)
				c.send(request("GET", "/big.bin"))
				if _, err := c.r.Peek(10_000); err != nil {
					t.Fatal(err)
				}
				if err := change(g); err != nil {
					t.Fatal(err)
				}
				r := c.read(http.MethodGet)
				r.want(t, 200)
				if err := big.Check(r.body, 0); err != nil {
					t.Error(err)
				}
				c.get("/none").want(t, 404) // the connection goes on
			})
		}
	})
}

// New requests see what has become of a file within a second; the test allows
// for a slow machine, not for a cache that forgets to look.
func TestChangesAreSeen(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		at := func(name string) string { return filepath.Join(g.root, name) }
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		c := g.dial()
		names := []string{"replaced", "rewritten", "removed", "directory", "index/index.html"}
		for _, name := range names {
			g.write(name, "old")
			c.get("/"+name).want(t, 200, "old")
		}
		c.get("/index/").want(t, 200, "old")
		c.get("/later").want(t, 404)

		g.write("next", "new") // of the same size and time of modification
		must(os.Rename(at("next"), at("replaced")))
		must(os.WriteFile(at("rewritten"), []byte("longer"), 0o644))
		must(os.Remove(at("removed")))
		must(os.Remove(at("directory")))
		must(os.Mkdir(at("directory"), 0o755))
		must(os.Remove(at("index/index.html")))
		g.write("later", "new")

		for _, after := range []struct {
			target string
			status int
			body   string
		}{
			{"/replaced", 200, "new"}, {"/rewritten", 200, "longer"}, {"/removed", 404, "404 Not Found\n"},
			{"/directory", 301, "301 Moved Permanently\n"}, {"/index/", 403, "403 Forbidden\n"}, {"/later", 200, "new"},
		} {
			var r *response
			if !testenv.Eventually(patience, func() bool {
				r = c.get(after.target)
				return r.status == after.status && string(r.body) == after.body
			}) {
				t.Errorf("%s stays %d %.100q, want %d %.100q", after.target, r.status, r.body, after.status, after.body)
			}
		}
	})
}

// While a file is truncated and written anew again and again, no response is a
// mixture of versions that looks whole.
func TestNoMixtureOfVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		const requests = 300
		path := filepath.Join(g.root, "f.bin")
		// Every version has a length of its own, which tells them apart where the
		// kernel stamps changes no finer than its tick (before Linux 6.13).
		write := func(i int) error {
			return os.WriteFile(path, bytes.Repeat([]byte{byte('a' + i%26)}, 300_001+2*i), 0o644)
		}
		if err := write(0); err != nil {
			t.Fatal(err)
		}
		// A name for each request, so that none is answered from what another
		// has left in the cache.
		for i := range requests {
			if err := os.Link(path, fmt.Sprintf("%s%d", path, i)); err != nil {
				t.Fatal(err)
			}
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := write(i); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		}()
		whole, cut := 0, 0
		for i := range requests {
			c := g.dial()
			c.send(request("GET", fmt.Sprintf("/f.bin%d", i)))
			r, err := readResponse(c.r, http.MethodGet)
			c.conn.Close()
			switch {
			case err == nil:
				whole++
				wantOneVersion(t, r.body)
			case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
				cut++
			default:
				t.Error(err)
			}
		}
		close(stop)
		<-stopped
		t.Logf("%d whole, %d cut off", whole, cut)
		if err := os.Link(path, path+"-last"); err != nil {
			t.Fatal(err)
		}
		r := g.once(http.MethodGet, "/f.bin-last")
		r.want(t, 200)
		wantOneVersion(t, r.body)
	})
}

func wantOneVersion(t *testing.T, body []byte) {
	t.Helper()
	for i, b := range body {
		if b != body[0] {
			t.Errorf("a body of %d bytes is %q at first and %q from byte %d on", len(body), body[0], b, i)
			return
		}
	}
}

// A file that has changed in place since an earlier request is answered as it is now,
// however fresh the cache's entry is, and nobody is cut off for it.
func TestChangeIsSeenAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, how := range []openfile.Consistency{openfile.ConsistencyAuto, openfile.ConsistencyCheck, openfile.ConsistencyCopy} {
			g := start(t, d, server.Config{Site: server.Site{Consistency: how}})
			const name, size = "f.bin", 600_000
			g.pattern(name, 1, size)
			for n := range 10 {
				r := g.once(http.MethodGet, "/"+name)
				if want := int64(size + n*len("more")); r.status != http.StatusOK || r.length != want || int64(len(r.body)) != want {
					t.Fatalf("%v: status %d, length %d, want %d", how, r.status, r.length, want)
				}
				if err := appendTo(filepath.Join(g.root, name), "more"); err != nil {
					t.Fatal(err)
				}
			}
			g.wantEnds(engine.FileChanged, 0)
		}
	})
}
