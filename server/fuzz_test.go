package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/wire"
)

const (
	fuzzDrain = 2000 // Config.MaxDrain of the fuzzed servers
	fuzzBody  = 1000 // Config.MaxBody
	fuzzInput = 60 << 10
)

// FuzzRequest sends bytes to a running server on each driver. Nothing may
// panic; what comes back must be whole responses, one for each request that a
// simple model finds in the bytes; and both drivers must say the same.
func FuzzRequest(f *testing.F) {
	for _, test := range malformed {
		f.Add([]byte(test.raw))
		f.Add([]byte(request("HEAD", "/f.txt") + test.raw))
	}
	for _, raw := range []string{
		request("GET", "/f.txt") + request("HEAD", "/big.bin") + request("GET", "/big.bin", "Range: bytes=0-9,50-,-1"),
		request("GET", "/f.txt", "If-None-Match: "+etag(20)) + request("OPTIONS", "*") + request("GET", "/dir?q"),
		unwanted(5) + unwanted(fuzzDrain+1) + request("GET", "/f.txt"),
		chunked(5) + chunked(0) + request("GET", "/f.txt"),
		chunked(fuzzDrain+1) + request("GET", "/f.txt"),
		request("GET", "/f.txt", "Transfer-Encoding: chunked") + "zz\r\n" + request("GET", "/f.txt"),
		request("POST", "/h", "Content-Length: 3") + "abc" + request("GET", "/h/x"),
		request("POST", "/h", "Transfer-Encoding: chunked", "Expect: 100-continue") + "3\r\nabc\r\n0\r\n\r\n" + request("GET", "/f.txt"),
		request("PUT", "/h", fmt.Sprintf("Content-Length: %d", fuzzBody+1)),
		"GET /f.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /h HTTP/1.0\r\n\r\n",
		"\r\n" + request("GET", "/../f.txt") + request("GET", "/%2e%2e/f.txt") + request("GET", "/dir/../f.txt"),
		request("GET", "/list/") + request("HEAD", "/list/?sort=size&page=1", "Accept: application/json") + request("GET", "/f.txt"),
		request("GET", "/list/a.css", "Accept-Encoding: br, gzip;q=0.5") + request("GET", "/list/a.css", "Accept-Encoding: *;q=0"),
		request("GET", "/list/a.css", "Accept-Encoding: gzip", "Range: bytes=-0", "If-Range: W/"+etag(20)) +
			request("GET", "/list/a.css", "Accept-Encoding: gzip", "If-None-Match: *", "Range: bytes=0-1,3-"),
		request("GET", "/file/f.txt", "Range: bytes=1-2") + request("GET", "/file/../..", "Connection: close"),
	} {
		f.Add([]byte(raw))
	}
	addrs := fuzzServers(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > fuzzInput {
			return
		}
		var first string
		for i, addr := range addrs {
			answer, err := exchangeRaw(addr, raw)
			if err != nil {
				t.Fatalf("server %d: %v", i, err)
			}
			said, err := judge(raw, answer)
			if err != nil {
				t.Fatalf("server %d: %v\nanswer %.2000q", i, err, answer)
			}
			if i == 0 {
				first = said
			} else if said != first {
				t.Fatalf("drivers differ:\n%s\n%s", first, said)
			}
		}
	})
}

// fuzzServers starts a server on each driver that is to be had; without io_uring
// both are the same.
func fuzzServers(f *testing.F) (addrs []string) {
	root := f.TempDir()
	for _, d := range []engine.DriverKind{engine.DriverFallback, engine.DriverAuto} {
		g := serve(f, d, server.Config{
			Site: server.Site{Root: root, Precompressed: true, Listing: true}, MaxDrain: fuzzDrain, MaxBody: fuzzBody,
			Routes: []server.Route{
				{Prefix: "/h", Handler: echo},
				{Prefix: "/b", Handler: echo, Blocking: true},
				{Prefix: "/file/", Handler: serveFile},
			},
		})
		g.write("f.txt", hello)
		g.write("list/a.css", hello)
		g.write("list/a.css.gz", "gzip")
		g.write("dir/index.html", "index")
		g.pattern("big.bin", 24, 100_000)
		addrs = append(addrs, g.addr)
	}
	return addrs
}

var fuzzConns atomic.Uint32

// exchangeRaw sends raw, ends its side, and returns all that comes back.
func exchangeRaw(addr string, raw []byte) ([]byte, error) {
	// From many addresses: thousands of connections a second that the client
	// ends would use up the ports of one (TIME_WAIT).
	i := fuzzConns.Add(1)
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i))}
	d := net.Dialer{LocalAddr: from, Timeout: patience}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	sent := make(chan struct{})
	go func() { // errors show in what comes back
		defer close(sent)
		_, _ = conn.Write(raw)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	answer, err := io.ReadAll(conn)
	<-sent
	if errors.Is(err, syscall.ECONNRESET) { // it closed before it had read all
		err = nil
	}
	return answer, err
}

