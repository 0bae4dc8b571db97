package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// compressed is a server that compresses.
func compressed(c httpfile.Compression) server.Config {
	return server.Config{Site: server.Site{Precompressed: true, Listing: true, Files: httpfile.Config{Compress: &c}}}
}

// prose is text of n bytes that gains by a coding.
func prose(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a text that is long enough\n", i*i)
	}
	return b.String()[:n]
}

// decoded is the content of a body in a coding.
func decoded(t *testing.T, coding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestCompression(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, compressed(httpfile.Compression{MaxSize: 100_000}))
		text := prose(20_000)
		g.write("a.txt", text)
		g.write("b.css", text)
		g.coded("b.css") // sidecars
		g.write("gz.css", text)
		g.write("gz.css.gz", "sidecar")
		g.write("small.txt", "small")
		g.write("large.txt", prose(100_001))
		g.write("a.png", text)
		g.write("a.tar.gz", text)
		g.pattern("noise.txt", 1, 20_000) // gains nothing
		c := g.dial()
		for range 3 { // made, then found
			for _, test := range []struct{ path, accept, coding string }{
				{"/a.txt", "gzip", "gzip"}, {"/a.txt", "zstd", "zstd"}, {"/a.txt", "gzip, zstd, br", "zstd"}, {"/a.txt", "gzip, zstd;q=0.5", "gzip"},
				{"/a.txt", "br", ""}, {"/a.txt", "identity", ""}, {"/a.txt", "gzip;q=0", ""}, {"/a.txt", "gzip;q=0.5, identity", ""}, {"/a.txt", "*", "zstd"},
				{"/a.txt", "gzip, identity;q=0", "gzip"}, {"/gz.css", "zstd", "zstd"},
				{"/small.txt", "gzip", ""}, {"/large.txt", "gzip", ""}, {"/small.txt", "identity;q=0", ""},
			} {
				r := c.get(test.path, "Accept-Encoding: "+test.accept)
				r.want(t, 200)
				r.wantField(t, "Content-Encoding", test.coding)
				want := text
				switch test.path {
				case "/small.txt":
					want = "small"
				case "/large.txt":
					want = prose(100_001)
				}
				if got := decoded(t, test.coding, r.body); got != want {
					t.Errorf("%s for %s: %.50q", test.path, test.accept, got)
				}
				r.wantField(t, "Vary", "Accept-Encoding")
				if ranges := r.get("Accept-Ranges"); (ranges == "") != (test.coding != "") {
					t.Errorf("%s for %s: Accept-Ranges: %s", test.path, test.accept, ranges)
				}
				h := c.do(http.MethodHead, test.path, "Accept-Encoding: "+test.accept)
				h.want(t, 200)
				for _, field := range []string{"Content-Encoding", "Content-Length", "Content-Type", "Etag", "Vary", "Last-Modified", "Accept-Ranges"} {
					h.wantField(t, field, r.get(field))
				}
			}
			c.get("/b.css", "Accept-Encoding: gzip, zstd").wantField(t, "Content-Encoding", "zstd")
			c.get("/b.css", "Accept-Encoding: gzip").want(t, 200, "gzip of b.css")
			c.get("/gz.css", "Accept-Encoding: gzip, zstd, br").want(t, 200, "sidecar")
			r := c.get("/a.txt", "Accept-Encoding: identity;q=0, br")
			r.want(t, 406)
			r.wantField(t, "Vary", "Accept-Encoding")
			for _, path := range []string{"/a.png", "/a.tar.gz"} {
				r := c.get(path, "Accept-Encoding: gzip")
				r.want(t, 200, text)
				r.wantField(t, "Vary", "")
			}
			r = c.get("/noise.txt", "Accept-Encoding: gzip")
			r.want(t, 200)
			r.wantField(t, "Content-Encoding", "")
			r.wantField(t, "Vary", "Accept-Encoding")
			if len(r.body) != 20_000 {
				t.Errorf("noise of %d bytes", len(r.body))
			}
		}
		s := g.srv.Stats()
		if n := s.Compress.Made; n != 4 { // a.txt in two codings, gz.css in one, noise.txt
			t.Errorf("%d were made", n)
		}
		var hits uint64
		for _, x := range s.Sessions {
			hits += x.Compressed
		}
		if s.Compress.In != 4*20_000 || s.Compress.Out == 0 || s.Compress.Held == 0 || hits < 10 {
			t.Errorf("%+v, %d responses", s.Compress, hits)
		}
	})
}

