package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// writePair makes a certificate for localhost with a serial number, and its key.
func writePair(t testing.TB, serial int64, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// replace puts a new file in the place of name; nobody meets half of one.
func replace(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// withTLS adds a TLS listener with a new certificate to cfg.
func withTLS(t testing.TB, cfg server.Config) server.Config {
	t.Helper()
	dir := t.TempDir()
	cfg.TLS.Listen = []string{"127.0.0.1:0"}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, 1, cfg.TLS.CertFile, cfg.TLS.KeyFile)
	cfg.TLS.Kernel = kernelTLS
	return cfg
}

// tlsClient is a client on a TLS connection.
type tlsClient struct {
	t    testing.TB
	tcp  net.Conn
	conn *tls.Conn
	r    *bufio.Reader
}

func (g *rig) dialTLS(cfg *tls.Config) (*tlsClient, error) {
	g.t.Helper()
	tcp, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.secure(tcp, cfg)
}

// secure does the handshake on a connection.
func (g *rig) secure(tcp net.Conn, cfg *tls.Config) (*tlsClient, error) {
	g.t.Helper()
	g.t.Cleanup(func() { tcp.Close() })
	if err := tcp.SetDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	if cfg == nil {
		cfg = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	}
	cfg.InsecureSkipVerify = true // the tests look at the serial number
	conn := tls.Client(tcp, cfg)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	return &tlsClient{t: g.t, tcp: tcp, conn: conn, r: bufio.NewReaderSize(conn, 32<<10)}, nil
}

func (g *rig) mustTLS() *tlsClient {
	g.t.Helper()
	c, err := g.dialTLS(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (c *tlsClient) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *tlsClient) read(method string) *response {
	c.t.Helper()
	r, err := readResponse(c.r, method)
	if err != nil {
		c.t.Fatalf("response to %s: %v", method, err)
	}
	return r
}

func (c *tlsClient) do(method, target string, fields ...string) *response {
	c.t.Helper()
	c.send(request(method, target, fields...))
	return c.read(method)
}

// wantEnd fails the test unless the server says that the connection ends
// (close_notify), having sent nothing more.
func (c *tlsClient) wantEnd() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err != nil || len(rest) > 0 {
		c.t.Errorf("after the last response: %d bytes, %v; want close_notify", len(rest), err)
	}
}

// Every answer over TLS is the one without it.
func TestTLSAnswersAsPlain(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{Routes: []server.Route{
			{Prefix: "/echo", Handler: echo},
			{Prefix: "/slow", Handler: echo, Blocking: true},
		}}))
		g.write("f.txt", hello)
		g.write("dir/index.html", "index")
		g.write("empty", "")
		const size = 5<<20 + 4321
		g.pattern("big.bin", 7, size)
		g.pattern("mid.bin", 8, 100_000)
		plain, secure := g.dial(), g.mustTLS()
		state := secure.conn.ConnectionState()
		if state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
			t.Errorf("protocol %q, version %x", state.NegotiatedProtocol, state.Version)
		}
		etag := plain.get("/big.bin").get("ETag")
		type ask struct {
			method, target string
			fields         []string
		}
		asks := []ask{
			{"GET", "/f.txt", nil}, {"HEAD", "/f.txt", nil}, {"GET", "/empty", nil}, {"GET", "/dir", nil},
			{"GET", "/dir/", nil}, {"GET", "/none", nil}, {"DELETE", "/f.txt", nil}, {"OPTIONS", "*", nil},
			{"GET", "/big.bin", nil}, {"GET", "/mid.bin", nil}, {"GET", "/mid.bin", nil}, {"GET", "/mid.bin", nil},
			{"GET", "/big.bin", []string{"Range: bytes=1048576-"}},
			{"GET", "/big.bin", []string{"Range: bytes=-1000"}},
			{"GET", "/big.bin", []string{"Range: bytes=0-0"}},
			{"GET", "/big.bin", []string{"Range: bytes=" + fmt.Sprint(size) + "-"}},
			{"GET", "/big.bin", []string{"Range: bytes=3000000-", "If-Range: " + etag}},
			{"GET", "/big.bin", []string{"Range: bytes=3000000-", `If-Range: "other"`}},
			{"GET", "/big.bin", []string{"If-None-Match: " + etag}},
			{"GET", "/echo?x", []string{"X-Ask: a"}}, {"GET", "/slow", nil},
		}
		for _, a := range asks {
			want, got := plain.do(a.method, a.target, a.fields...), secure.do(a.method, a.target, a.fields...)
			want.fields.Del("Date")
			got.fields.Del("Date")
			if got.status != want.status || fmt.Sprint(got.fields) != fmt.Sprint(want.fields) || !bytes.Equal(got.body, want.body) {
				t.Errorf("%v: %d %v (%d bytes), without TLS %d %v (%d bytes)", a,
					got.status, got.fields, len(got.body), want.status, want.fields, len(want.body))
			}
		}
		// Pipelined, with bodies, and the end of the connection.
		secure.send(request("GET", "/f.txt") + request("POST", "/echo", "Content-Length: 3") + "abc" + request("GET", "/big.bin", "Connection: close"))
		secure.read("GET").want(t, 200, hello)
		secure.read("POST").want(t, 200, "POST /echo  [abc]")
		if r := secure.read("GET"); len(r.body) != size || !r.closes() {
			t.Errorf("%d bytes, %v", len(r.body), r.fields)
		}
		secure.wantEnd()
	})
}

