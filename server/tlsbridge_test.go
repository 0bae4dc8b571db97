package server_test

import (
	"crypto/tls"
	"io"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/internal/testenv"
)

// A client that a bridge serves is cut when it takes nothing, and not when it takes little.
func TestTLSBridgeOfSlowClients(t *testing.T) {
	const step, timeout = 8 << 10, 6 * time.Second // it takes longer than the time-out until the socket takes more
	cfg := timeouts()
	cfg.Engine.SendTimeout = timeout
	g := start(t, engine.DriverFallback, withTLS(t, cfg))
	g.pattern("f.bin", 5, 64<<20)
	var clients [2]*tlsClient
	for i := range clients {
		tcp, err := dialer(16<<10).Dial("tcp", g.srv.TLSAddrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.secure(tcp, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}})
		if err != nil {
			t.Fatal(err)
		}
		c.send(request("GET", "/f.bin"))
		clients[i] = c
	}
	pace := time.NewTicker(timeout / 10)
	defer pace.Stop()
	for range 15 {
		<-pace.C
		if _, err := io.CopyN(io.Discard, clients[0].r, step); err != nil {
			t.Fatal(err)
		}
	}
	if !testenv.Eventually(patience, func() bool { return g.stats(func(s *loop.Stats) uint64 { return uint64(s.Sending) }) == 1 }) {
		t.Error("the one that takes nothing is served on, or the one that takes little is not")
	}
	if _, err := io.CopyN(io.Discard, clients[0].r, step); err != nil {
		t.Error(err)
	}
}
