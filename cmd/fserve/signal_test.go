package main_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// slowDownload asks for the large file and reads its head only; a small buffer
// keeps the server from sending far ahead.
func slowDownload(t *testing.T, addr string) (net.Conn, *http.Response) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
		})
		return errors.Join(err, opt)
	}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, resp
}

func refused(addr string) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
}

// The first signal lets a running download finish; new connections are refused.
func TestSignalDrains(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, big, size := site(t)
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			p := serve(t, nil, "--root", root, driver)
			_, resp := slowDownload(t, p.addrs[0])
			p.signal(s)
			if !testenv.Eventually(patience, refused(p.addrs[0])) {
				t.Error("new connections are accepted")
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil {
				err = big.Check(body, 0)
			}
			if err != nil || int64(len(body)) != size {
				t.Errorf("%d bytes of %d: %v", len(body), size, err)
			}
			p.wantExit(0)
		}
	})
}

// A second signal ends the server at once, and so does the end of its patience.
func TestDrainEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, size := site(t)
		for name, end := range map[string]struct {
			args []string
			then func(p *process)
		}{
			"second signal": {[]string{"--drain-timeout=1h"}, func(p *process) { p.signal(syscall.SIGTERM) }},
			"interrupt":     {[]string{"--drain-timeout=1h"}, func(p *process) { p.signal(syscall.SIGINT) }},
			"time-out":      {[]string{"--drain-timeout=50ms"}, func(*process) {}},
			"no drain":      {[]string{"--drain-timeout=0s"}, func(*process) {}},
		} {
			p := serve(t, nil, append(end.args, "--root", root, driver)...)
			_, resp := slowDownload(t, p.addrs[0])
			p.signal(syscall.SIGTERM)
			if !testenv.Eventually(patience, refused(p.addrs[0])) {
				t.Errorf("%s: new connections are accepted", name)
			}
			end.then(p)
			p.wantExit(0)
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil || n >= size {
				t.Errorf("%s: the client got %d of %d bytes, %v; want a broken connection", name, n, size, err)
			}
		}
	})
}

// SIGHUP reloads; where there is no file there is nothing to reload, and it does
// no harm.
func TestHangupWithoutFile(t *testing.T) {
	root, _, _ := site(t)
	p := serve(t, nil, "--root", root)
	p.signal(syscall.SIGHUP)
	if !testenv.Eventually(patience, func() bool { return strings.Contains(p.errors(), "configuration reloaded") }) {
		t.Fatalf("no word of a reload")
	}
	if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}