// judge holds an answer against the requests in raw and returns a summary of it,
// which is the same for every server.
func judge(raw, answer []byte) (string, error) {
	want, refused := requestsIn(raw)
	r := bufio.NewReader(bytes.NewReader(answer))
	var said strings.Builder
	for i := 0; ; i++ {
		method := ""
		if i < len(want) {
			method = want[i]
		}
		a, err := readResponse(r, method)
		if errors.Is(err, io.EOF) {
			// A fault in a line that came in pieces is found at its end only,
			// which may not have come.
			if i != len(want) && (!refused || i != len(want)-1) {
				return "", fmt.Errorf("%d responses to %d requests: %q", i, len(want), want)
			}
			return said.String(), nil
		}
		if err != nil {
			return "", fmt.Errorf("response %d: %w", i, err)
		}
		if !refused || i != len(want)-1 {
			fmt.Fprintf(&said, "%d %q\n", a.status, a.body)
		}
		if a.status == 100 {
			i--
			continue
		}
		if a.closes() {
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				return "", fmt.Errorf("%d bytes after response %d, which ends the connection", len(rest), i)
			}
			if i+1 != len(want) && a.status < 400 {
				return "", fmt.Errorf("the connection ends with %d, after %d of %d requests", a.status, i+1, len(want))
			}
			return said.String(), nil
		}
	}
}

// requestsIn returns the methods of the requests that are to be answered, and
// whether the last of them is to be refused. It shares the parsers of heads and
// chunks with the server, which have models and fuzz targets of their own, and
// nothing else.
func requestsIn(raw []byte) (methods []string, refused bool) {
	for {
		var h wire.Head
		n, reason := h.Parse(raw, 0, wire.Limits{})
		if n == 0 && reason == wire.OK {
			return methods, false // incomplete
		}
		if reason != wire.OK {
			return append(methods, string(h.Method())), true
		}
		raw = raw[n:]
		body, ok, whole := bodyOf(&h, raw)
		if handled(&h) && ok && !whole {
			return methods, false // the handler waits for the rest
		}
		methods = append(methods, string(h.Method()))
		if !h.KeepAlive || !ok || !whole {
			return methods, false
		}
		raw = raw[body:]
	}
}

func handled(h *wire.Head) bool {
	path, err := httpfile.NormalizePath(nil, h.Path())
	if err != nil || h.Form != wire.OriginForm && h.Form != wire.AbsoluteForm {
		return false
	}
	for _, prefix := range []string{"/h", "/b", "/file/"} {
		if bytes.HasPrefix(path, []byte(prefix)) {
			return true
		}
	}
	return false
}

// bodyOf returns the length of the body that raw begins with, whether the
// server takes it, and whether it is whole.
func bodyOf(h *wire.Head, raw []byte) (n int, ok, whole bool) {
	limit := int64(fuzzDrain)
	if handled(h) {
		limit = fuzzBody
	}
	switch {
	case !h.HasBody():
		return 0, true, true
	case h.Expect100 && !handled(h), h.ContentLength > limit:
		return 0, false, false
	case !h.Chunked:
		n = int(min(h.ContentLength, int64(len(raw))))
		return n, true, int64(n) == h.ContentLength
	}
	var c wire.Chunked
	n, reason := c.Discard(raw)
	if reason != wire.OK || c.Size() > limit {
		return n, false, false
	}
	return n, true, c.Done()
}

// TestFuzzModel checks the model itself, so that it cannot agree with anything.
func TestFuzzModel(t *testing.T) {
	for raw, want := range map[string]string{
		request("GET", "/") + request("HEAD", "/"):                                  "[GET HEAD] false",
		request("GET", "/") + "GET / HT":                                            "[GET] false",
		request("GET", "/", "Connection: close") + request("GET", "/"):              "[GET] false",
		unwanted(3) + request("PUT", "/"):                                           "[GET PUT] false",
		unwanted(fuzzDrain+1) + request("PUT", "/"):                                 "[GET] false",
		request("GET", "/h", "Content-Length: 2") + "x":                             "[] false",
		request("GET", "/", "Content-Length: 2") + "x":                              "[GET] false",
		request("GET", "/") + "nonsense\r\n":                                        "[GET ] true",
		request("GET", "/", "Transfer-Encoding: chunked") + "z" + request("A", "/"): "[GET] false",
	} {
		methods, refused := requestsIn([]byte(raw))
		if got := fmt.Sprint(methods, refused); got != want {
			t.Errorf("%q: %s, want %s", raw, got, want)
		}
	}
}
