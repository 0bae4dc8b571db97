package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

func TestKeepAlive(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		big := g.pattern("big.bin", 5, 600_000)
		for _, test := range []struct {
			version, fields string
			connection      string // of the answer
			goesOn          bool
		}{
			{"1.1", "", "", true},
			{"1.1", "Connection: keep-alive\r\n", "", true},
			{"1.1", "Connection: close\r\n", "close", false},
			{"1.1", "Connection: CLOSE\r\n", "close", false},
			{"1.1", "Connection: x, close\r\n", "close", false},
			{"1.1", "Connection: keep-alive\r\nConnection: close\r\n", "close", false},
			{"1.2", "", "", true},
			{"1.0", "", "close", false},
			{"1.0", "Connection: keep-alive\r\n", "keep-alive", true},
			{"1.0", "Connection: Keep-Alive\r\n", "keep-alive", true},
			{"1.0", "Connection: keep-alive, close\r\n", "close", false},
		} {
			for _, target := range []string{"/f.txt", "/big.bin", "/nothing"} {
				c := g.dial()
				c.send("GET " + target + " HTTP/" + test.version + "\r\nHost: h\r\n" + test.fields + "\r\n")
				r := c.read(http.MethodGet)
				if target == "/big.bin" {
					r.want(t, 200)
					if err := big.Check(r.body, 0); err != nil {
						t.Error(err)
					}
				}
				if got := r.get("Connection"); got != test.connection {
					t.Errorf("HTTP/%s %q: Connection %q, want %q", test.version, test.fields, got, test.connection)
				}
				if test.goesOn {
					c.get("/f.txt").want(t, 200, hello)
					c.conn.Close()
				} else {
					c.wantEnd()
				}
			}
		}
		// HTTP/1.0 needs no Host.
		c := g.dial()
		c.send("GET /f.txt HTTP/1.0\r\n\r\n")
		c.read(http.MethodGet).want(t, 200, hello)
		c.wantEnd()
		g.wantOpen(0)
	})
}

// pipelined is a request of a pipeline and what its answer must be.
type pipelined struct {
	raw    string
	method string
	check  func(t *testing.T, r *response)
}

func (g *rig) pipeline(big testenv.Pattern, size int64) (all []pipelined) {
	add := func(method, target string, check func(t *testing.T, r *response), fields ...string) {
		all = append(all, pipelined{request(method, target, fields...), method, check})
	}
	for i := range 60 {
		switch i % 6 {
		case 0, 3:
			name := fmt.Sprintf("small-%d.txt", i)
			content := strings.Repeat(name, i+1)
			g.write(name, content)
			add("GET", "/"+name, func(t *testing.T, r *response) { r.want(t, 200, content) })
		case 1:
			add("GET", "/big.bin", func(t *testing.T, r *response) {
				r.want(t, 200)
				if err := big.Check(r.body, 0); err != nil || int64(len(r.body)) != size {
					t.Errorf("%d bytes: %v", len(r.body), err)
				}
			})
		case 2:
			add("HEAD", "/big.bin", func(t *testing.T, r *response) { r.want(t, 200) })
		case 4:
			off := int64(i) * 1000
			add("GET", "/big.bin", func(t *testing.T, r *response) {
				r.want(t, 206)
				if err := big.Check(r.body, off); err != nil || len(r.body) != 30_001 {
					t.Errorf("%d bytes: %v", len(r.body), err)
				}
			}, fmt.Sprintf("Range: bytes=%d-%d", off, off+30_000))
		case 5:
			add("GET", fmt.Sprintf("/nothing-%d", i), func(t *testing.T, r *response) { r.want(t, 404) })
		}
	}
	return all
}

// Pipelined requests are answered in order, whether they arrive at once or
// byte by byte, and however small and large answers are mixed.
func TestPipelining(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		const size = 700_001
		all := g.pipeline(g.pattern("big.bin", 6, size), size)
		var raw strings.Builder
		for _, p := range all {
			raw.WriteString(p.raw)
		}
		for name, send := range map[string]func(c *client){
			"at once":   func(c *client) { c.send(raw.String()) },
			"in pieces": func(c *client) { c.sendPieces(raw.String(), 7) },
		} {
			c := g.dial()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				send(c)
			}()
			for i, p := range all {
				r, err := readResponse(c.r, p.method)
				if err != nil {
					t.Fatalf("%s, response %d: %v", name, i, err)
				}
				p.check(t, r)
			}
			<-sent
		}
		if n := g.ends(engine.Complete); n != uint64(2*len(all)) {
			t.Errorf("%d responses, want %d", n, 2*len(all))
		}
	})
}

// sendPieces sends n bytes at a time, each in a packet of its own.
func (c *client) sendPieces(raw string, n int) {
	for len(raw) > 0 {
		k := min(n, len(raw))
		if _, err := c.conn.Write([]byte(raw[:k])); err != nil {
			c.t.Errorf("send: %v", err)
			return
		}
		raw = raw[k:]
	}
}

// A client that has sent its requests and ended its side still gets every answer.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		big := g.pattern("big.bin", 7, 5<<20)
		c := g.dialWith(16 << 10)
		c.send(request("GET", "/f.txt") + request("GET", "/big.bin") + request("GET", "/f.txt"))
		if err := c.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.read(http.MethodGet).want(t, 200, hello)
		r := c.read(http.MethodGet)
		r.want(t, 200)
		if err := big.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		c.read(http.MethodGet).want(t, 200, hello)
		c.wantEnd()
		g.wantOpen(0)
	})
}

