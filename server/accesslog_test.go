package server_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// combined is the combined log format.
var combined = regexp.MustCompile(`^(\S+) - - \[([^\]]+)\] "([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"$`)

// lines ends the server and the log, and returns what was logged.
func (g *rig) lines(a *server.AccessLog, buf *bytes.Buffer) []string {
	g.t.Helper()
	if err := g.srv.Close(); err != nil {
		g.t.Error(err)
	}
	if err := a.Close(); err != nil {
		g.t.Error(err)
	}
	return strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
}

func TestAccessLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		a := server.NewAccessLog(&buf)
		g := start(t, d, server.Config{AccessLog: a, Routes: []server.Route{
			{Prefix: "/echo", Handler: echo},
			{Prefix: "/slow", Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString("slow") }, Blocking: true},
		}})
		g.write("f.txt", hello)
		g.write("dir/index.html", "index")
		g.pattern("big.bin", 21, 1<<20)
		before := time.Now().Truncate(time.Second)
		type line struct{ request, status, bytes, referer, agent string }
		var want []line
		expect := func(l line) {
			if l.referer == "" {
				l.referer = "-"
			}
			if l.agent == "" {
				l.agent = "-"
			}
			want = append(want, l)
		}
		c := g.dial()
		for range 2 {
			c.get("/f.txt")
			expect(line{"GET /f.txt HTTP/1.1", "200", "20", "", ""})
		}
		c.get("/f.txt?a=b", "Referer: http://h/p", "User-Agent: curl/8")
		expect(line{"GET /f.txt?a=b HTTP/1.1", "200", "20", "http://h/p", "curl/8"})
		c.do("HEAD", "/big.bin")
		expect(line{"HEAD /big.bin HTTP/1.1", "200", "0", "", ""})
		c.get("/big.bin")
		expect(line{"GET /big.bin HTTP/1.1", "200", "1048576", "", ""})
		c.get("/big.bin", "Range: bytes=5-104")
		expect(line{"GET /big.bin HTTP/1.1", "206", "100", "", ""})
		c.get("/f.txt", "If-None-Match: *")
		expect(line{"GET /f.txt HTTP/1.1", "304", "0", "", ""})
		c.get("/dir")
		expect(line{"GET /dir HTTP/1.1", "301", "22", "", ""})
		c.get("/nothing")
		expect(line{"GET /nothing HTTP/1.1", "404", "14", "", ""})
		c.get("/echo/1")
		expect(line{"GET /echo/1 HTTP/1.1", "200", "15", "", ""})
		c.get("/slow")
		expect(line{"GET /slow HTTP/1.1", "200", "4", "", ""})
		c.send(request("POST", "/echo", "Content-Length: 3") + "abc")
		c.read("POST")
		expect(line{"POST /echo HTTP/1.1", "200", "17", "", ""})
		c.send(unwanted(5))
		c.read("GET")
		expect(line{"GET /f.txt HTTP/1.1", "200", "20", "", ""})
		c.send(chunked(5))
		c.read("GET")
		expect(line{"GET /f.txt HTTP/1.1", "200", "20", "", ""})
		c.send("\r\nGET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		c.read("GET")
		expect(line{"GET /f.txt HTTP/1.0", "200", "20", "", ""})
		// What could break the line, or a terminal, is escaped.
		c.get("/%22%0a", "Referer: \xff\t", "User-Agent: a\"b\\c\td")
		expect(line{"GET /%22%0a HTTP/1.1", "404", "14", `\xFF`, `a\x22b\x5Cc\x09d`})
		lines := g.lines(a, &buf)
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), strings.Join(lines, "\n"))
		}
		for i, w := range want {
			m := combined.FindStringSubmatch(lines[i])
			if m == nil {
				t.Errorf("line %q is not in combined format", lines[i])
				continue
			}
			if got := (line{m[3], m[4], m[5], m[6], m[7]}); got != w || m[1] != "127.0.0.1" {
				t.Errorf("line %q, want %q", lines[i], w)
			}
			at, err := time.Parse("02/Jan/2006:15:04:05 -0700", m[2])
			if err != nil || at.Before(before) || at.After(time.Now()) {
				t.Errorf("line %q: wrong time", lines[i])
			}
		}
	})
}

