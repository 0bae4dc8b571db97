package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// An ordinary request for a file that is open costs no memory: with sidecars or
// without, whole, in part or not at all, and with its line in the access log.
func TestFilesCostNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		log := server.NewAccessLogIn(server.LogJSON, io.Discard)
		g := start(t, d, server.Config{
			Site: server.Site{
				Precompressed: true, ErrorPages: map[int]server.Page{404: {Path: "/404.html"}}, Root: dirWith(t, "404.html", "nothing"),
				Files: httpfile.Config{CacheControl: []httpfile.Rule{{Match: "/", Value: "no-cache"}}},
			},
			AccessLog: log,
		})
		g.write("f.txt", hello)
		g.write("a.css", hello)
		g.write("a.css.gz", "gz")
		g.write("d/index.html", hello)
		g.pattern("large", 1, 300_000)
		for _, head := range []string{
			"GET /f.txt", "HEAD /f.txt", "GET /d/", "GET /large", "GET /f.txt\r\nRange: bytes=1-2", "GET /f.txt\r\nIf-None-Match: *",
			"GET /f.txt\r\nAccept-Encoding: br, gzip", "GET /a.css\r\nAccept-Encoding: gzip", "POST /f.txt", "GET /.hidden",
		} {
			if n := g.mallocs(head); n > 0.1 {
				t.Errorf("%q: %.2f allocations a request", head, n)
			}
		}
		if err := g.srv.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
}

// mallocs returns how many allocations a request costs, on average over many.
// head is that of the request up to HTTP/1.1, and its fields.
func (g *rig) mallocs(head string) float64 {
	g.t.Helper()
	line, fields, _ := strings.Cut(head, "\r\n")
	raw := []byte(line + " HTTP/1.1\r\nHost: files.example\r\n" + fields + strings.Repeat("\r\n", min(len(fields), 1)) + "\r\n")
	c := g.dial()
	defer c.conn.Close()
	method, _, _ := strings.Cut(line, " ")
	// The first response tells how many bytes the others have.
	var whole bytes.Buffer
	c.r = bufio.NewReader(io.TeeReader(c.conn, &whole))
	c.send(string(raw))
	c.read(method)
	buf := whole.Bytes()
	ask := func() {
		if _, err := c.conn.Write(raw); err != nil {
			g.t.Fatal(err)
		}
		if _, err := io.ReadFull(c.conn, buf); err != nil {
			g.t.Fatal(err)
		}
	}
	ask() // what is made for a version once
	c.patient()
	const rounds = 500
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		ask()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / rounds
}

// A request for a file that is not open costs no memory either, once the cache is full: what
// was made for a file that had to go is used for the one that comes.
func TestMissesCostNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{
			Site:   server.Site{Files: httpfile.Config{CacheControl: []httpfile.Rule{{Match: "/", Value: "no-cache"}}}},
			Engine: engine.Config{MaxFiles: 16},
		})
		var asked []string
		for i := range 64 {
			asked = append(asked, fmt.Sprintf("a-directory/with-a-long-name/%03d.txt", i))
			g.write(asked[i], hello)
		}
		c := g.dial()
		defer c.conn.Close()
		c.patient()
		var reply bytes.Buffer
		c.r = bufio.NewReader(io.TeeReader(c.conn, &reply))
		requests := make([][]byte, len(asked))
		for i, name := range asked {
			requests[i] = []byte("GET /" + name + " HTTP/1.1\r\nHost: files.example\r\n\r\n")
		}
		c.send(string(requests[0]))
		c.read("GET")
		buf := reply.Bytes()
		walk := func(rounds int) {
			for i := range rounds * len(requests) {
				if _, err := c.conn.Write(requests[i%len(requests)]); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c.conn, buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		walk(2)
		const rounds = 20
		var before, after runtime.MemStats
		misses := g.srv.Stats().Loops[0].Files.Misses
		runtime.ReadMemStats(&before)
		walk(rounds)
		runtime.ReadMemStats(&after)
		if n := g.srv.Stats().Loops[0].Files.Misses - misses; n < rounds*uint64(len(requests))/2 {
			t.Errorf("%d misses", n)
		}
		if n := float64(after.Mallocs-before.Mallocs) / float64(rounds*len(requests)); n > 0.1 {
			t.Errorf("%.2f allocations a miss", n)
		}
	})
}
