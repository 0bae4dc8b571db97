package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

func (g *rig) dialSilent() net.Conn {
	g.t.Helper()
	c, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	return c
}

// Clients that say nothing keep nobody out: the oldest of them goes.
func TestTLSHandshakesAreBounded(t *testing.T) {
	cfg := withTLS(t, server.Config{})
	cfg.TLS.MaxHandshakes = 3
	cfg.Engine.HeaderTimeout = time.Hour
	g := start(t, engine.DriverFallback, cfg)
	var silent []net.Conn
	for i := range 20 {
		silent = append(silent, g.dialSilent())
		if i%5 == 0 {
			g.mustTLS().do("GET", "/none").want(t, 404)
		}
	}
	for _, c := range silent[:16] {
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes for a client that has said nothing", n)
		}
	}
	if !testenv.Eventually(patience, func() bool { s := g.srv.TLSStats(); return s.Ousted >= 17 && s.Failed == s.Ousted }) {
		t.Errorf("%+v", g.srv.TLSStats())
	}
}

// A browser that asks a TLS port without TLS is told so, and so is the operator, once.
func TestPlainRequestAtTLSPort(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD /f HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + string(make([]byte, 20_000)),
	} {
		c := g.dialSilent()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 400 {
			t.Fatalf("%.10q: %v, %v", request, resp, err)
		}
		body, err := io.ReadAll(r)
		if err != nil || len(body) != int(resp.ContentLength) {
			t.Errorf("%.10q: %q, %v", request, body, err)
		}
		c.Close()
	}
	c := g.dialSilent()
	if _, err := io.WriteString(c, "SSH-2.0-x\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("what is no HTTP is answered: %q", b)
	}
	if n := g.logs.count("HTTP without TLS at a TLS port: answered with 400"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if x := g.srv.TLSStats().Expiries; len(x) != 1 || x[0].Host != "default" || x[0].At.Before(time.Now()) || x[0].At.After(time.Now().Add(time.Hour)) {
		t.Errorf("the certificate expires %v", x)
	}
}
