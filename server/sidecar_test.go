package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

var precompressed = server.Config{Site: server.Site{Precompressed: true}}

// coded makes a file with all its sidecars, which are not really compressed: what
// they are makes no difference to the server.
func (g *rig) coded(name string) {
	g.t.Helper()
	g.write(name, "identity of "+name)
	g.write(name+".br", "brotli of "+name)
	g.write(name+".zst", "zstd of "+name)
	g.write(name+".gz", "gzip of "+name)
}

func TestSidecarsAreNegotiated(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, precompressed)
		g.coded("f.css")
		g.coded("sub/index.html")
		g.write("gz-only.js", "plain")
		g.write("gz-only.js.gz", "packed")
		g.write("none.txt", "plain")
		c := g.dial()
		for range 3 { // the second and third are answered from the cache
			for _, test := range []struct {
				target, accept, coding, body string
			}{
				{"/f.css", "br", "br", "brotli of f.css"},
				{"/f.css", "gzip, deflate, br, zstd", "br", "brotli of f.css"},
				{"/f.css", "gzip, zstd", "zstd", "zstd of f.css"},
				{"/f.css", "gzip, br;q=0.5", "gzip", "gzip of f.css"},
				{"/f.css", "*", "br", "brotli of f.css"},
				{"/f.css", "*;q=0.1, br;q=0, zstd;q=0", "gzip", "gzip of f.css"},
				{"/f.css", "identity", "", "identity of f.css"},
				{"/f.css", "br;q=0.5, identity", "", "identity of f.css"},
				{"/f.css", "deflate", "", "identity of f.css"},
				{"/f.css", "", "", "identity of f.css"},
				{"/f.css", "br;q=x", "", "identity of f.css"},
				{"/sub/", "zstd", "zstd", "zstd of sub/index.html"},
				{"/gz-only.js", "br, zstd, gzip", "gzip", "packed"},
				{"/gz-only.js", "br, zstd", "", "plain"},
				{"/none.txt", "br, gzip", "", "plain"},
				{"/none.txt", "identity;q=0, gzip", "", "plain"}, // there is nothing to negotiate
			} {
				r := c.get(test.target, "Accept-Encoding: "+test.accept)
				r.want(t, 200, test.body)
				r.wantField(t, "Content-Encoding", test.coding)
				r.wantField(t, "Vary", "Accept-Encoding")
				h := c.do(http.MethodHead, test.target, "Accept-Encoding: "+test.accept)
				h.want(t, 200)
				for _, field := range []string{"Content-Encoding", "Content-Length", "Content-Type", "Etag", "Vary", "Last-Modified"} {
					h.wantField(t, field, r.get(field))
				}
			}
			r := c.get("/f.css")
			r.want(t, 200, "identity of f.css")
			r.wantField(t, "Vary", "Accept-Encoding")
			r.wantField(t, "Content-Type", "text/css; charset=utf-8")
			r = c.get("/f.css", "Accept-Encoding: gzip", "Accept-Encoding: br")
			r.want(t, 200, "brotli of f.css")
			r.wantField(t, "Content-Type", "text/css; charset=utf-8")
			// By its own name a sidecar is a file like any other.
			r = c.get("/f.css.gz", "Accept-Encoding: gzip")
			r.want(t, 200, "gzip of f.css")
			r.wantField(t, "Content-Encoding", "")
			r.wantField(t, "Vary", "")
			r.wantField(t, "Content-Type", "application/gzip")
			r = c.get("/f.css", "Accept-Encoding: identity;q=0, deflate")
			r.want(t, 406)
			r.wantField(t, "Vary", "Accept-Encoding")
			c.get("/gz-only.js", "Accept-Encoding: identity;q=0, br").want(t, 406)
		}
	})
}

// A handler that answers with a file gets its sidecars too, unless it has said
// what the file's coding is.
func TestSidecarsOfHandlers(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Precompressed: true}, Routes: []server.Route{{Prefix: "/h/",
			Handler: func(ctx *fasthttp.RequestCtx) {
				if string(ctx.Path()) == "/h/coded" {
					ctx.Response.Header.Set("Content-Encoding", "x-own")
				}
				server.ServeFile(ctx, "/f.css")
			}}}})
		g.coded("f.css")
		c := g.dial()
		r := c.get("/h/coded", "Accept-Encoding: br")
		r.want(t, 200, "identity of f.css")
		r.wantField(t, "Content-Encoding", "x-own")
		r = c.get("/h/plain", "Accept-Encoding: br")
		r.want(t, 200, "brotli of f.css")
		r.wantField(t, "Content-Encoding", "br")
	})
}

// Off, sidecars are files and nothing varies.
func TestSidecarsAreOff(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.coded("f.css")
		r := g.once(http.MethodGet, "/f.css", "Accept-Encoding: br")
		r.want(t, 200, "identity of f.css")
		r.wantField(t, "Vary", "")
		r.wantField(t, "Content-Encoding", "")
	})
}

