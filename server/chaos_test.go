package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// chaosSite makes a server with a bit of everything.
func chaosSite(t *testing.T, d engine.DriverKind) *rig {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "404.html"), []byte("<p>not here</p>"))
	g := start(t, d, server.Config{
		Site: server.Site{
			Root: root, Precompressed: true, Listing: true, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}},
			Headers: []server.HeaderRule{{Match: "*.txt", Name: "X-Kind", Value: "text"}},
		},
	})
	g.write("f.txt", hello)
	g.write("empty.txt", "")
	g.write("dir/index.html", "<p>index</p>")
	g.write("list/a", "a")
	g.coded("code.js")
	g.pattern("big.bin", 31, 300_000)
	return g
}

var (
	chaosTargets = []string{
		"/f.txt", "/empty.txt", "/dir/", "/dir", "/list/", "/list/?sort=size&order=desc", "/code.js", "/big.bin", "/missing", "/f.txt/", "/../x", "/.hidden",
	}
	chaosFields = [][]string{
		nil,
		{"Range: bytes=0-3"}, {"Range: bytes=-0"}, {"Range: bytes=999999999-"}, {"Range: bytes=0-0,2-2,5-"}, {"Range: bytes=x"},
		{"Range: bytes=0-0,200-300,9000-9001,-1"},
		{"If-None-Match: *"}, {"If-None-Match: " + etag(20)}, {"If-None-Match: W/" + etag(20), "Range: bytes=0-3"},
		{"If-Match: " + etag(20)}, {"If-Match: W/" + etag(20)}, {"If-Match: *", "Range: bytes=1-"},
		{"If-Modified-Since: " + lastModified}, {"If-Unmodified-Since: " + lastModified, "If-Modified-Since: " + lastModified},
		{"If-Range: " + etag(20), "Range: bytes=0-3"}, {"If-Range: W/" + etag(20), "Range: bytes=0-3"},
		{"If-Range: " + lastModified, "Range: bytes=0-1,5-6"}, {"If-Range: \"other\"", "Range: bytes=20-"},
		{"Accept-Encoding: gzip"}, {"Accept-Encoding: br, zstd;q=0.9"}, {"Accept-Encoding: identity;q=0"}, {"Accept-Encoding: gzip", "Range: bytes=0-3"},
		{"Accept-Encoding: zstd", "Range: bytes=0-1,5-6"}, {"Accept: application/json"},
		{"Content-Length: 5"}, {"Transfer-Encoding: chunked"},
	}
)

// HEAD gives what GET would give without Range, and no content, whatever else
// is asked (RFC 9110 section 9.3.2).
func TestHeadIsGetWithoutContent(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := chaosSite(t, d)
		c := g.dial()
		for _, target := range chaosTargets {
			for _, fields := range chaosFields {
				if strings.HasPrefix(strings.Join(fields, ""), "Content") || strings.HasPrefix(strings.Join(fields, ""), "Transfer") {
					continue // bodies have no part in it
				}
				head := c.do(http.MethodHead, target, fields...)
				get := c.get(target, slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return strings.HasPrefix(f, "Range:") })...)
				name := target + " " + strings.Join(fields, ", ")
				if head.status != get.status {
					t.Errorf("%s: HEAD %d, GET %d", name, head.status, get.status)
				}
				for field := range get.fields {
					if field != "Date" && head.get(field) != get.get(field) {
						t.Errorf("%s: %s is %q to HEAD, %q to GET", name, field, head.get(field), get.get(field))
					}
				}
				if len(head.fields) != len(get.fields) {
					t.Errorf("%s: fields %v to HEAD, %v to GET", name, head.fields, get.fields)
				}
			}
		}
	})
}