// A download that breaks off is taken up on another connection, with and
// without TLS.
func TestTLSResume(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		const size = changing
		p := g.pattern("big.bin", 9, size)
		tcp, err := dialer(16<<10).Dial("tcp", g.srv.TLSAddrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.secure(tcp, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.send(request("GET", "/big.bin"))
		head, err := readHead(c.r)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20+12345)
		if _, err := io.ReadFull(c.r, got); err != nil {
			t.Fatal(err)
		}
		c.tcp.Close()
		half := g.mustTLS().do("GET", "/big.bin", fmt.Sprintf("Range: bytes=%d-%d", len(got), size/2-1), "If-Range: "+head.get("ETag"))
		half.want(t, 206)
		got = append(got, half.body...)
		rest := g.once("GET", "/big.bin", fmt.Sprintf("Range: bytes=%d-", len(got)), "If-Range: "+head.get("ETag"))
		rest.want(t, 206)
		got = append(got, rest.body...)
		want := make([]byte, size)
		p.Fill(want, 0)
		if !bytes.Equal(got, want) {
			t.Error("the parts do not make the file")
		}
		g.wantEnds(engine.PeerGone, 1)
		g.wantOpenTLS(1)
	})
}

// wantOpenTLS fails the test unless the number of TLS connections becomes n.
func (g *rig) wantOpenTLS(n int) {
	g.t.Helper()
	if !testenv.Eventually(patience, func() bool { return g.srv.TLSStats().Open == n }) {
		g.t.Errorf("%d TLS connections are open, want %d", g.srv.TLSStats().Open, n)
	}
}

// A file that changes while it is sent never looks whole.
func TestTLSFileChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		const size = 32 << 20
		g.pattern("big.bin", 9, size)
		c := g.mustTLS()
		c.send(request("GET", "/big.bin"))
		if _, err := readHead(c.r); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(g.root, "big.bin"), 20<<20); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, c.r)
		if n >= size || err == nil {
			t.Errorf("%d bytes and %v; want a broken connection", n, err)
		}
		g.wantEnds(engine.FileChanged, 1)
		g.wantOpenTLS(0)
	})
}