// Tags tell the codings apart, and ranges are of the file.
func TestCompressionAndValidators(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, compressed(httpfile.Compression{}))
		text := prose(20_000)
		g.write("a.txt", text)
		c := g.dial()
		plain, gz, zs := c.get("/a.txt"), c.get("/a.txt", "Accept-Encoding: gzip"), c.get("/a.txt", "Accept-Encoding: zstd")
		tags := map[string]string{"identity": plain.get("Etag"), "gzip": gz.get("Etag"), "zstd": zs.get("Etag")}
		if tags["gzip"] == tags["identity"] || tags["gzip"] == tags["zstd"] || !strings.HasPrefix(tags["gzip"], `"`) {
			t.Errorf("tags: %v", tags)
		}
		for coding, tag := range tags {
			for accept := range tags {
				r := c.get("/a.txt", "Accept-Encoding: "+accept, "If-None-Match: "+tag)
				if want := map[bool]int{true: 304, false: 200}[accept == coding]; r.status != want {
					t.Errorf("%s with the tag of %s: %d", accept, coding, r.status)
				}
				r.wantField(t, "Vary", "Accept-Encoding")
				r.wantField(t, "Etag", tags[accept])
				r = c.get("/a.txt", "Accept-Encoding: "+accept, "If-Match: "+tag)
				if want := map[bool]int{true: 200, false: 412}[accept == coding]; r.status != want {
					t.Errorf("%s if the tag is that of %s: %d", accept, coding, r.status)
				}
				r.wantField(t, "Vary", "Accept-Encoding")
			}
			r := c.get("/a.txt", "Accept-Encoding: gzip", "Range: bytes=5-9", "If-Range: "+tag)
			r.wantField(t, "Content-Encoding", "")
			if coding == "identity" {
				r.want(t, 206, text[5:10])
			} else {
				r.want(t, 200, text)
			}
		}
		for _, f := range []string{"Range: bytes=5-9", "Range: bytes=-5", "Range: bytes=0-1,5-6", "Range: bytes=20000-"} {
			r := c.get("/a.txt", "Accept-Encoding: gzip", f)
			r.wantField(t, "Content-Encoding", "")
			r.wantField(t, "Vary", "Accept-Encoding")
			if r.status != 206 && r.status != 416 {
				t.Errorf("%s: %d", f, r.status)
			}
		}
		c.get("/a.txt", "Accept-Encoding: gzip", "If-Modified-Since: "+gz.get("Last-Modified")).want(t, 304, "")
		c.do(http.MethodHead, "/a.txt", "Accept-Encoding: gzip", "Range: bytes=0-1").want(t, 200)
	})
}

// A date is the same for the file and its forms: it does not tell that the beginning that a client has is
// of what a range would be of.
func TestCompressionAndDates(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := compressed(httpfile.Compression{})
		cfg.Site.ContentTags = true // of which there are none
		g := start(t, d, cfg)
		text := prose(20_000)
		g.write("a.txt", text)
		c := g.dial()
		r := c.get("/a.txt", "Accept-Encoding: gzip")
		r.wantField(t, "Content-Encoding", "gzip")
		dated := "If-Range: " + r.get("Last-Modified")
		for _, f := range []string{"Range: bytes=100-", "Range: bytes=1-2,4-5", "Range: bytes=30000-"} {
			whole := c.get("/a.txt", "Accept-Encoding: gzip", f, dated)
			whole.wantField(t, "Content-Encoding", "gzip")
			whole.want(t, 200, string(r.body))
		}
		c.get("/a.txt", "Range: bytes=100-", dated).want(t, 206, text[100:])
		c.get("/a.txt", "Accept-Encoding: br", "Range: bytes=100-", dated).want(t, 206, text[100:])
		g.pattern("noise.txt", 1, 20_000) // has no form
		dated = "If-Range: " + c.get("/noise.txt", "Accept-Encoding: gzip").get("Last-Modified")
		if r := c.get("/noise.txt", "Accept-Encoding: gzip", "Range: bytes=100-", dated); r.status != 206 || len(r.body) != 19_900 {
			t.Errorf("what gains nothing: %d, %d bytes", r.status, len(r.body))
		}
	})
}