// What was refused is logged as it came, escaped, and cannot forge a line.
func TestAccessLogOfRefusedRequests(t *testing.T) {
	type refusal struct{ raw, logged string }
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		refuse := func(headerTimeout time.Duration, tests ...refusal) {
			var buf bytes.Buffer
			a := server.NewAccessLog(&buf)
			cfg := timeouts()
			cfg.Engine.HeaderTimeout = headerTimeout
			cfg.AccessLog = a
			cfg.Routes = []server.Route{{Prefix: "/echo", Handler: echo}}
			g := start(t, d, cfg)
			for _, test := range tests {
				c := g.dial()
				c.send(test.raw)
				c.read("GET")
				c.wantEnd()
				c.conn.Close()
			}
			lines := g.lines(a, &buf)
			if len(lines) != len(tests) {
				t.Fatalf("%d lines, want %d:\n%.3000s", len(lines), len(tests), strings.Join(lines, "\n"))
			}
			for i, test := range tests {
				if !strings.Contains(lines[i], test.logged) || !combined.MatchString(lines[i]) {
					t.Errorf("line %.200q, want it to contain %q", lines[i], test.logged)
				}
			}
		}
		refuse(never,
			refusal{"\x16\x03\x01\x02", `"\x16\x03\x01\x02" 400 `},
			refusal{"GET / HTTP/2.0\r\nHost: h\r\n\r\n", `"GET / HTTP/2.0" 505 `},
			refusal{"nonsense\nwith \"quotes\"\r\n\r\n", `"nonsense" 400 `},
			refusal{"GET /\"\\ HTTP/1.1\r\n\r\n", `"GET /\x22\x5C HTTP/1.1" 400 `},
			refusal{"GET / HTTP/1.1\r\n\r\n", `"GET / HTTP/1.1" 400 `},
			refusal{"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", `"POST /echo HTTP/1.1" 400 `},
			refusal{"GET /" + strings.Repeat("\x01", 60<<10), `"GET /\x01\x01`},
		)
		refuse(soon, refusal{"GET / HTTP/1.1\r\nHost: h", `"" 408 `})
	})
}

// A response that is cut off is logged with the bytes that were sent.
func TestAccessLogOfBrokenResponse(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		a := server.NewAccessLog(&buf)
		g := start(t, d, server.Config{AccessLog: a})
		g.pattern("big.bin", 22, 32<<20)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/big.bin"))
		if _, err := c.r.Peek(10_000); err != nil {
			t.Fatal(err)
		}
		if err := c.conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
		g.wantOpen(0)
		lines := g.lines(a, &buf)
		m := combined.FindStringSubmatch(lines[0])
		if len(lines) != 1 || m == nil || m[4] != "200" || m[5] == "33554432" || m[5] == "0" {
			t.Errorf("lines %q", lines)
		}
	})
}

// A log that cannot be written loses lines, which are counted, and stops nobody.
func TestAccessLogThatIsStuck(t *testing.T) {
	w := &stuckWriter{release: make(chan struct{})}
	a := server.NewAccessLog(w)
	g := start(t, engine.DriverFallback, server.Config{AccessLog: a})
	g.write("f.txt", hello)
	c := g.dial()
	target := "/f.txt?" + strings.Repeat("x", 7_000)
	for range 1000 { // 7 MB of lines
		c.get(target).want(t, 200, hello)
	}
	if a.Dropped() == 0 {
		t.Error("no line was dropped")
	}
	close(w.release)
	if err := g.srv.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err == nil || !errors.Is(err, errDiskFull) {
		t.Errorf("closed with %v, want the error of writing", err)
	}
}

var errDiskFull = errors.New("disk full")

// stuckWriter waits in its first call, and fails.
type stuckWriter struct {
	release chan struct{}
	once    sync.Once
}

func (w *stuckWriter) Write([]byte) (int, error) {
	w.once.Do(func() { <-w.release })
	return 0, errDiskFull
}