func TestTLSConnections(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	g.write("f.txt", hello)

	// Half a connection still gets its answers.
	c := g.mustTLS()
	c.send(request("GET", "/f.txt") + request("GET", "/f.txt"))
	if err := c.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.read("GET").want(t, 200, hello)
	c.read("GET").want(t, 200, hello)
	c.wantEnd()

	// A refusal reaches the client although it goes on sending.
	c = g.mustTLS()
	c.send("nonsense\r\n\r\n" + strings.Repeat("x", 100_000))
	c.read("GET").want(t, 400)
	c.wantEnd()
	c.tcp.Close()

	// Other versions and protocols.
	for name, cfg := range map[string]*tls.Config{
		"TLS 1.1": {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"h2 only": {NextProtos: []string{"h2"}},
	} {
		if _, err := g.dialTLS(cfg); err == nil {
			t.Errorf("%s: the handshake succeeds", name)
		}
	}
	c, err := g.dialTLS(&tls.Config{MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/f.txt").want(t, 200, hello)
	c.tcp.Close()

	// No TLS at all.
	tcp, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if _, err := io.WriteString(tcp, request("GET", "/f.txt")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s := g.srv.TLSStats()
		if s.Failed == 3 && s.Accepted == 6 && s.Open == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s)
		}
	}
}

func TestTLSTimeouts(t *testing.T) {
	const short = 200 * time.Millisecond
	// Each has a server of its own, in which nothing else times out.
	begin := func(t *testing.T, set func(*engine.Config)) *rig {
		cfg := timeouts()
		set(&cfg.Engine)
		return start(t, engine.DriverFallback, withTLS(t, cfg))
	}
	t.Run("header", func(t *testing.T) {
		g := begin(t, func(c *engine.Config) { c.HeaderTimeout = short })
		silent, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience) // no handshake
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if !testenv.Eventually(patience, func() bool { s := g.srv.TLSStats(); return s.Failed == 1 && s.Open == 0 }) {
			t.Errorf("no handshake: %+v", g.srv.TLSStats())
		}
		var c *tlsClient
		if !testenv.Eventually(patience, func() bool { c, err = g.dialTLS(nil); return err == nil }) {
			t.Fatal(err) // never once was a handshake done in time
		}
		c.send("GET / HT")
		c.read("GET").want(t, 408)
		c.wantEnd()
		c.tcp.Close()
		g.wantOpenTLS(0)
	})
	t.Run("idle", func(t *testing.T) {
		g := begin(t, func(c *engine.Config) { c.IdleTimeout = short })
		g.write("f.txt", hello)
		c := g.mustTLS()
		c.do("GET", "/f.txt").want(t, 200, hello)
		c.wantEnd()
		c.tcp.Close()
		g.wantOpenTLS(0)
	})
	t.Run("send", func(t *testing.T) {
		g := begin(t, func(c *engine.Config) { c.SendTimeout = short })
		g.pattern("big.bin", 3, 64<<20)
		c := g.mustTLS()
		c.send(request("GET", "/big.bin")) // and takes nothing
		g.wantOpenTLS(0)
		if n, err := io.Copy(io.Discard, c.r); err == nil || n >= 64<<20 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestTLSConnectionsAreBounded(t *testing.T) {
	cfg := withTLS(t, server.Config{})
	cfg.TLS.MaxConns = 1
	g := start(t, engine.DriverFallback, cfg)
	c := g.mustTLS()
	if _, err := g.dialTLS(nil); err == nil {
		t.Error("a connection too many is served")
	}
	c.do("GET", "/none").want(t, 404)
	c.tcp.Close()
	g.wantOpenTLS(0)
	g.mustTLS().do("GET", "/none").want(t, 404)
	if n := g.srv.TLSStats().Refused; n != 1 {
		t.Errorf("%d refused", n)
	}
}

func TestTLSShutdown(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		const size = 32 << 20
		g.pattern("big.bin", 9, size)
		idle, busy := g.mustTLS(), g.mustTLS()
		idle.do("GET", "/none").want(t, 404)
		busy.send(request("GET", "/big.bin"))
		if _, err := busy.r.Peek(1); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ended <- g.srv.Shutdown(ctx)
		}()
		idle.wantEnd()
		if r := busy.read("GET"); len(r.body) != size {
			t.Errorf("%d bytes", len(r.body))
		}
		busy.wantEnd()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What does not end in time is cut.
func TestTLSShutdownIsBounded(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	g.pattern("big.bin", 9, 32<<20)
	c := g.mustTLS()
	c.send(request("GET", "/big.bin"))
	if _, err := c.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := io.Copy(io.Discard, c.r); err == nil {
		t.Error("the connection ended in order")
	}
}

func TestTLSReload(t *testing.T) {
	cfg := withTLS(t, server.Config{})
	cert, key := cfg.TLS.CertFile, cfg.TLS.KeyFile
	g := start(t, engine.DriverFallback, cfg)
	serial := func() int64 {
		c := g.mustTLS()
		defer c.tcp.Close()
		return c.conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	becomes := func(want int64) {
		t.Helper()
		if !testenv.Eventually(patience, func() bool { return serial() == want }) {
			t.Fatalf("serial number %d, want %d", serial(), want)
		}
	}
	becomes(1)
	old := g.mustTLS()
	writePair(t, 2, cert, key)
	becomes(2)
	old.do("GET", "/none").want(t, 404)

	const failure = "TLS certificate not reloaded: going on with the last good one"
	replace(t, key, []byte("no key"))
	if !testenv.Eventually(patience, func() bool { return serial() == 2 && g.logs.count(failure) == 1 }) {
		t.Fatalf("%d failures logged", g.logs.count(failure))
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if !testenv.Eventually(patience, func() bool { return serial() == 2 && g.logs.count(failure) == 2 }) {
		t.Fatalf("%d failures logged", g.logs.count(failure))
	}
	writePair(t, 3, cert, key)
	becomes(3)
}

func TestTLSConfigErrors(t *testing.T) {
	testenv.LeakCheck(t)
	good := withTLS(t, server.Config{Site: server.Site{Root: t.TempDir()}, Listen: []string{"127.0.0.1:0"}})
	for name, change := range map[string]func(*server.Config){
		"no certificate": func(c *server.Config) { c.TLS.CertFile = "" },
		"no such key":    func(c *server.Config) { c.TLS.KeyFile += "x" },
		"no key in file": func(c *server.Config) { c.TLS.KeyFile = c.TLS.CertFile },
		"Unix socket":    func(c *server.Config) { c.TLS.Listen = []string{"unix:" + filepath.Join(t.TempDir(), "s")} },
		"negative bound": func(c *server.Config) { c.TLS.MaxConns = -1 },
		"pairs of no host": func(c *server.Config) {
			c.TLS.HostPairs = map[string][]server.KeyPair{"a.example": {{CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile}}}
		},
	} {
		cfg := good
		change(&cfg)
		if _, err := server.New(cfg); !errors.Is(err, server.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
		if err := server.Check(cfg); !errors.Is(err, server.ErrConfig) {
			t.Errorf("%s: Check says %v", name, err)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := good
	cfg.TLS.Listen = []string{"127.0.0.1:0", taken.Addr().String()}
	if _, err := server.New(cfg); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("address in use: %v", err)
	}
}

func TestTLSHandlerSeesTheClient(t *testing.T) {
	cfg := withTLS(t, server.Config{Routes: []server.Route{{Prefix: "/who", Handler: func(ctx *fasthttp.RequestCtx) {
		fmt.Fprintf(ctx, "%v %v %v", ctx.IsTLS(), ctx.RemoteAddr(), ctx.LocalAddr())
	}}}})
	g := start(t, engine.DriverFallback, cfg)
	c := g.mustTLS()
	c.do("GET", "/who").want(t, 200, fmt.Sprintf("true %v %v", c.tcp.LocalAddr(), c.tcp.RemoteAddr()))
	g.once("GET", "/who").want(t, 200)
}

func TestTLSBehindProxyProtocol(t *testing.T) {
	cfg := withTLS(t, server.Config{Routes: []server.Route{{Prefix: "/who", Handler: remote}}})
	taken := "127.0.0.2:0" // told from Listen, which is 127.0.0.1:0
	cfg.TLS.Listen, cfg.ProxyProtocol = []string{taken}, []string{taken}
	g := start(t, engine.DriverFallback, cfg)
	dial := func(first string) net.Conn {
		tcp, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tcp, first); err != nil {
			t.Fatal(err)
		}
		return tcp
	}
	c, err := g.secure(dial("PROXY TCP4 1.2.3.4 10.0.0.1 5678 443\r\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/who").want(t, 200, "1.2.3.4:5678")
	if c, err := g.secure(dial(""), nil); err == nil {
		t.Errorf("served without a header: %v", c.do("GET", "/who"))
	}
	g.once("GET", "/who").want(t, 200)
}
