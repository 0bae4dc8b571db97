package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// startOn is start with the addresses of cfg.
func startOn(t *testing.T, d engine.DriverKind, cfg server.Config) *server.Server {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	if cfg.Engine.Loops == 0 {
		cfg.Engine.Loops = 2
	}
	cfg.Engine.Driver = d
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-srv.Done(): // the test has ended it
			return
		default:
		}
		if err := srv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return srv
}

// socketPath returns a path that is short enough for a socket (107 bytes).
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// fetch sends raw on a new connection and reads one response to a GET.
func fetch(t *testing.T, network, addr, raw string) *response {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	r, err := readResponse(bufio.NewReader(conn), "GET")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUnixSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		testenv.LeakCheck(t)
		path, root := socketPath(t), t.TempDir()
		writeFile(t, filepath.Join(root, "f.txt"), []byte(hello))
		pattern := testenv.NewPattern(5)
		big, err := os.Create(filepath.Join(root, "big.bin"))
		if err != nil {
			t.Fatal(err)
		}
		defer big.Close()
		const size = 3<<20 + 17
		if err := pattern.WriteAt(big, 0, size); err != nil {
			t.Fatal(err)
		}
		srv := startOn(t, d, server.Config{
			Site: server.Site{Root: root}, Listen: []string{"unix:" + path, "127.0.0.1:0"},
			Engine: engine.Config{UnixMode: 0o600},
			Routes: []server.Route{{Prefix: "/who", Handler: func(ctx *fasthttp.RequestCtx) {
				ctx.SetBodyString(ctx.LocalAddr().Network())
			}}},
		})
		if got := srv.Addrs()[0]; got.Network() != "unix" || got.String() != path {
			t.Errorf("address %s %s", got.Network(), got)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("socket file: %v, %v", info.Mode(), err)
		}
		var clients sync.WaitGroup
		for range 8 { // for both loops
			clients.Go(func() {
				fetch(t, "unix", path, request("GET", "/f.txt")).want(t, 200, hello)
				r := fetch(t, "unix", path, request("GET", "/big.bin", "Range: bytes=100-"))
				r.want(t, 206)
				want := make([]byte, size-100)
				pattern.Fill(want, 100)
				if !bytes.Equal(r.body, want) {
					t.Error("other bytes than those of the file")
				}
			})
		}
		clients.Wait()
		fetch(t, "unix", path, request("GET", "/who")).want(t, 200, "unix")
		fetch(t, "tcp", srv.Addrs()[1].String(), request("GET", "/who")).want(t, 200, "tcp")

		if _, err := server.New(server.Config{Site: server.Site{Root: root}, Listen: []string{"unix:" + path}}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second server on the socket: %v", err)
		}
		fetch(t, "unix", path, request("GET", "/f.txt")).want(t, 200, hello)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket file is left: %v", err)
		}
	})
}

func TestStaleUnixSocket(t *testing.T) {
	testenv.LeakCheck(t)
	path := socketPath(t)
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	srv := startOn(t, engine.DriverFallback, server.Config{Listen: []string{"unix:" + path}})
	fetch(t, "unix", path, request("GET", "/none")).want(t, 404)

	// A successor's socket in the same place is not removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next := startOn(t, engine.DriverFallback, server.Config{Listen: []string{"unix:" + path}})
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	fetch(t, "unix", path, request("GET", "/none")).want(t, 404)
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left: %v", err)
	}
}

func TestUnixSocketPathInUse(t *testing.T) {
	testenv.LeakCheck(t)
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := []string{"127.0.0.1:0", "unix:" + path}
	if _, err := server.New(server.Config{Site: server.Site{Root: t.TempDir()}, Listen: listen}); err == nil {
		t.Error("a server listens where a file is")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file is now %q, %v", got, err)
	}
	// What was bound before the failure is removed.
	good := path + "2"
	listen = []string{"unix:" + good, "unix:" + path}
	if _, err := server.New(server.Config{Site: server.Site{Root: t.TempDir()}, Listen: listen}); err == nil {
		t.Error("a server listens where a file is")
	}
	if _, err := os.Lstat(good); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a socket file is left: %v", err)
	}
}

