package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// jsonLine is a line of the log in JSON.
type jsonLine struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client"`
	Peer      string    `json:"peer"`
	Method    string    `json:"method"`
	Target    string    `json:"target"`
	Protocol  string    `json:"protocol"`
	Status    int       `json:"status"`
	Port      int       `json:"port"`
	Host      *string   `json:"host"`
	Bytes     int64     `json:"bytes"`
	Range     *string   `json:"range"`
	Referer   *string   `json:"referer"`
	UserAgent *string   `json:"user_agent"`
	TTFB      float64   `json:"ttfb_ms"`
	Duration  float64   `json:"duration_ms"`
	SentBy    string    `json:"sent_by"`
	Outcome   string    `json:"outcome"`
}

// parseJSONLines reads a log strictly.
func parseJSONLines(t *testing.T, log string) (lines []jsonLine) {
	t.Helper()
	for line := range strings.Lines(log) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var l jsonLine
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if since := time.Since(l.Time); since < 0 || since > patience || l.TTFB < 0 || l.Duration < l.TTFB {
			t.Errorf("times of %q", line)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestJSONLog(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		a := server.NewAccessLogIn(server.LogJSON, &buf)
		g := start(t, d, withTLS(t, server.Config{AccessLog: a, Trust: trust(t, "127.0.0.0/8"), Routes: []server.Route{
			{Prefix: "/echo", Handler: echo, Blocking: true},
		}}))
		g.write("f.txt", hello)
		g.pattern("big.bin", 21, 1<<20)
		plain, secure := g.dial(), g.mustTLS()
		var want []string
		expect := func(format string, args ...any) { want = append(want, fmt.Sprintf(format, args...)) }

		plain.get("/f.txt", "X-Forwarded-For: 1.2.3.4, 127.9.9.9", "Referer: http://h/\"é\xff", "User-Agent: curl\t8")
		expect("1.2.3.4 %v GET /f.txt HTTP/1.1 200 20 - http://h/\"é\ufffd curl\t8 memory complete", plain.conn.LocalAddr())
		plain.get("/big.bin", "Range: bytes=0-99999", "User-Agent:", `Forwarded: for="[2001:db8::7]:5"`)
		expect("2001:db8::7 %v GET /big.bin HTTP/1.1 206 100000 bytes=0-99999 -  sendfile complete", plain.conn.LocalAddr())
		plain.do("HEAD", "/big.bin")
		expect("127.0.0.1 %v HEAD /big.bin HTTP/1.1 200 0 - - - memory complete", plain.conn.LocalAddr())
		plain.get("/echo?q=1").want(t, 200, "GET /echo?q=1  []")
		expect("127.0.0.1 %v GET /echo?q=1 HTTP/1.1 200 17 - - - memory complete", plain.conn.LocalAddr())
		secure.do("GET", "/big.bin", "X-Forwarded-For: 1.2.3.5")
		expect("1.2.3.5 %v GET /big.bin HTTP/1.1 200 1048576 - - - copy complete", secure.tcp.LocalAddr())
		plain.send("nonsense\r\n\r\n")
		plain.read("GET").want(t, 400)
		refused := fmt.Sprintf("127.0.0.1 %v ", plain.conn.LocalAddr())

		lines := parseJSONLines(t, strings.Join(g.lines(a, &buf), "\n"))
		if len(lines) != len(want)+1 {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want)+1, buf.String())
		}
		show := func(s *string) string {
			if s == nil {
				return "-"
			}
			return *s
		}
		for i, l := range lines {
			got := fmt.Sprintf("%s %s %s %s %s %d %d %s %s %s %s %s", l.Client, l.Peer, l.Method, l.Target, l.Protocol,
				l.Status, l.Bytes, show(l.Range), show(l.Referer), show(l.UserAgent), l.SentBy, l.Outcome)
			if i < len(want) && got != want[i] || i == len(want) && (!strings.HasPrefix(got, refused) || l.Status != 400) {
				t.Errorf("line %q, want %q", got, append(want, refused)[i])
			}
		}
	})
}

// What a client does not take for a while lies between the first and the last byte.
func TestJSONLogTimes(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		var buf bytes.Buffer
		a := server.NewAccessLogIn(server.LogJSON, &buf)
		g := start(t, d, server.Config{AccessLog: a})
		g.pattern("big.bin", 21, 16<<20)
		c := g.dialWith(4096)
		c.send(request("GET", "/big.bin"))
		if _, err := c.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if !testenv.Eventually(patience, func() bool { return time.Since(begin) > 50*time.Millisecond }) {
			t.Fatal("no time passes")
		}
		if r := c.read("GET"); len(r.body) != 16<<20 {
			t.Errorf("%d bytes", len(r.body))
		}
		l := parseJSONLines(t, strings.Join(g.lines(a, &buf), "\n"))[0]
		if l.Duration < 50 || l.TTFB > l.Duration-50 {
			t.Errorf("first byte after %v ms, last after %v", l.TTFB, l.Duration)
		}
	})
}

func TestLogNamesUnixSockets(t *testing.T) {
	testenv.LeakCheck(t)
	path := socketPath(t)
	var buf bytes.Buffer
	a := server.NewAccessLog(&buf)
	srv := startOn(t, engine.DriverFallback, server.Config{
		Listen: []string{"unix:" + path}, AccessLog: a, Trust: trust(t, "unix"),
		Engine: engine.Config{Loops: 1},
	})
	fetch(t, "unix", path, request("GET", "/none")).want(t, 404)
	fetch(t, "unix", path, request("GET", "/none", "X-Forwarded-For: 1.2.3.4")).want(t, 404)
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(buf.String(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "unix: - - [") || !strings.HasPrefix(lines[1], "1.2.3.4 - - [") {
		t.Errorf("lines %q", lines)
	}
}

// Lines that are written while the log is moved away are in one file or the other.
func TestReopenLog(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	a, err := server.OpenAccessLog(server.LogTarget{File: path})
	if err != nil {
		t.Fatal(err)
	}
	g := serve(t, engine.DriverFallback, server.Config{AccessLog: a})
	g.write("f.txt", hello)
	c := g.dial()
	defer c.conn.Close()
	const rotations, each = 20, 50
	for i := range rotations {
		for k := range each {
			c.get(fmt.Sprintf("/f.txt?%d", i*each+k)).want(t, 200)
		}
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
			t.Fatal(err)
		}
		if err := a.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	// A file that cannot be opened leaves the one that there is.
	if err := os.Rename(path, path+".last"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.Reopen(); err == nil {
		t.Error("a directory is opened as a log")
	}
	c.get("/f.txt?last").want(t, 200)
	if err := g.srv.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	names, err := filepath.Glob(path + ".*")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			m := combined.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if m == nil {
				t.Fatalf("%s: line %q", name, line)
			}
			seen[m[3]]++
		}
	}
	if len(seen) != rotations*each+1 || seen["GET /f.txt?last HTTP/1.1"] != 1 {
		t.Errorf("%d lines, want %d", len(seen), rotations*each+1)
	}
	if a.Dropped() != 0 {
		t.Errorf("%d dropped", a.Dropped())
	}
}