// More requests than are read ahead, from a client that does not read.
func TestEndlessPipelineIsHeldBack(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		big := g.pattern("big.bin", 8, 8<<20)
		g.write("f.txt", hello)
		c := g.dialWith(16 << 10)
		const followers = 400
		padding := "X-Padding: " + strings.Repeat("x", 5000)
		raw := request("GET", "/big.bin") + strings.Repeat(request("GET", "/f.txt", padding), followers)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			c.sendPieces(raw, len(raw))
		}()
		// The first response cannot end before it is read, and the requests are
		// more than the server and two socket buffers of the kernel hold.
		in := func(s *loop.Stats) uint64 { return s.BytesIn }
		var held uint64
		testenv.Eventually(patience, func() bool {
			before := held
			held = g.stats(in)
			return held > 64<<10 && held == before
		})
		if held > 512<<10 {
			t.Errorf("the server has taken %d bytes of requests while it answers the first", held)
		}
		r := c.read(http.MethodGet)
		r.want(t, 200)
		if err := big.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		for range followers {
			c.read(http.MethodGet).want(t, 200, hello)
		}
		<-sent
	})
}

// A peer that vanishes in mid-transfer leaves nothing behind.
func TestPeerResetFreesEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{})
		g.pattern("big.bin", 9, 16<<20)
		testenv.Hold(t, filepath.Join(g.root, "big.bin"))                   // what is fetched takes descriptors
		g.once(http.MethodGet, "/big.bin", "Range: bytes=0-0").want(t, 206) // the file is in the cache
		g.wantOpen(0)
		before := len(testenv.FDs(t))
		const n = 20
		for i := range n {
			c := g.dialWith(16 << 10)
			c.send(request("GET", "/big.bin"))
			if i%2 == 0 { // in the middle of the body, else anywhere
				if _, err := c.r.Peek(10_000); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			c.conn.Close()
		}
		g.wantOpen(0)
		if gone := g.ends(engine.PeerGone); gone < n/2 || gone > n {
			t.Errorf("%d responses ended with their peer, want at least %d", gone, n/2)
		}
		if !testenv.Eventually(patience, func() bool { return len(testenv.FDs(t)) <= before }) {
			t.Errorf("%d descriptors, %d before: %v", len(testenv.FDs(t)), before, testenv.FDs(t))
		}
	})
}

// Beyond MaxConns the connection that rests the longest ends, or if none rests the new one after a word.
func TestMaxConns(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := server.Config{}
		cfg.Engine.MaxConns = 3
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		var clients []*client
		for range 3 {
			c := g.dial()
			c.get("/f.txt").want(t, 200, hello)
			clients = append(clients, c)
		}
		g.dial().get("/f.txt").want(t, 200, hello)
		clients[0].wantEnd()
		for _, c := range clients[1:] {
			c.get("/f.txt").want(t, 200, hello)
		}
	})
}

// A client that has all of its connections, each with a request under way, is told so on one
// more; behind a trusted proxy it is not the proxy that counts. The log has one line of it.
func TestMaxClientConns(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		for _, trusted := range []bool{false, true} {
			begun, hold := make(chan bool, 2), make(chan struct{})
			release := sync.OnceFunc(func() { close(hold) })
			defer release()
			wait := func(*fasthttp.RequestCtx) { begun <- true; <-hold }
			cfg := server.Config{Routes: []server.Route{{Prefix: "/hold", Blocking: true, Handler: wait}}}
			if trusted {
				cfg.Trust.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			cfg.Engine.MaxClientConns = 2
			g := start(t, d, cfg)
			g.write("f.txt", hello)
			var busy []*client
			for range 2 {
				c := g.dial()
				c.get("/f.txt").want(t, 200, hello)
				c.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
				<-begun
				busy = append(busy, c)
			}
			for range 2 {
				c := g.dial()
				if trusted {
					c.get("/f.txt").want(t, 200, hello)
					continue
				}
				if p, err := io.ReadAll(c.conn); err != nil || !strings.HasPrefix(string(p), "HTTP/1.1 503 ") {
					t.Errorf("answered %q, %v", p, err)
				}
			}
			release()
			for _, c := range busy {
				c.read(http.MethodGet).want(t, 200)
			}
			if n := g.logs.count("shortage"); n != 1 && !trusted || n != 0 && trusted {
				t.Errorf("trusted %v: %d lines in the log", trusted, n)
			}
		}
	})
}

// When descriptors have run out, accepting rests and goes on later.
func TestAcceptRecovers(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		testenv.LimitFDs(t, 64)
		g := start(t, d, server.Config{})
		g.write("f.txt", hello)
		port := g.srv.Addrs()[0].(*net.TCPAddr).Port
		peers := make([]*testenv.Peer, 5)
		for i := range peers {
			peers[i] = testenv.NewPeer(t, testenv.SockOptions{})
		}
		restore := testenv.ExhaustFDs(t)
		for _, p := range peers {
			err := unix.Connect(p.FD, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
			if err != nil && !errors.Is(err, unix.EINPROGRESS) {
				t.Fatal(err)
			}
		}
		refused := func() bool { return g.stats(func(s *loop.Stats) uint64 { return s.AcceptErrors }) > 0 }
		if !testenv.Eventually(patience, refused) {
			t.Error("no accept has failed")
		}
		restore()
		for _, p := range peers {
			testenv.Eventually(patience, func() bool { // once it is connected
				_, e := p.Send([]byte(request("GET", "/f.txt", "Connection: close")))
				return e == 0
			})
			var got []byte
			testenv.Eventually(patience, func() bool {
				b := make([]byte, 4096)
				n, e := p.Recv(b)
				got = append(got, b[:n]...)
				return n == 0 && e == 0
			})
			r, err := readResponse(bufio.NewReader(bytes.NewReader(got)), http.MethodGet)
			if err != nil {
				t.Fatal(err)
			}
			r.want(t, 200, hello)
		}
	})
}
