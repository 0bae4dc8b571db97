package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// slowMount makes a root with a file on a local file system and a slow file system at
// slow/, whose backing directory is returned.
func slowMount(t *testing.T) (root, backing string, slow *testenv.SlowFS) {
	t.Helper()
	root, backing = t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(root, "hot"), []byte("hot"))
	at := filepath.Join(root, "slow")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	return root, backing, testenv.NewSlowFS(t, backing, at)
}

func (g *rig) wantHot(c *client, when string) {
	g.t.Helper()
	for range 3 {
		if r := c.get("/hot"); r.status != 200 || string(r.body) != "hot" {
			g.t.Fatalf("%s: %d %q", when, r.status, r.body)
		}
	}
}

// TestRemoteFiles: files of another file system are answered as any others, below a local
// root as well as by a root of their own.
func TestRemoteFiles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		testenv.LeakCheck(t)
		root, backing, _ := slowMount(t)
		sizes := []int64{0, 1, 5000, 8 << 10, 8<<10 + 1, 300_000, 3<<20 + 17}
		p := testenv.NewPattern(1)
		for _, n := range sizes {
			path := filepath.Join(backing, fmt.Sprint(n))
			writeFile(t, path, p.Bytes(0, int(n)))
		}
		writeFile(t, filepath.Join(backing, "dir/index.html"), []byte("index"))
		for _, test := range []struct{ root, prefix string }{{root, "/slow/"}, {filepath.Join(root, "slow"), "/"}} {
			g := serve(t, d, server.Config{Site: server.Site{Root: test.root, Listing: true}})
			c := g.dial()
			for _, n := range sizes {
				target := test.prefix + fmt.Sprint(n)
				for range 2 { // the second one from the cache
					c.get(target).want(t, 200, string(p.Bytes(0, int(n))))
				}
				if r := c.do("HEAD", target); r.length != n {
					t.Errorf("HEAD %s: length %d", target, r.length)
				}
				if n < 5000 {
					continue
				}
				c.get(target, "Range: bytes=7-4006").want(t, 206, string(p.Bytes(7, 4000)))
				c.get(target, "Range: bytes=-4000").want(t, 206, string(p.Bytes(n-4000, 4000)))
				for i, part := range parts(t, c.get(target, "Range: bytes=1-100,1000-1999,4000-4999")) {
					from := []int64{1, 1000, 4000}[i]
					if err := p.Check(part.body, from); err != nil {
						t.Errorf("%s, part %d: %v", target, i, err)
					}
				}
			}
			c.get(test.prefix+"dir").want(t, 301, "301 Moved Permanently\n")
			c.get(test.prefix+"dir/").want(t, 200, "index")
			if r := c.get(test.prefix + "nothing"); r.status != 404 {
				t.Errorf("nothing: %d", r.status)
			}
			if n := len(c.asJSON(test.prefix)); n != len(sizes)+1 {
				t.Errorf("the listing has %d entries", n)
			}
			if err := g.srv.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestRemoteFileChanges: a body of two versions is never complete.
func TestRemoteFileChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root, backing, _ := slowMount(t)
		path := filepath.Join(backing, "f")
		const size = 16 << 20
		writeFile(t, path, make([]byte, size))
		g := start(t, d, server.Config{Site: server.Site{Root: root}})
		c := g.dialWith(64 << 10)
		c.send(request("GET", "/slow/f"))
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, testenv.NewPattern(2).Bytes(0, size), 0o644); err != nil {
			t.Fatal(err)
		}
		if n := c.wantReset(); n >= size {
			t.Errorf("%d bytes came", n)
		}
		g.wantEnds(engine.FileChanged, 1)
	})
}