func TestIPv6Listener(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here:", err)
	} else {
		ln.Close()
	}
	testenv.LeakCheck(t)
	srv := startOn(t, engine.DriverFallback, server.Config{Listen: []string{"[::1]:0", "127.0.0.1:0"}})
	for _, a := range srv.Addrs() {
		fetch(t, "tcp", a.String(), request("GET", "/none")).want(t, 404)
	}
	if a := srv.Addrs()[0].String(); !strings.HasPrefix(a, "[::1]:") {
		t.Errorf("address %s", a)
	}
}

// remote answers with the address that a handler sees.
func remote(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(ctx.RemoteAddr().String()) }

func TestProxyProtocol(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, server.Config{
			ProxyProtocol: []string{"127.0.0.1:0"},
			Routes:        []server.Route{{Prefix: "/who", Handler: remote}},
		})
		g.write("f.txt", hello)
		const v1 = "PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\n"
		c := g.dial()
		c.send(v1 + request("GET", "/who"))
		c.read("GET").want(t, 200, "1.2.3.4:5678")
		c.get("/f.txt").want(t, 200, hello)
		c.get("/who").want(t, 200, "1.2.3.4:5678")

		v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x05\x0a\x00\x00\x01\x16\x2e\x00\x50"
		c = g.dial()
		for _, b := range v2 + request("GET", "/who") { // one byte at a time
			c.send(string(b))
		}
		c.read("GET").want(t, 200, "1.2.3.5:5678")

		for _, local := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
			c = g.dial()
			c.send(local + request("GET", "/who"))
			c.read("GET").want(t, 200, c.conn.LocalAddr().String())
		}
		for _, bad := range []string{
			request("GET", "/f.txt"),
			"PROXY TCP4 nonsense\r\n" + request("GET", "/f.txt"),
			"PROXY " + strings.Repeat("x", 102),
		} {
			c = g.dial()
			c.send(bad)
			if n := c.wantReset(); n > 0 {
				t.Errorf("%.40q: answered", bad)
			}
		}
		// A second header is a bad request.
		c = g.dial()
		c.send(v1 + v1 + request("GET", "/f.txt"))
		c.read("GET").want(t, 400)
	})
}

func TestProxyProtocolOnlyFromTrusted(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{
		ProxyProtocol: []string{"127.0.0.1:0"}, Trust: trust(t, "192.0.2.0/24"),
	})
	c := g.dial()
	c.send("PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\n" + request("GET", "/none"))
	if n := c.wantReset(); n > 0 {
		t.Error("answered")
	}
}

func TestProxyProtocolNeedsAListener(t *testing.T) {
	_, err := server.New(server.Config{Site: server.Site{Root: t.TempDir()}, Listen: []string{"127.0.0.1:0"}, ProxyProtocol: []string{"127.0.0.1:80"}})
	if !errors.Is(err, server.ErrConfig) {
		t.Errorf("error %v", err)
	}
}

// The header of a proxy is no request: what comes after it must come in the time
// for a request that has begun with the connection, not within the idle time.
func TestProxyHeaderThenNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := timeouts()
		cfg.ProxyProtocol = []string{"127.0.0.1:0"}
		cfg.Engine.HeaderTimeout = soon
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		const header = "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n"
		for _, begun := range []string{"", "GET /f"} {
			c := g.dial()
			c.send(header + begun)
			c.read("GET").want(t, 408)
			c.wantEnd()
			c.conn.Close()
		}
		// After a request it is the idle time that counts, which is long here.
		c, _ := g.promptly(header + request("GET", "/f.txt"))
		c.read("GET").want(t, 200, hello)
		g.wantOpen(1)
		c.conn.Close()
		g.wantOpen(0)
	})
}

// A peer that never sends its header is closed without an answer.
func TestProxyHeaderTimeout(t *testing.T) {
	g := start(t, engine.DriverFallback, server.Config{
		ProxyProtocol: []string{"127.0.0.1:0"},
		Engine:        engine.Config{HeaderTimeout: 50 * time.Millisecond},
	})
	c := g.dial()
	c.send("PROXY TCP4 1.2")
	if n, err := io.Copy(io.Discard, c.r); n > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
