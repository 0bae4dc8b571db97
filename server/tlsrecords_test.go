package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/tlsrec"
	"github.com/fserve/fserve/server"
)

// A loop has the records of AEAD suites; the rest takes a bridge, and is answered the same.
func TestTLSSuites(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		p := g.pattern("f.bin", 4, 3_000_001)
		want := p.Bytes(0, 3_000_001)
		for _, c := range []struct {
			version, suite uint16
			onLoops        int
		}{
			{version: tls.VersionTLS13, onLoops: 1},
			{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 1},
			{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 1},
			{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, 1},
			{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, 0},
		} {
			name := fmt.Sprintf("%s %s", tls.VersionName(c.version), tls.CipherSuiteName(c.suite))
			k, err := g.dialTLS(&tls.Config{MaxVersion: c.version, CipherSuites: []uint16{c.suite}})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for range 2 {
				if r := k.do("GET", "/f.bin"); !bytes.Equal(r.body, want) {
					t.Errorf("%s: other bytes", name)
				}
			}
			if s := g.srv.TLSStats(); s.OnLoops+s.ByKernel != c.onLoops || s.Open != 1 || s.Handshakes != 0 {
				t.Errorf("%s: %+v", name, s)
			}
			k.tcp.Close()
			g.wantOpenTLS(0)
		}
	})
}

// keyLog collects the secrets of a client of TLS 1.3.
type keyLog struct{ client, server []byte }

func (k *keyLog) Write(line []byte) (int, error) {
	f := strings.Fields(string(line))
	secret, err := hex.DecodeString(f[2])
	switch f[0] {
	case "CLIENT_TRAFFIC_SECRET_0":
		k.client = secret
	case "SERVER_TRAFFIC_SECRET_0":
		k.server = secret
	}
	return len(line), err
}

// rawClient is a client that seals its records itself, however it likes.
type rawClient struct {
	*tlsClient
	rec *tlsrec.Conn
}

func (g *rig) dialRaw() *rawClient {
	g.t.Helper()
	var k keyLog
	c, err := g.dialTLS(&tls.Config{MinVersion: tls.VersionTLS13, KeyLogWriter: &k})
	if err != nil {
		g.t.Fatal(err)
	}
	s := tlsrec.Secrets{Version: tls.VersionTLS13, Suite: c.conn.ConnectionState().CipherSuite, Client: k.server, Server: k.client}
	rec, err := tlsrec.New(&s)
	if err != nil {
		g.t.Fatal(err)
	}
	return &rawClient{c, rec}
}

func (c *rawClient) seal(p string) []byte {
	record := make([]byte, c.rec.Prefix()+len(p)+c.rec.Suffix())
	copy(record[c.rec.Prefix():], p)
	c.rec.Seal(record)
	return record
}

func (c *rawClient) write(p []byte) {
	c.t.Helper()
	if _, err := c.tcp.Write(p); err != nil {
		c.t.Fatal(err)
	}
}

// What cannot be opened is answered with an alert, and what a client may do is not.
func TestTLSBadRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		g.write("f.txt", hello)
		get := request("GET", "/f.txt")
		bad := uint64(0)
		for name, c := range map[string]struct {
			send func(c *rawClient) []byte
			want string // "": it is served
		}{
			"a byte at a time": {func(c *rawClient) (all []byte) {
				for i := range get {
					all = append(all, c.seal(get[i:i+1])...)
				}
				return all
			}, ""},
			"new keys": {func(c *rawClient) []byte {
				first := c.seal(get[:10])
				first, err := c.rec.AppendUpdate(first)
				if err != nil {
					t.Fatal(err)
				}
				return append(first, c.seal(get[10:])...)
			}, ""},
			"empty records": {func(c *rawClient) []byte { return append(append(c.seal(""), c.seal("")...), c.seal(get)...) }, ""},
			"a bad tag":     {func(c *rawClient) []byte { r := c.seal(get); r[len(r)-1] ^= 1; return r }, "bad record MAC"},
			"too long":      {func(*rawClient) []byte { return []byte{23, 3, 3, 0x41, 1} }, "record overflow"},
			"another type":  {func(*rawClient) []byte { return []byte{22, 3, 3, 0, 40} }, "unexpected message"},
			"HTTP":          {func(*rawClient) []byte { return []byte(get) }, "unexpected message"},
			"a flood of empty records": {func(c *rawClient) (all []byte) {
				for range 20 {
					all = append(all, c.seal("")...)
				}
				return all
			}, "unexpected message"},
			"a flood of KeyUpdates": {func(c *rawClient) (all []byte) {
				for range 20 {
					var err error
					if all, err = c.rec.AppendUpdate(all); err != nil {
						t.Fatal(err)
					}
				}
				return all
			}, "unexpected message"},
		} {
			k := g.dialRaw()
			k.write(c.send(k))
			if c.want == "" {
				k.read("GET").want(t, 200, hello)
				k.tcp.Close()
				continue
			}
			bad++
			if _, err := k.conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
			k.tcp.Close()
		}
		g.wantOpenTLS(0)
		if n := g.stats(func(s *loop.Stats) uint64 { return s.BadRecords }); n != bad {
			t.Errorf("%d bad records are counted, want %d", n, bad)
		}
	})
}

