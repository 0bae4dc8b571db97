package main_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// withTLS is a configuration with a TLS listener, the first or another certificate, and more of
// the section.
func withTLS(cert, more string) string {
	return "tls: {listen: ['127.0.0.1:0'], cert: DIR/" + cert + "/cert.pem, key: DIR/" + cert + "/key.pem" + more + "}"
}

// rsaKey is made once: it takes long.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// writePairs makes the certificates c1, c2 and c3 (of RSA) below a directory.
func writePairs(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"c1", "c2", "c3"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writePair(t, filepath.Join(dir, "c1"))
	writePair(t, filepath.Join(dir, "c2"))
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	writePairOf(t, filepath.Join(dir, "c3"), key)
}

// handshake does one with the TLS listener.
func (l *live) handshake(cfg *tls.Config) (*tls.Conn, error) {
	cfg = cfg.Clone()
	cfg.InsecureSkipVerify = true // self-signed
	return tls.Dial("tcp", strings.TrimPrefix(l.addrs[1], "https://"), cfg)
}

// shows is seen when a client that can do this gets the certificate of a directory.
func shows(dir string, cfg *tls.Config) func(*live) bool {
	return func(l *live) bool {
		c, err := l.handshake(cfg)
		if err != nil {
			l.t.Fatal(err)
		}
		defer c.Close()
		b, err := os.ReadFile(filepath.Join(l.dir, dir, "cert.pem"))
		if err != nil {
			l.t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		return string(block.Bytes) == string(c.ConnectionState().PeerCertificates[0].Raw)
	}
}

// shakes is seen when a client that can do this can connect, or cannot.
func shakes(can bool, cfg *tls.Config) func(*live) bool {
	return func(l *live) bool {
		c, err := l.handshake(cfg)
		if err == nil {
			c.Close()
		}
		return (err == nil) == can
	}
}
