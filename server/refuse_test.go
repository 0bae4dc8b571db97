package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/wire"
)

// malformed are requests that must get exactly one answer, with this status,
// and a closed connection. What follows them would be another request to a
// program that reads them differently.
var malformed = []struct {
	name   string
	raw    string
	status int
}{
	// The request line.
	{"not HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", 400},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"HTTP/2.0", "GET /f.txt HTTP/2.0\r\nHost: h\r\n\r\n", 505},
	{"HTTP/0.9", "GET /f.txt\r\n", 400},
	{"HTTP/9.9", "GET /f.txt HTTP/9.9\r\nHost: h\r\n\r\n", 505},
	{"lower case version", "GET /f.txt http/1.1\r\nHost: h\r\n\r\n", 400},
	{"version of two digits", "GET /f.txt HTTP/1.10\r\nHost: h\r\n\r\n", 400},
	{"two spaces before the version", "GET /f.txt  HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"two spaces before the target", "GET  /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"tab for a space", "GET\t/f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"space before the method", " GET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"space behind the version", "GET /f.txt HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
	{"empty method", "/f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"bad method", "G@T /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"long method", strings.Repeat("G", 40) + " /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 501},
	{"relative target", "GET f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"asterisk with GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"authority with GET", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"fragment", "GET /f.txt#x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"NUL in the target", "GET /f\x00.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"raw UTF-8 control in the target", "GET /f\x7f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"userinfo", "GET http://a@h/f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"ftp", "GET ftp://h/f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"two empty lines before", "\r\n\r\nGET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400},

	// Line ends.
	{"bare LF", "GET /f.txt HTTP/1.1\nHost: h\n\n", 400},
	{"bare LF in a field", "GET /f.txt HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
	{"bare CR in a value", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400},
	{"bare CR at the end", "GET /f.txt HTTP/1.1\r\nHost: h\r\n\rX", 400},
	{"NUL in a value", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400},

	// Names.
	{"space before the colon", "GET /f.txt HTTP/1.1\r\nHost : h\r\n\r\n", 400},
	{"space in a name", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX Y: z\r\n\r\n", 400},
	{"no colon", "GET /f.txt HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400},
	{"empty name", "GET /f.txt HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
	{"folded line", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
	{"folded first line", "GET /f.txt HTTP/1.1\r\n Host: h\r\n\r\n", 400},

	// Host.
	{"no Host", "GET /f.txt HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "GET /f.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"the same Host twice", "GET /f.txt HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"two Hosts in one", "GET /f.txt HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
	{"Host with a path", "GET /f.txt HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"Host with a bad port", "GET /f.txt HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400},

	// Framing: where does the body end?
	{"two lengths", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nAAAAA", 400},
	{"two equal lengths", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nAAAAA", 400},
	{"list of lengths", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nAAAAA", 400},
	{"negative length", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
	{"signed length", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nAAAAA", 400},
	{"hexadecimal length", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nAAAAA", 400},
	{"length with a space", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 1 0\r\n\r\nAAAAA", 400},
	{"length over 63 bits", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n", 400},
	{"empty length", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
	{"length and chunked", "POST /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked and length", "GET /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
	{"chunked in HTTP/1.0", "POST /f.txt HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked twice", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked on two lines", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked not last", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
	{"identity", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 501},
	{"gzip, chunked", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"xchunked", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
	{"vertical tab before chunked", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400},
	{"tab in the name of the coding's field", "POST /f.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400},

	// Expectations and limits.
	{"unknown expectation", "GET /f.txt HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n", 417},
	{"long target", "GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
	{"long target without an end", "GET /" + strings.Repeat("a", 30<<10), 414},
	{"long field", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 17<<10) + "\r\n\r\n", 431},
	{"long field without an end", "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 60<<10), 431},
	{"many fields", "GET /f.txt HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n", 431},
}

// Every malformed request gets one answer and a closed connection, whether it
// comes at once or in pieces, and nothing behind it is taken for a request.
func TestMalformedRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		for _, test := range malformed {
			for _, size := range []int{1 << 20, 1000, 3} {
				if size < len(test.raw)/5000 {
					continue // it would take many thousands of packets
				}
				c := g.dial()
				sent := make(chan struct{})
				go func() { // the server need not read all of it
					defer close(sent)
					raw := test.raw + request("GET", "/f.txt", "X-Smuggled: yes")
					for ; len(raw) > 0; raw = raw[min(size, len(raw)):] {
						if _, err := c.conn.Write([]byte(raw[:min(size, len(raw))])); err != nil {
							return
						}
					}
				}()
				r, err := readResponse(c.r, http.MethodGet)
				if err != nil {
					t.Errorf("%s, %d bytes a packet: %v", test.name, size, err)
					continue
				}
				if r.status != test.status || !r.closes() {
					t.Errorf("%s, %d bytes a packet: %d %v, want %d and a close", test.name, size, r.status, r.fields, test.status)
				}
				c.wantEnd()
				c.conn.Close()
				<-sent
			}
		}
		g.wantOpen(0)
		g.once(http.MethodGet, "/f.txt").want(t, 200, hello)
	})
}

// What looks odd and is right is answered, and the connection goes on.
func TestOddRequestsAreServed(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		c := g.dial()
		for _, raw := range []string{
			"\r\nGET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n", // RFC 9112 section 2.2
			"GET /f.txt HTTP/1.1\r\nhOsT:h\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost:   h \t \r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost:\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
			"GET http://h/f.txt HTTP/1.1\r\nHost: other\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost: h\r\nX:\r\nY: \xff\xfe\r\n\r\n",
			"GET /f.txt? HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /f.txt?a=50%&b HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 0000000000000000000000000000000000005\r\n\r\nAAAAA",
			"GET /f.txt HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			"GET /f.txt HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 99) + "\r\n",
		} {
			c.send(raw)
			r, err := readResponse(c.r, http.MethodGet)
			if err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			if r.status != 200 || string(r.body) != hello {
				t.Errorf("%.100q: %d %q", raw, r.status, r.body)
			}
		}
	})
}

func TestLimitsAreExact(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{RequestLimits: wire.Limits{MaxHead: 2000, MaxTarget: 500, MaxFields: 5}})
		g.write("f.txt", hello)
		pad := func(n int) string { // a request of n bytes
			const fixed = "GET /f.txt HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n"
			return strings.Replace(fixed, "X: ", "X: "+strings.Repeat("x", n-len(fixed)), 1)
		}
		target := func(n int) string { return "/f.txt?" + strings.Repeat("q", n-len("/f.txt?")) }
		for _, test := range []struct {
			raw    string
			status int
		}{
			{pad(2000), 200},
			{pad(2001), 431},
			{"GET " + target(500) + " HTTP/1.1\r\nHost: h\r\n\r\n", 200},
			{"GET " + target(501) + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
			{"GET /f.txt HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 4) + "\r\n", 200},
			{"GET /f.txt HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: y\r\n", 5) + "\r\n", 431},
		} {
			c := g.dial()
			c.send(test.raw)
			if r := c.read(http.MethodGet); r.status != test.status {
				t.Errorf("%.60q… of %d bytes: %d, want %d", test.raw, len(test.raw), r.status, test.status)
			}
			c.conn.Close()
		}
	})
}

// A refused request does not change what was pipelined before it.
func TestRefusalAfterGoodRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		big := g.pattern("big.bin", 10, 400_000)
		for _, test := range malformed {
			if test.status == 417 || len(test.raw) > 1000 {
				continue
			}
			c := g.dialWith(8 << 10)
			c.send(request("GET", "/f.txt") + request("GET", "/big.bin") + test.raw)
			c.read(http.MethodGet).want(t, 200, hello)
			r := c.read(http.MethodGet)
			r.want(t, 200)
			if err := big.Check(r.body, 0); err != nil {
				t.Error(err)
			}
			if r := c.read(http.MethodGet); r.status != test.status {
				t.Errorf("%s: %d, want %d", test.name, r.status, test.status)
			}
			c.wantEnd()
			c.conn.Close()
		}
	})
}

// unwanted renders a GET with a body of n bytes that nobody asked for.
func unwanted(n int, fields ...string) string {
	return request("GET", "/f.txt", append(fields, fmt.Sprintf("Content-Length: %d", n))...) + strings.Repeat("b", n)
}

// chunked renders a GET with a chunked body of n bytes.
func chunked(n int) string {
	var b strings.Builder
	b.WriteString(request("GET", "/f.txt", "Transfer-Encoding: chunked"))
	for n > 0 {
		k := min(n, 1000)
		fmt.Fprintf(&b, "%x;ext=1\r\n%s\r\n", k, strings.Repeat("c", k))
		n -= k
	}
	b.WriteString("0\r\nTrailer-Field: x\r\n\r\n")
	return b.String()
}

// A body that nobody wants is dropped up to a limit, so that the connection can
// go on; beyond it the connection ends after the answer.
func TestUnwantedBodies(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{MaxDrain: 10_000})
		g.write("f.txt", hello)
		for _, test := range []struct {
			name, raw string
			goesOn    bool
		}{
			{"small", unwanted(5), true},
			{"at the limit", unwanted(10_000), true},
			{"over the limit", unwanted(10_001), false},
			{"chunked", chunked(5), true},
			{"chunked, empty", chunked(0), true},
			{"chunked, at the limit", chunked(10_000), true},
			{"chunked, over the limit", chunked(11_000), false},
			{"HTTP/1.0", "GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", true},
			{"looks like a request", request("GET", "/f.txt", "Content-Length: 45") +
				"GET /smuggled HTTP/1.1\r\nHost: files.example\r\n\r\n"[:45], true},
		} {
			for _, size := range []int{1 << 20, 11} {
				c := g.dial()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					raw := test.raw
					for ; len(raw) > 0; raw = raw[min(size, len(raw)):] {
						if _, err := c.conn.Write([]byte(raw[:min(size, len(raw))])); err != nil {
							return // the server has had enough
						}
					}
				}()
				r, err := readResponse(c.r, http.MethodGet)
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				if r.status != 200 || string(r.body) != hello {
					t.Errorf("%s: %d %q", test.name, r.status, r.body)
				}
				if test.goesOn {
					<-sent
					c.get("/f.txt").want(t, 200, hello)
					c.conn.Close()
				} else {
					c.wantEnd()
					c.conn.Close()
					<-sent
				}
			}
		}
		g.wantOpen(0)
	})
}

// A chunked body that is broken refuses its request, if as much has arrived with the head. If
// it turns out after the answer was sent it ends the connection: there is no second answer
// to the one request.
func TestBrokenChunksOfUnwantedBody(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		for _, body := range []string{
			"ZZ\r\n", "-1\r\n", "0x5\r\nAAAAA\r\n", "5\nAAAAA\n0\n\n", "5\r\nAAAAAA\r\n", "5 \r\nAAAAA0\r\n\r\n",
			"FFFFFFFFFFFFFFFFF\r\n", "7FFFFFFFFFFFFFFFF\r\n", "\r\n", ";ext\r\n", "5;a=\x00\r\nAAAAA\r\n0\r\n\r\n",
			"0\r\nbad trailer\r\n\r\n", "0\r\n folded: x\r\n\r\n", "1;" + strings.Repeat("x", 20<<10) + "\r\nA\r\n0\r\n\r\n",
		} {
			head := request("GET", "/f.txt", "Transfer-Encoding: chunked")
			c := g.dial()
			c.send(head)
			c.read(http.MethodGet).want(t, 200, hello)
			c.send(body)
			c.wantEnd()
			c.conn.Close()
			if len(body) > 1000 {
				continue // it may come in parts
			}
			for _, head := range []string{head, request("POST", "/none", "Transfer-Encoding: chunked", "Connection: close")} {
				c = g.dial()
				c.send(head + body)
				if r := c.read(http.MethodGet); r.status != 400 || !r.closes() {
					t.Errorf("%q: %d %v, want 400 and a close", body, r.status, r.fields)
				}
				c.wantEnd()
				c.conn.Close()
			}
		}
		g.wantOpen(0)
	})
}

// A client that waits before it sends an unwanted body gets the final answer
// at once. Whether it then sends the body cannot be known, so the connection ends.
func TestExpectContinueOnFile(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		c := g.dial()
		r := c.get("/f.txt", "Expect: 100-continue", "Content-Length: 1000")
		r.want(t, 200, hello)
		if !r.closes() {
			t.Error("the connection goes on")
		}
		c.wantEnd()
		// Without a body there is nothing to wait for.
		c = g.dial()
		c.get("/f.txt", "Expect: 100-continue").want(t, 200, hello)
		c.get("/f.txt").want(t, 200, hello)
		// HTTP/1.0 does not know it.
		c.send("GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
		c.read(http.MethodGet).want(t, 200, hello)
		c.get("/f.txt").want(t, 200, hello)
	})
}
