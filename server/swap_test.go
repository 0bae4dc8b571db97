package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

func mustSwap(t testing.TB, srv *server.Server, cfg server.Config) {
	t.Helper()
	if err := srv.Swap(cfg); err != nil {
		t.Fatal(err)
	}
}

// What was rendered for files under one configuration is not sent under the next,
// however hot it was.
func TestSwap(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		one := dirWith(t, "f", hello, "f.gz", "packed", "404.html", "lost", "big", strings.Repeat("x", 20_000), "sub/f", "sub")
		two := dirWith(t, "f", "other")
		g := start(t, d, server.Config{Site: server.Site{Root: one}})
		c := g.dial()
		hot := func(want, header string) {
			t.Helper()
			for range 4 {
				r := c.get("/f")
				r.want(t, 200, want)
				r.wantField(t, "X-V", header)
			}
		}
		hot(hello, "")
		with := func(value string) []server.HeaderRule {
			return []server.HeaderRule{{Match: "/", Name: "X-V", Value: value}}
		}
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: one, Headers: with("1")}})
		hot(hello, "1")
		long := strings.Repeat("long ", 300) + "."
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: one, Headers: with(long)}}) // more than there was room for
		hot(hello, long)
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: two, Headers: with("2")}})
		hot("other", "2")
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: one}})
		hot(hello, "")

		mustSwap(t, g.srv, server.Config{Site: server.Site{
			Root: one, Precompressed: true, Listing: true, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}},
			Files: httpfile.Config{Server: "x", ContentTypes: map[string]string{"html": "text/x"}},
		}})
		c.get("/f", "Accept-Encoding: gzip").want(t, 200, "packed")
		c.get("/f").wantField(t, "Vary", "Accept-Encoding")
		c.get("/sub/").want(t, 200)
		r := c.get("/no")
		r.want(t, 404, "lost")
		r.wantField(t, "Content-Type", "text/x; charset=utf-8")
		r.wantField(t, "Server", "x")
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: one}})
		c.get("/f", "Accept-Encoding: gzip").want(t, 200, hello)
		c.get("/f").wantField(t, "Vary", "")
		c.get("/sub/").want(t, 403)
		c.get("/no").want(t, 404, "404 Not Found\n")
		c.get("/404.html").wantField(t, "Content-Type", "text/html; charset=utf-8")

		mustSwap(t, g.srv, server.Config{Hosts: []server.Host{{Names: []string{"files.example"}, Site: site(two)}}})
		hot("other", "")
		c.send("GET /f HTTP/1.1\r\nHost: x\r\n\r\n")
		c.read("GET").want(t, 421)
		if err := g.srv.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// A configuration that cannot be used changes nothing.
func TestSwapFails(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		c := g.dial()
		c.get("/f.txt").want(t, 200, hello)
		before := testenv.FDs(t)
		for _, cfg := range []server.Config{
			{},
			{Site: server.Site{Root: "/no/such/dir"}},
			{Site: server.Site{Root: g.root}, Hosts: []server.Host{{Names: []string{"a"}, Site: site("/no/such/dir")}}},
			{Site: server.Site{Root: g.root, ErrorPages: map[int]server.Page{404: {Path: "/no"}}}},
			{Site: server.Site{Root: g.root, Headers: []server.HeaderRule{{Match: "/", Name: "X", Value: ""}}}},
		} {
			if err := g.srv.Swap(cfg); !errors.Is(err, server.ErrConfig) {
				t.Errorf("%+v: %v", cfg, err)
			}
		}
		c.get("/f.txt").want(t, 200, hello)
		if !testenv.Eventually(patience, func() bool { return len(testenv.FDs(t)) == len(before) }) {
			t.Errorf("%d descriptors, then %d", len(before), len(testenv.FDs(t)))
		}
		if err := g.srv.Close(); err != nil {
			t.Error(err)
		}
		if err := g.srv.Swap(server.Config{Site: server.Site{Root: g.root}}); !errors.Is(err, server.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		if err := g.srv.Ready(); err == nil {
			t.Error("ready after the end")
		}
	})
}

// A root that is another directory now is seen at the next swap: a link that was
// changed, as deployments do.
func TestSwapSeesAnotherRoot(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		one, two := dirWith(t, "f", "one"), dirWith(t, "f", "two")
		link := filepath.Join(t.TempDir(), "current")
		if err := os.Symlink(one, link); err != nil {
			t.Fatal(err)
		}
		g := start(t, d, server.Config{Site: server.Site{Root: link}})
		c := g.dial()
		c.get("/f").want(t, 200, "one")
		if err := errors.Join(os.Remove(link), os.Symlink(two, link)); err != nil {
			t.Fatal(err)
		}
		c.get("/f").want(t, 200, "one")
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: link}})
		c.get("/f").want(t, 200, "two")
	})
}