// TestLoopsWaitForNoRemoteCall: whatever call hangs, the loop serves.
func TestLoopsWaitForNoRemoteCall(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, kind := range []string{"lookup", "getattr", "open", "read", "flush", "statfs", "opendir", "readdir"} {
			t.Run(kind, func(t *testing.T) {
				testenv.LeakCheck(t)
				root, backing, slow := slowMount(t)
				content := testenv.NewPattern(3).Bytes(0, 100_000)
				writeFile(t, filepath.Join(backing, "f"), content)
				g := serve(t, d, server.Config{Site: server.Site{Root: root, Listing: true}})
				hot, c := g.dial(), g.dial()
				g.wantHot(hot, "before")
				if kind == "flush" {
					c.get("/slow/f").want(t, 200, string(content))
				}
				slow.Delay(kind, time.Hour)
				hung := func() bool { _, n := slow.Calls(kind); return n > 0 }
				target := "/slow/f"
				if kind == "opendir" || kind == "readdir" {
					target = "/slow/"
				}
				if kind != "flush" {
					c.send(request("GET", target))
				}
				if !testenv.Eventually(patience, func() bool {
					if kind == "flush" { // of the descriptor by which the file is looked at again
						c.get(target).want(t, 200, string(content))
						time.Sleep(50 * time.Millisecond)
					}
					return hung()
				}) {
					t.Fatal("nothing waits")
				}
				g.wantHot(hot, "while the call hangs")
				time.Sleep(1100 * time.Millisecond) // the cache asks again
				g.wantHot(g.dial(), "a second later")
				slow.Delay(kind, 0)
				if kind == "flush" {
					return
				}
				if r := c.read("GET"); r.status != 200 || target == "/slow/f" && string(r.body) != string(content) {
					t.Errorf("then: %d, %d bytes", r.status, len(r.body))
				}
			})
		}
	})
}

// TestManyRequestsToHangingMount: they take a bounded number of goroutines and threads; those
// that are too many, and those that wait for too long, get 503.
func TestManyRequestsToHangingMount(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const requests, served = 1000, 32 + 512
		root, backing, slow := slowMount(t)
		for i := range requests {
			writeFile(t, filepath.Join(backing, fmt.Sprint(i)), []byte("slow"))
		}
		g := start(t, d, server.Config{Site: server.Site{Root: root}})
		slow.Delay("open", time.Hour)
		threads := pprof.Lookup("threadcreate").Count()
		answers := make(chan *response, requests)
		for i := range requests {
			c := g.dial()
			c.send(request("GET", "/slow/"+fmt.Sprint(i)))
			go func() {
				_ = c.conn.SetDeadline(time.Now().Add(3 * patience))
				r, err := readResponse(c.r, "GET")
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				answers <- r
			}()
		}
		for range requests - served {
			if r := <-answers; r == nil || r.status != 503 || r.get("Retry-After") == "" {
				t.Fatalf("one too many: %+v", r)
			}
		}
		g.wantHot(g.dial(), "while all hang")
		if n := pprof.Lookup("threadcreate").Count() - threads; n > 100 {
			t.Errorf("%d threads were made", n)
		}
		slow.Delay("open", 0)
		for range served {
			if r := <-answers; r == nil || r.status != 200 || string(r.body) != "slow" {
				t.Fatalf("then: %+v", r)
			}
		}
	})
}

// TestOpensAreGivenUp: a request waits for OpenTimeout and no longer.
func TestOpensAreGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root, backing, slow := slowMount(t)
		writeFile(t, filepath.Join(backing, "f"), []byte("slow"))
		writeFile(t, filepath.Join(backing, "h"), []byte("slow"))
		file := func(ctx *fasthttp.RequestCtx) { server.ServeFile(ctx, "/slow/h") }
		g := start(t, d, server.Config{
			Site: server.Site{Root: root, Listing: true}, OpenTimeout: 200 * time.Millisecond,
			Routes: []server.Route{{Prefix: "/handler", Handler: file, Blocking: true}}, // it has left the loop before
		})
		for target, kind := range map[string]string{"/slow/f": "open", "/slow/": "readdir", "/handler": "open"} {
			slow.Delay(kind, time.Hour)
			c := g.dial()
			if r := c.get(target); r.status != 503 || r.get("Retry-After") == "" {
				t.Errorf("%s hangs: %d %v", kind, r.status, r.fields)
			}
			c.wantEnd()
			gone := g.dial()
			gone.send(request("GET", target))
			if !testenv.Eventually(patience, func() bool { _, n := slow.Calls(kind); return n > 0 }) {
				t.Error("nothing waits")
			}
			gone.conn.Close()
			slow.Delay(kind, 0)
			if r := g.once("GET", target); r.status != 200 {
				t.Errorf("after %s: %d", kind, r.status)
			}
		}
	})
}
