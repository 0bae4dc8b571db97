package server_test

import (
	"bufio"
	"bytes"
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
