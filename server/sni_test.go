package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// pairFor makes a certificate with a serial number for names, and its key.
func pairFor(t testing.TB, serial int64, key crypto.Signer, names ...string) server.KeyPair {
	t.Helper()
	dir := t.TempDir()
	p := server.KeyPair{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(serial) * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, p.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return p
}

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// named is the configuration of hosts with certificates of their own: 1 is the default, 2 that
// of a.example, 3 (ECDSA) and 4 (RSA) those of *.example, and c.example has none.
func named(t testing.TB) server.Config {
	t.Helper()
	cfg := withTLS(t, server.Config{Hosts: []server.Host{
		{Names: []string{"A.example", "a2.example"}, Site: site(dirWith(t, "f", "a"))},
		{Names: []string{"*.example"}, Site: site(dirWith(t, "f", "any"))},
		{Names: []string{"c.example"}, Site: site(dirWith(t, "f", "c"))},
	}})
	cfg.TLS.HostPairs = map[string][]server.KeyPair{
		"A.example": {pairFor(t, 2, ecdsaKey(t), "a.example")},
		"*.example": {pairFor(t, 3, ecdsaKey(t), "*.example"), pairFor(t, 4, rsaKey(t), "*.example")},
	}
	return cfg
}

// serialFor returns the serial number of the certificate for a name; 0: it is refused.
func (g *rig) serialFor(name string, cfg *tls.Config) int64 {
	g.t.Helper()
	cfg = cfg.Clone()
	cfg.ServerName = name
	c, err := g.dialTLS(cfg)
	if err != nil {
		if !strings.Contains(err.Error(), "unrecognized name") {
			g.t.Errorf("%s: %v", name, err)
		}
		return 0
	}
	defer c.tcp.Close()
	if r := c.do("GET", "/f"); r.status != 200 && r.status != 404 && r.status != 421 {
		g.t.Errorf("%s: %d", name, r.status)
	}
	return c.conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificateByName(t *testing.T) {
	rsaOnly := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	ecdsaOnly := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	tests := []struct {
		name            string
		cfg             *tls.Config
		want, ifRefused int64
	}{
		{"a.example", &tls.Config{}, 2, 2},
		{"A2.EXAMPLE", &tls.Config{}, 2, 2},
		{"b.example", &tls.Config{}, 3, 3},
		{"b.example", ecdsaOnly, 3, 3},
		{"b.example", rsaOnly, 4, 4},
		{"x.y.example", &tls.Config{}, 3, 3},
		{"c.example", &tls.Config{}, 1, 1},
		{"example", &tls.Config{}, 1, 0},
		{"other.org", &tls.Config{}, 1, 0},
		{"", &tls.Config{}, 1, 0},
		{"192.0.2.1", &tls.Config{}, 1, 0}, // is not sent
	}
	cfg := named(t)
	g := start(t, engine.DriverFallback, cfg)
	for _, test := range tests {
		if got := g.serialFor(test.name, test.cfg); got != test.want {
			t.Errorf("%q: %d, want %d", test.name, got, test.want)
		}
	}
	cfg.TLS.RefuseUnknown = true
	mustSwap(t, g.srv, cfg)
	for _, test := range tests {
		if got := g.serialFor(test.name, test.cfg); got != test.ifRefused {
			t.Errorf("%q: %d, want %d", test.name, got, test.ifRefused)
		}
	}
	var hosts []string
	for _, x := range g.srv.TLSStats().Expiries {
		hosts = append(hosts, x.Host)
		if left := time.Until(x.At); x.Host == "*.example" && (left > 3*time.Hour || left < 2*time.Hour) {
			t.Errorf("%s ends in %v: of two certificates that which ends first counts", x.Host, left)
		}
	}
	if want := []string{"default", "a.example", "*.example"}; !slices.Equal(hosts, want) {
		t.Errorf("certificates of %v, want %v", hosts, want)
	}
}

// oneSession offers a session to whatever server.
type oneSession struct{ of *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.of, o.of != nil }

func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		o.of = s
	}
}

// A session lets nobody in who would be refused without it, nor does a name that is none.
func TestRefusedWithASession(t *testing.T) {
	cfg := named(t)
	cfg.TLS.RefuseUnknown = true
	g := start(t, engine.DriverFallback, cfg)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &tls.Config{MaxVersion: version, ClientSessionCache: &oneSession{}}
		for _, want := range []struct {
			name   string
			serial int64
		}{{"a.example", 2}, {"other.org", 0}, {"", 0}, {strings.Repeat("x.", 130) + "example", 0}, {"a2.example", 2}} {
			if got := g.serialFor(want.name, client); got != want.serial {
				t.Errorf("%s, %q: %d, want %d", tls.VersionName(version), want.name, got, want.serial)
			}
		}
	}
}

// Without default certificates clients that name no host with some are refused.
func TestNoDefaultCertificate(t *testing.T) {
	cfg := named(t)
	cfg.TLS.CertFile, cfg.TLS.KeyFile = "", ""
	g := start(t, engine.DriverFallback, cfg)
	for name, want := range map[string]int64{"a.example": 2, "c.example": 0, "other": 0, "": 0} {
		if got := g.serialFor(name, &tls.Config{}); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

// What a reload changes holds for handshakes from then on. Connections stay, and pairs that
// have broken meanwhile stay in use.
func TestCertificatesAreSwapped(t *testing.T) {
	cfg := named(t)
	g := start(t, engine.DriverFallback, cfg)
	open := g.mustTLS()
	second := cfg.TLS.HostPairs["A.example"][0]
	replace(t, second.KeyFile, []byte("no key"))
	const failure = "TLS certificate not reloaded: going on with the last good one"
	if !testenv.Eventually(patience, func() bool { return g.serialFor("a.example", &tls.Config{}) == 2 && g.logs.count(failure) == 1 }) {
		t.Fatalf("%d failures logged", g.logs.count(failure))
	}
	cfg.TLS.HostPairs = map[string][]server.KeyPair{"A.example": {second}, "c.example": {pairFor(t, 5, ecdsaKey(t))}}
	cfg.TLS.MinVersion = tls.VersionTLS13
	mustSwap(t, g.srv, cfg)
	for name, want := range map[string]int64{"a.example": 2, "b.example": 1, "c.example": 5} {
		if got := g.serialFor(name, &tls.Config{}); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	if _, err := g.dialTLS(&tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	open.do("GET", "/none").want(t, 404)

	bad := cfg
	bad.TLS.HostPairs = map[string][]server.KeyPair{"c.example": {{CertFile: second.CertFile, KeyFile: second.CertFile}}}
	if err := g.srv.Swap(bad); err == nil {
		t.Error("a pair without a key is taken")
	}
	if got := g.serialFor("c.example", &tls.Config{}); got != 5 {
		t.Errorf("%d after a swap that has failed", got)
	}
	cfg.TLS.MinVersion, cfg.TLS.CipherSuites = 0, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	mustSwap(t, g.srv, cfg)
	c, err := g.dialTLS(&tls.Config{MaxVersion: tls.VersionTLS12})
	if err != nil || c.conn.ConnectionState().CipherSuite != cfg.TLS.CipherSuites[0] {
		t.Errorf("suite of %v: %v", c, err)
	}
}
