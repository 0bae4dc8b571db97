package server_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/server"
	front "github.com/fserve/fserve/server/tls"
)

// kernelTLS has the kernel seal in all tests of TLS. It is set where a kernel must be able to (make
// kernels).
var kernelTLS = os.Getenv("FSERVE_REQUIRE_KERNEL_TLS") == "1"

// needKernelTLS skips the test where the kernel has no TLS.
func needKernelTLS(t *testing.T) {
	t.Helper()
	if err := front.KernelSeals(); kernelTLS && err != nil {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
}

// Without TLS in the kernel, or of TLS 1.2, a loop seals, and says why.
func TestTLSKernelIsAsked(t *testing.T) {
	cfg := withTLS(t, server.Config{})
	cfg.TLS.Kernel = true
	g := start(t, engine.DriverFallback, cfg)
	g.write("f.txt", hello)
	asked, refused := g.srv.TLSInKernel()
	if can := front.KernelSeals() == nil; !asked || can != (refused == nil) {
		t.Errorf("asked %v, refused %v", asked, refused)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := g.dialTLS(&tls.Config{MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		c.do("GET", "/f.txt").want(t, 200, hello)
		if s := g.srv.TLSStats(); (s.ByKernel == 1) != (refused == nil && version == tls.VersionTLS13) || s.OnLoops+s.ByKernel != 1 {
			t.Errorf("%s: %+v", tls.VersionName(version), s)
		}
		c.tcp.Close()
		g.wantOpenTLS(0)
	}
}

// Files, ranges of them, heads and errors are as ever.
func TestTLSByKernel(t *testing.T) {
	needKernelTLS(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := withTLS(t, server.Config{})
		cfg.TLS.Kernel = true
		g := start(t, d, cfg)
		const size = 5_000_003
		p := g.pattern("f.bin", 4, size)
		g.write("f.txt", hello)
		c := g.mustTLS()
		for range 2 {
			c.do("GET", "/f.txt").want(t, 200, hello)
			if r := c.do("GET", "/f.bin"); !bytes.Equal(r.body, p.Bytes(0, size)) {
				t.Error("other bytes")
			}
			if r := c.do("GET", "/f.bin", "Range: bytes=70000-1070000"); r.status != 206 || !bytes.Equal(r.body, p.Bytes(70_000, 1_000_001)) {
				t.Errorf("range: %d, %d bytes", r.status, len(r.body))
			}
			r := c.do("GET", "/f.bin", "Range: bytes=0-99,1000000-1299999")
			if r.status != 206 || !bytes.Contains(r.body, p.Bytes(0, 100)) || !bytes.Contains(r.body, p.Bytes(1_000_000, 300_000)) {
				t.Errorf("ranges: %d, %d bytes", r.status, len(r.body))
			}
			c.do("HEAD", "/f.bin").want(t, 200, "")
			if r := c.do("GET", "/none"); r.status != 404 {
				t.Errorf("status %d", r.status)
			}
		}
		if s := g.srv.TLSStats(); s.ByKernel != 1 || s.OnLoops != 0 {
			t.Errorf("%+v", s)
		}
		copied := g.stats(func(s *loop.Stats) uint64 { return s.Driver.Bytes[aio.ViaCopy] })
		if copied > 0 {
			t.Errorf("%d bytes went by copy", copied)
		}
		if r := c.do("GET", "/f.bin", "Connection: close"); !bytes.Equal(r.body, p.Bytes(0, size)) {
			t.Error("other bytes at the end")
		}
		c.wantEnd()
		g.wantOpenTLS(0)
	})
}

// The kernel has no other keys than the first: a peer that asks for new ones is told that the
// connection ends, and gets no more under the old ones.
func TestTLSKernelHasNoNewKeys(t *testing.T) {
	needKernelTLS(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := withTLS(t, server.Config{})
		cfg.TLS.Kernel = true
		g := start(t, d, cfg)
		g.write("f.txt", hello)
		c := g.dialRaw()
		c.write(c.seal(request("GET", "/f.txt")))
		c.read("GET").want(t, 200, hello)
		asks, err := c.rec.AppendRequest(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.write(asks)
		if _, err := c.conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "internal error") {
			t.Errorf("%v, want internal error", err)
		}
		g.wantOpenTLS(0)
	})
}

// A client that resets in the middle frees what it held, and harms nobody.
func TestTLSKernelReset(t *testing.T) {
	needKernelTLS(t)
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		cfg := withTLS(t, server.Config{})
		cfg.TLS.Kernel = true
		g := start(t, d, cfg)
		const size = 32 << 20
		p := g.pattern("f.bin", 4, size)
		for range 10 {
			c := g.mustTLS()
			c.send(request("GET", "/f.bin"))
			if _, err := io.CopyN(io.Discard, c.r, 100_000); err != nil {
				t.Fatal(err)
			}
			if err := c.tcp.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			c.tcp.Close()
		}
		g.wantOpenTLS(0)
		if r := g.mustTLS().do("GET", "/f.bin"); !bytes.Equal(r.body, p.Bytes(0, size)) {
			t.Error("other bytes")
		}
	})
}