// Half a record and then nothing is the beginning of a request that does not come.
func TestTLSHalfARecord(t *testing.T) {
	cfg := timeouts()
	cfg.Engine.HeaderTimeout = time.Second
	g := start(t, engine.DriverFallback, withTLS(t, cfg))
	g.write("f.txt", hello)
	c := g.dialRaw()
	c.write(c.seal(request("GET", "/f.txt")))
	c.read("GET").want(t, 200, hello)
	record := c.seal(request("GET", "/f.txt"))
	c.write(record[:len(record)-1])
	c.wantEnd()
	c.tcp.Close()
	g.wantOpenTLS(0)
}

// A client may close without close_notify, and is answered all the same.
func TestTLSWithoutCloseNotify(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	g.write("f.txt", hello)
	c := g.mustTLS()
	c.send(request("GET", "/f.txt"))
	if err := c.tcp.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.read("GET").want(t, 200, hello)
	c.wantEnd()
	g.wantOpenTLS(0)
}

// A client with Nagle's algorithm does not wait for an acknowledgement that the kernel delays.
func TestTLSFirstRequestWithNagle(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	g.write("f.txt", hello)
	var fastest time.Duration
	for range 10 {
		tcp, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := tcp.(*net.TCPConn).SetNoDelay(false); err != nil {
			t.Fatal(err)
		}
		c, err := g.secure(tcp, &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1)})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.do("GET", "/f.txt").want(t, 200, hello)
		if took := time.Since(began); fastest == 0 || took < fastest {
			fastest = took
		}
		tcp.Close()
	}
	if fastest >= 40*time.Millisecond { // the least that the kernel delays one
		t.Errorf("the fastest of ten first requests took %v", fastest)
	}
}

// What the socket of a slow reader does not take is not lost, and neither is close_notify.
func TestTLSSlowReader(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		const size = 8<<20 + 1
		p := g.pattern("f.bin", 5, size)
		tcp, err := dialer(16<<10).Dial("tcp", g.srv.TLSAddrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.secure(tcp, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.send(request("GET", "/f.bin", "Connection: close"))
		head, err := readHead(c.r)
		if err != nil || head.status != 200 {
			t.Fatal(err)
		}
		got := make([]byte, size)
		for off := 0; off < size; off += 1 << 18 {
			if _, err := io.ReadFull(c.r, got[off:min(off+1<<18, size)]); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Check(got, 0); err != nil {
			t.Error(err)
		}
		c.wantEnd()
	})
}

// A session is resumed, by either version. Of one of TLS 1.2 crypto/tls does not tell the
// secret again.
func TestTLSResumption(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	g.write("f.txt", hello)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			c, err := g.dialTLS(&tls.Config{ClientSessionCache: cache, MaxVersion: version, ServerName: "localhost"})
			if err != nil {
				t.Fatal(err)
			}
			c.do("GET", "/f.txt").want(t, 200, hello)
			s := c.conn.ConnectionState()
			if s.DidResume != (i > 0) || s.Version != version {
				t.Errorf("%s, connection %d: resumed %v", tls.VersionName(version), i, s.DidResume)
			}
			stats := g.srv.TLSStats()
			if on := stats.OnLoops+stats.ByKernel == 1; on != (i == 0 || version == tls.VersionTLS13) {
				t.Errorf("%s, connection %d: on a loop: %v", tls.VersionName(version), i, on)
			}
			c.tcp.Close()
			g.wantOpenTLS(0)
		}
	}
}

// A request over TLS costs no memory either. The client looks at no answer: crypto/tls would allocate.
func TestTLSCostsNoMemory(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		g.write("f.txt", hello)
		g.pattern("middle", 1, 10_000)
		for _, name := range []string{"/f.txt", "/middle"} {
			plain, whole := g.dial(), &bytes.Buffer{}
			plain.r = bufio.NewReader(io.TeeReader(plain.conn, whole))
			plain.get(name).want(t, 200)
			c := g.dialRaw()
			record := c.rec.Prefix() + c.rec.Suffix()
			answer, ask := make([]byte, record+whole.Len()), request("GET", name)
			raw := make([]byte, record+len(ask))
			var before, after runtime.MemStats
			const rounds = 200
			for i := range 2 * rounds {
				if i == rounds { // what is made once, like pools, is there
					runtime.ReadMemStats(&before)
				}
				copy(raw[c.rec.Prefix():], ask)
				c.rec.Seal(raw)
				c.write(raw)
				if _, err := io.ReadFull(c.tcp, answer); err != nil {
					t.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			if n := float64(after.Mallocs-before.Mallocs) / rounds; n > 0.1 {
				t.Errorf("%s: %.2f allocations a request", name, n)
			}
			c.tcp.Close()
		}
	})
}