// Requests of all kinds, pipelined in random order and cut into random pieces,
// get byte for byte what each gets alone.
func TestPipelineIsTheSumOfItsParts(t *testing.T) {
	const rounds, most = 12, 25
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := chaosSite(t, d)
		rnd := rand.New(rand.NewPCG(7, 9))
		var all []chaosRequest
		for _, target := range chaosTargets {
			for _, fields := range chaosFields {
				for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "BREW"} {
					raw := request(method, target, fields...)
					switch fields := strings.Join(fields, ""); {
					case strings.HasPrefix(fields, "Content"):
						raw += "GET /"
					case strings.HasPrefix(fields, "Transfer"):
						raw += "5\r\nGET /\r\n0\r\nX: y\r\n\r\n"
					}
					all = append(all, chaosRequest{method: method, raw: raw})
				}
			}
		}
		for range rounds {
			var batch []*chaosRequest
			raw := ""
			for range 1 + rnd.IntN(most) {
				q := &all[rnd.IntN(len(all))]
				batch, raw = append(batch, q), raw+q.raw
			}
			c := g.dial()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				c.sendPieces(raw, 1+len(raw)/(1+rnd.IntN(20)))
			}()
			for i, q := range batch {
				if got, want := c.read(q.method), q.alone(g); !got.same(want) {
					t.Errorf("request %d of %d, %q: %d %v, alone %d %v", i, len(batch), q.raw, got.status, got.fields, want.status, want.fields)
				}
			}
			<-sent
			c.conn.Close()
		}
	})
}

// chaosRequest is a request and, once it was made, what it gets alone.
type chaosRequest struct {
	method, raw string
	answer      *response
}

func (q *chaosRequest) alone(g *rig) *response {
	if q.answer == nil {
		c := g.dial()
		defer c.conn.Close()
		c.send(q.raw)
		q.answer = c.read(q.method)
	}
	return q.answer
}

// same compares all but the date and the boundary of parts, which is random.
func (r *response) same(other *response) bool {
	if r.status != other.status || len(r.fields) != len(other.fields) {
		return false
	}
	bodies := [2][]byte{r.body, other.body}
	for field := range r.fields {
		a, b := r.get(field), other.get(field)
		const parts = "multipart/byteranges; boundary="
		if strings.HasPrefix(a, parts) && strings.HasPrefix(b, parts) {
			for i, v := range []string{a, b} {
				bodies[i] = bytes.ReplaceAll(bodies[i], []byte(v[len(parts):]), []byte("boundary"))
			}
			continue
		}
		if field != "Date" && a != b {
			return false
		}
	}
	return bytes.Equal(bodies[0], bodies[1])
}

// A directory is exchanged for a link out of the root, over and over, while files,
// sidecars, index files and listings below it are asked for: nothing of what lies
// outside is ever sent.
func TestLinkRaceNeverLeaves(t *testing.T) {
	files := 400
	if testing.Short() {
		files = 100 // the race detector makes the exchanges wait for each other
	}
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		for i := range files {
			name := fmt.Sprintf("f%d", i)
			writeFile(t, filepath.Join(root, "d", name), []byte("inside"))
			writeFile(t, filepath.Join(dir, "out", name), []byte(secret))
			writeFile(t, filepath.Join(dir, "out", name+".gz"), []byte(secret))
		}
		writeFile(t, filepath.Join(dir, "out", "index.html"), []byte(secret))
		writeFile(t, filepath.Join(dir, "out", "of-"+secret), nil)
		link := filepath.Join(root, "link")
		if err := os.Symlink("../out", link); err != nil {
			t.Fatal(err)
		}
		exchange := func() error {
			return unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, filepath.Join(root, "d"), unix.RENAME_EXCHANGE)
		}
		if err := exchange(); err != nil {
			t.Skipf("the file system cannot exchange names: %v", err)
		}
		g := start(t, d, server.Config{Site: server.Site{Root: root, Precompressed: true, Listing: true}})
		stop, exchanged := make(chan struct{}), make(chan int)
		go func() {
			n := 0
			defer func() { exchanged <- n }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := exchange(); err != nil {
					t.Errorf("exchange: %v", err)
					return
				}
				n++
			}
		}()
		seen := make(map[int]int)
		c := g.dial()
		for i := range files { // each name once: the cache has none of them
			targets := []string{fmt.Sprintf("/d/f%d", i), fmt.Sprintf("/link/f%d", i)}
			if i%20 == 0 {
				targets = append(targets, "/d/", "/link/")
			}
			for _, target := range targets {
				r := c.get(target, "Accept-Encoding: gzip")
				seen[r.status]++
				if bytes.Contains(r.body, []byte(secret)) {
					t.Errorf("%s shows what lies outside: %d %.200q", target, r.status, r.body)
				}
			}
		}
		close(stop)
		if n := <-exchanged; n < 10 || seen[200] == 0 || seen[404] == 0 {
			t.Errorf("%d exchanges, answers by status %v: the race has not been run", n, seen)
		}
	})
}
