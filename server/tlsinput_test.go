package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// firstFlight returns the record of a ClientHello.
func firstFlight(t *testing.T, cfg *tls.Config) []byte {
	t.Helper()
	ours, peer := net.Pipe()
	defer peer.Close()
	go func() {
		_ = tls.Client(ours, cfg).Handshake() // nobody answers
		ours.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(peer, head); err != nil {
		t.Fatal(err)
	}
	record := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	if _, err := io.ReadFull(peer, record[5:]); err != nil {
		t.Fatal(err)
	}
	return record
}

// Clients that send a byte now and then keep nobody out, be there thousands of them, and leave nothing.
func TestTLSHandshakesDrip(t *testing.T) {
	const places = 500
	n := min(10_000, sys.DescriptorLimit()/2)
	if testing.Short() {
		n = min(n, 2000)
	}
	cfg := withTLS(t, server.Config{Engine: engine.Config{HeaderTimeout: time.Hour}})
	cfg.TLS.MaxHandshakes = places
	g := start(t, engine.DriverFallback, cfg)
	hello := firstFlight(t, &tls.Config{InsecureSkipVerify: true})
	drips := make([]*net.TCPConn, n)
	for i := range drips {
		c, err := net.DialTimeout("tcp", g.srv.TLSAddrs()[0].String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		drips[i] = c.(*net.TCPConn)
		_ = drips[i].SetLinger(0)
	}
	for round := range 3 {
		for _, c := range drips {
			_, _ = c.Write(hello[round:][:1]) // most of them are gone
		}
		g.mustTLS().do("GET", "/none").want(t, 404)
	}
	if s := g.srv.TLSStats(); s.Handshakes > places || s.Ousted < uint64(n-places) {
		t.Errorf("%+v", s)
	}
	for _, c := range drips {
		c.Close()
	}
	if !testenv.Eventually(patience, func() bool { return g.srv.TLSStats().Handshakes == 0 }) {
		t.Errorf("%+v", g.srv.TLSStats())
	}
}

// A handshake has its time in all, and not from one byte to the next.
func TestTLSHandshakeHasItsTime(t *testing.T) {
	cfg := timeouts()
	cfg.Engine.HeaderTimeout = 300 * time.Millisecond
	g := start(t, engine.DriverFallback, withTLS(t, cfg))
	hello := firstFlight(t, &tls.Config{InsecureSkipVerify: true})
	c := g.dialSilent()
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for sent := 0; g.srv.TLSStats().Failed == 0; sent++ {
		if sent == len(hello)-1 {
			t.Fatal("it was waited for the whole")
		}
		<-pace.C
		_, _ = c.Write(hello[sent:][:1]) // it may be over
	}
	g.wantOpenTLS(0)
}

// No ticket allows early data, and who sends some all the same is told by an alert.
func TestTLSEarlyData(t *testing.T) {
	g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
	hello := firstFlight(t, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	extensions := 5 + 4 + 2 + 32                                       // heads of record and message, version, random
	extensions += 1 + int(hello[extensions])                           // session
	extensions += 2 + int(binary.BigEndian.Uint16(hello[extensions:])) // suites
	extensions += 1 + int(hello[extensions])                           // compression
	hello = append(hello, 0, 42, 0, 0)                                 // early_data (RFC 8446 section 4.2.10)
	for _, length := range []int{3, 5 + 2, extensions} {               // of the record, the message, the extensions
		binary.BigEndian.PutUint16(hello[length:], binary.BigEndian.Uint16(hello[length:])+4)
	}
	c := g.dialSilent()
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	const unsupportedExtension = 110
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, []byte{21, 3, 3, 0, 2, 2, unsupportedExtension}) {
		t.Errorf("%d, %v", got, err)
	}
	if !testenv.Eventually(patience, func() bool { s := g.srv.TLSStats(); return s.Failed == 1 && s.Open == 0 }) {
		t.Errorf("%+v", g.srv.TLSStats())
	}
}

// A client of TLS 1.2 that wants another handshake is refused by an alert, by loops and by bridges.
func TestTLSRenegotiation(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	for suite, alert := range map[string]string{
		"ECDHE-ECDSA-AES128-GCM-SHA256": "no renegotiation", "ECDHE-ECDSA-AES128-SHA": "unexpected message", // as crypto/tls has it
	} {
		g := start(t, engine.DriverFallback, withTLS(t, server.Config{}))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "openssl", "s_client", "-tls1_2", "-cipher", suite, "-connect", g.srv.TLSAddrs()[0].String())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "R\n"); err != nil { // it renegotiates
			t.Fatal(err)
		}
		out, _ := cmd.CombinedOutput() // it fails
		if !strings.Contains(string(out), alert) {
			t.Errorf("%s: %s", suite, out)
		}
		g.wantOpenTLS(0)
		if n := g.stats(func(s *loop.Stats) uint64 { return s.BadRecords }); (n == 1) != strings.Contains(suite, "GCM") {
			t.Errorf("%s: %d bad records", suite, n)
		}
	}
}

// HTTP/2 is spoken where TLS was told so, and nowhere else: its preface is answered by HTTP/1.1.
func TestHTTP2PrefaceIsRefused(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		g := start(t, d, withTLS(t, server.Config{}))
		g.write("f.txt", hello)
		c := g.dial()
		c.send(preface)
		c.read("PRI").want(t, 505)
		c.wantEnd()
		s := g.mustTLS()
		s.send(preface)
		s.read("PRI").want(t, 505)
		s.wantEnd()
		c = g.dial() // who asks for a change of protocols is answered by this one (RFC 9110 section 7.8)
		c.send(request("GET", "/f.txt", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"))
		c.read("GET").want(t, 200, hello)
	})
}