// A file that was replaced has the form of what it is, and one that changed just now none.
func TestCompressionOfChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, compressed(httpfile.Compression{}))
		c := g.dial()
		ask := func() (string, string) {
			r := c.get("/a.txt", "Accept-Encoding: gzip")
			coding := r.get("Content-Encoding")
			return decoded(t, coding, r.body), coding
		}
		for i := range 3 {
			text := prose(10_000 + i)
			g.write("a.txt", text)
			if !testenv.Eventually(patience, func() bool { got, coding := ask(); return got == text && coding == "gzip" }) {
				t.Fatalf("version %d did not come", i)
			}
		}
		young := prose(9_000)
		if err := os.WriteFile(filepath.Join(g.root, "a.txt"), []byte(young), 0o644); err != nil {
			t.Fatal(err)
		}
		if !testenv.Eventually(patience, func() bool { got, _ := ask(); return got == young }) {
			t.Fatal("the last version did not come")
		}
	})
}

// Many who ask at once get one form; those who leave keep nothing, and memory that is used up
// makes nobody wait.
func TestCompressionForMany(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := compressed(httpfile.Compression{})
		cfg.CompressCache = 20_000
		g := start(t, d, cfg)
		text := prose(500_000)
		for i := range 20 {
			g.write(fmt.Sprintf("%d.txt", i), text)
		}
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				r := g.once(http.MethodGet, fmt.Sprintf("/%d.txt", i%20), "Accept-Encoding: gzip")
				if got := decoded(t, r.get("Content-Encoding"), r.body); r.status != 200 || got != text {
					t.Errorf("%d: %d bytes", r.status, len(got))
				}
			})
			all.Go(func() { // leaves
				c := g.dial()
				c.send(fmt.Sprintf("GET /%d.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", i%20))
				_ = c.conn.Close()
			})
		}
		all.Wait()
		if !testenv.Eventually(patience, func() bool { return g.srv.Stats().Compress.Held <= 20_000 }) {
			t.Errorf("%+v", g.srv.Stats().Compress)
		}
	})
}

// What was compressed costs no more memory than other content, and where nothing is compressed
// nothing changes.
func TestCompressionCostsNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, compressed(httpfile.Compression{}))
		g.write("a.txt", prose(20_000))
		for _, head := range []string{"GET /a.txt\r\nAccept-Encoding: gzip", "HEAD /a.txt\r\nAccept-Encoding: zstd", "GET /a.txt", "GET /a.txt\r\nAccept-Encoding: gzip\r\nIf-None-Match: *"} {
			if n := g.mallocs(head); n > 0.1 {
				t.Errorf("%q: %.2f allocations a request", head, n)
			}
		}
	})
}

// Listings are compressed, too, as HTML and as JSON.
func TestCompressionOfListings(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, compressed(httpfile.Compression{}))
		for i := range 100 {
			g.write(fmt.Sprintf("many/file-%d.txt", i), "x")
		}
		g.write("few/x", "x")
		c := g.dial()
		for range 2 {
			for _, accept := range []string{"text/html", "application/json"} {
				plain := c.get("/many/", "Accept: "+accept)
				plain.want(t, 200)
				for _, coding := range []string{"gzip", "zstd"} {
					r := c.get("/many/", "Accept: "+accept, "Accept-Encoding: "+coding)
					r.want(t, 200)
					r.wantField(t, "Content-Encoding", coding)
					if got := decoded(t, coding, r.body); got != string(plain.body) || len(r.body) >= len(plain.body)/2 {
						t.Errorf("%s as %s: %d bytes of %d", accept, coding, len(r.body), len(plain.body))
					}
					h := c.do(http.MethodHead, "/many/", "Accept: "+accept, "Accept-Encoding: "+coding)
					h.wantField(t, "Content-Length", r.get("Content-Length"))
					for _, r := range []*response{plain, r, h} {
						r.wantField(t, "Vary", "Accept, Accept-Encoding")
					}
				}
			}
			r := c.get("/few/", "Accept: application/json", "Accept-Encoding: gzip")
			r.want(t, 200)
			r.wantField(t, "Content-Encoding", "")
			r.wantField(t, "Vary", "Accept")
		}
	})
}