// Downloads under way go on with their version while their root goes.
func TestDownloadsSurviveSwaps(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const size = 8 << 20
		g := start(t, d, server.Config{})
		p := g.pattern("big", 7, size)
		other := dirWith(t, "big", "small")
		var all []*client
		for range 4 {
			c := g.dialWith(16 << 10)
			c.send(request("GET", "/big"))
			r, err := readHead(c.r)
			if err == nil {
				err = r.check("GET")
			}
			if err != nil || r.length != size {
				t.Fatal(err, r)
			}
			all = append(all, c)
		}
		for i := range 50 {
			root := []string{other, g.root}[i%2]
			mustSwap(t, g.srv, server.Config{Site: server.Site{Root: root, Headers: []server.HeaderRule{{Match: "/", Name: "X", Value: fmt.Sprint(i)}}}})
		}
		mustSwap(t, g.srv, server.Config{Site: server.Site{Root: other}})
		g.dial().get("/big").want(t, 200, "small")
		for _, c := range all {
			body := make([]byte, size)
			if _, err := io.ReadFull(c.r, body); err != nil {
				t.Fatal(err)
			}
			if err := p.Check(body, 0); err != nil {
				t.Error(err)
			}
			c.get("/big").want(t, 200, "small")
		}
	})
}

// swaps is how many there are in TestSwapsLeakNothing: each is as the 10,000th.
const swaps = 600

// A great many swaps under load leak neither descriptors nor memory; and each
// response is of one configuration, not of two.
func TestSwapsLeakNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		config := func(i int) server.Config {
			name := []string{"a", "b", "c"}[i%3]
			root := filepath.Join(t.TempDir(), name) // of its own for each: nothing is shared
			for _, f := range []string{"f", "sub/index.html", "lost"} {
				writeFile(t, filepath.Join(root, f), []byte(name+" "+f))
			}
			header := []server.HeaderRule{{Match: "/", Name: "X-Site", Value: name}}
			pages := map[int]server.Page{404: {Path: "/lost"}}
			return server.Config{
				Site:      server.Site{Root: root, Headers: header, ErrorPages: pages, Listing: true, Precompressed: i%2 == 0},
				Locations: []server.Location{{Match: "/sub/", Alias: true, Site: server.Site{Root: filepath.Join(root, "sub"), Headers: header}}},
				Hosts:     []server.Host{{Names: []string{"*.example"}, Site: server.Site{Root: root, Headers: header, ErrorPages: pages}}},
			}
		}
		configs := []server.Config{config(0), config(1), config(2)}
		first := configs[0]
		first.Engine.Loops = 2
		first.Routes = []server.Route{{Prefix: "/h", Blocking: true, Handler: func(ctx *fasthttp.RequestCtx) { server.ServeFile(ctx, "/f") }}}
		g := start(t, d, first)
		var stop atomic.Bool
		var load sync.WaitGroup
		for i := range 3 {
			c := g.dial()
			load.Go(func() {
				for !stop.Load() {
					if !c.oneSite(t, []string{"files.example", "other"}[i%2]) {
						return
					}
				}
			})
		}
		var fds int
		var heap uint64
		for i := range swaps {
			if i == swaps/3 {
				fds, heap = len(testenv.FDs(t)), liveHeap()
			}
			mustSwap(t, g.srv, configs[i%len(configs)])
		}
		// Meanwhile the caches may have grown by what they are bounded to, but
		// each lost root would be a descriptor for each swap.
		if n := len(testenv.FDs(t)); n > fds+50 {
			t.Errorf("%d descriptors after %d swaps, %d after %d", n, swaps, fds, swaps/3)
		}
		if n := liveHeap(); n > heap+4<<20 {
			t.Errorf("%d bytes after %d swaps, %d after %d", n, swaps, heap, swaps/3)
		}
		stop.Store(true)
		load.Wait()
	})
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// oneSite makes requests of several kinds and reports whether each answer is of one
// site.
func (c *client) oneSite(t *testing.T, host string) bool {
	for _, target := range []string{"/f", "/sub/", "/sub/index.html", "/no", "/sub", "/h"} {
		c.patient()
		if _, err := io.WriteString(c.conn, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nAccept-Encoding: gzip\r\n\r\n"); err != nil {
			t.Error(err)
			return false
		}
		r, err := readResponse(c.r, "GET")
		if err != nil {
			t.Errorf("%s: %v", target, err)
			return false
		}
		name, _, _ := bytes.Cut(r.body, []byte(" "))
		if r.status != 301 && string(name) != r.get("X-Site") || r.get("X-Site") == "" {
			t.Errorf("%s: %d %q of the site %q", target, r.status, r.body, r.get("X-Site"))
			return false
		}
	}
	return true
}