// Preconditions and ranges are about the representation that was chosen.
func TestSidecarsAreRepresentations(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, precompressed)
		g.coded("f.css")
		c := g.dial()
		tags := make(map[string]string) // tag -> coding
		for _, coding := range []string{"identity", "br", "zstd", "gzip"} {
			accept := "Accept-Encoding: " + coding
			whole := c.get("/f.css", accept)
			whole.want(t, 200)
			tag := whole.get("Etag")
			if other, taken := tags[tag]; taken || tag == "" {
				t.Errorf("%s has the tag %s, as %s has", coding, tag, other)
			}
			tags[tag] = coding
			for _, test := range []struct {
				fields []string
				status int
				body   string
			}{
				{[]string{"If-None-Match: " + tag}, 304, ""},
				{[]string{`If-None-Match: "other"`}, 200, string(whole.body)},
				{[]string{"If-Modified-Since: " + lastModified}, 304, ""},
				{[]string{`If-Match: "other"`}, 412, "412 Precondition Failed\n"},
				{[]string{"Range: bytes=2-5"}, 206, string(whole.body[2:6])},
				{[]string{"Range: bytes=2-5", "If-Range: " + tag}, 206, string(whole.body[2:6])},
				{[]string{"Range: bytes=2-5", `If-Range: "other"`}, 200, string(whole.body)},
				{[]string{"Range: bytes=100-"}, 416, "416 Range Not Satisfiable\n"},
			} {
				r := c.get("/f.css", append(test.fields, accept)...)
				r.want(t, test.status, test.body)
				r.wantField(t, "Vary", "Accept-Encoding")
				if test.status == 304 {
					r.wantField(t, "Etag", tag)
				}
				if test.status == 416 {
					r.wantField(t, "Content-Range", fmt.Sprintf("bytes */%d", len(whole.body)))
				}
			}
		}
		if len(tags) != 4 {
			t.Errorf("%d tags, want 4: %v", len(tags), tags)
		}
		for tag, coding := range tags { // one's tag is not another's
			if coding != "br" {
				c.get("/f.css", "Accept-Encoding: br", "If-None-Match: "+tag).want(t, 200, "brotli of f.css")
			}
		}
	})
}

// A sidecar that is older than its source was made from an earlier version.
func TestStaleSidecarIsIgnored(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, precompressed)
		g.coded("f.css")
		old := settled.Add(-time.Nanosecond)
		if err := os.Chtimes(filepath.Join(g.root, "f.css.br"), old, old); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(g.root, "f.css.zst")); err != nil {
			t.Fatal(err)
		}
		c := g.dial()
		c.get("/f.css", "Accept-Encoding: br").want(t, 200, "identity of f.css")
		c.get("/f.css", "Accept-Encoding: br, gzip").want(t, 200, "gzip of f.css")
		c.get("/f.css", "Accept-Encoding: br, gzip").want(t, 200, "gzip of f.css")
	})
}

// What becomes of sidecars while the server runs is seen within one second; the
// test waits for it, and does not mind when it comes sooner.
func TestSidecarsComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, precompressed)
		g.write("f.css", "plain")
		c := g.dial()
		becomes := func(body string) {
			t.Helper()
			if !testenv.Eventually(patience, func() bool {
				return string(c.get("/f.css", "Accept-Encoding: br, gzip").body) == body
			}) {
				t.Fatalf("the answer has not become %q", body)
			}
		}
		becomes("plain")
		g.write("f.css.gz", "gzip")
		g.write("f.css.br", "brotli")
		becomes("brotli")
		if err := os.Remove(filepath.Join(g.root, "f.css.br")); err != nil {
			t.Fatal(err)
		}
		becomes("gzip")
		// The source changes, its sidecar does not: it is stale now.
		next := filepath.Join(g.root, "next")
		writeFile(t, next, []byte("newer"))
		after := settled.Add(time.Hour)
		if err := errors.Join(os.Chtimes(next, after, after), os.Rename(next, filepath.Join(g.root, "f.css"))); err != nil {
			t.Fatal(err)
		}
		becomes("newer")
	})
}

// On tmpfs a name that is not there is never known without asking: RESOLVE_CACHED
// fails, and the sidecars are opened off the loop.
func TestSidecarsThatMustBeWaitedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{Site: server.Site{Precompressed: true, Root: memoryDir(t)}})
		g.write("none.css", "plain")
		g.write("gz.css", "plain")
		g.write("gz.css.gz", "gzip")
		g.write("sub/index.html", "index")
		c := g.dial()
		for range 2 {
			c.send(request("GET", "/none.css", "Accept-Encoding: br, gzip") +
				request("GET", "/gz.css", "Accept-Encoding: br, gzip", "Range: bytes=1-2") +
				request("HEAD", "/sub/", "Accept-Encoding: br, gzip") +
				request("GET", "/gz.css", "Accept-Encoding: identity;q=0, br"))
			c.read("GET").want(t, 200, "plain")
			r := c.read("GET")
			r.want(t, 206, "zi")
			r.wantField(t, "Content-Encoding", "gzip")
			r = c.read("HEAD")
			r.want(t, 200)
			r.wantField(t, "Content-Length", "5")
			c.read("GET").want(t, 406)
		}
		// One that goes away while it waits leaves nothing behind.
		gone := g.dial()
		gone.send(request("GET", "/none.css", "Accept-Encoding: zstd"))
		if err := gone.conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		gone.conn.Close()
		g.wantOpen(1)
	})
}

// memoryDir returns a directory on tmpfs for the test.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, ok := testenv.ShmDir(t)
	if !ok {
		t.Skip("no tmpfs")
	}
	return dir
}
