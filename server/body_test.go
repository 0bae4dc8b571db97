package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// echoRoute answers with the length of the body.
var echoRoute = server.Route{Prefix: "/echo", Handler: func(ctx *fasthttp.RequestCtx) { fmt.Fprint(ctx, len(ctx.PostBody())) }}

// A body that trickles in ends by a time for the whole of it, however often a byte comes: with
// 408 if a handler waits for it, without a word if the request was answered.
func TestBodyTrickles(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.BodyTimeout = soon
		cfg.Routes = []server.Route{echoRoute}
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		for _, test := range []struct {
			path, fields string
			want         string // of all that is answered
		}{
			{"/echo", "Content-Length: 1000", "HTTP/1.1 408 "},
			{"/echo", "Transfer-Encoding: chunked", "HTTP/1.1 408 "},
			{"/f.txt", "Content-Length: 1000", "HTTP/1.1 200 "},
		} {
			c := g.dial()
			c.send("GET /f.txt HTTP/1.1\r\nHost: h\r\n\r\n") // no first request: it would be idle
			c.read(http.MethodGet).want(t, 200, hello)
			c.send("GET " + test.path + " HTTP/1.1\r\nHost: h\r\n" + test.fields + "\r\n\r\n")
			go func() {
				for { // until the server ends
					if _, err := c.conn.Write([]byte("1\r\nx\r\n")); err != nil {
						return
					}
					time.Sleep(soon / 10)
				}
			}()
			p, _ := io.ReadAll(c.r) // which may end by a reset: the client goes on
			if !strings.HasPrefix(string(p), test.want) || bytes.Count(p, []byte("HTTP/1.1 ")) != 1 {
				t.Errorf("%s, %s: answered %q", test.path, test.fields, p)
			}
		}
	})
}

// Bodies have a part of the memory for input between them. One over it gets 503, and the memory
// is there again when the others have had their answers.
func TestBodiesAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		const size, fit = 100_000, 4
		cfg := server.Config{Routes: []server.Route{echoRoute}}
		cfg.Engine.MaxBuffered = 2 * fit * 256 << 10 // a body's memory grows in steps
		g := start(t, d, cfg)
		head := fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
		for range 2 {
			var begun []*client
			refused := 0
			for range 5 * fit {
				c := g.dial()
				c.send(head + strings.Repeat("x", size-1))
				begun = append(begun, c)
			}
			for _, c := range begun {
				_, _ = c.conn.Write([]byte("x")) // to one that was refused
				switch r := c.read(http.MethodPost); r.status {
				case 200:
				case 503:
					refused++
				default:
					t.Errorf("status %d", r.status)
				}
				c.conn.Close()
			}
			if refused == 0 || refused == len(begun) {
				t.Errorf("%d of %d bodies were refused", refused, len(begun))
			}
		}
		c := g.dial()
		c.send(head + strings.Repeat("x", size))
		c.read(http.MethodPost).want(t, 200, fmt.Sprint(size))
	})
}
