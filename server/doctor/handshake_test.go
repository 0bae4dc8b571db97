package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err2 := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	cert, err3 := x509.ParseCertificate(der)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

// issue returns a certificate that is valid from begin to end.
func (a *authority) issue(begin, end time.Duration) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	about := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{"a.example"}, NotBefore: time.Now().Add(begin), NotAfter: time.Now().Add(end)}
	der, err2 := x509.CreateCertificate(rand.Reader, about, a.cert, &key.PublicKey, a.key)
	if err := errors.Join(err, err2); err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
}

// staple adds an answer of OCSP.
func (a *authority) staple(c tls.Certificate, status int, until time.Duration) tls.Certificate {
	a.t.Helper()
	r := ocsp.Response{Status: status, SerialNumber: big.NewInt(7), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(until), RevokedAt: time.Now()}
	var err error
	if c.OCSPStaple, err = ocsp.CreateResponse(a.cert, a.cert, r, a.key); err != nil {
		a.t.Fatal(err)
	}
	return c
}

// A server is described as its clients see it, and what is wrong with it is a warning.
func TestTLS(t *testing.T) {
	const day = 24 * time.Hour
	a := newAuthority(t)
	good := a.issue(-time.Hour, 90*day)
	for _, c := range []struct {
		name   string
		server *tls.Config
		asks   string // empty: a.example
		// finding has this status, and says this.
		finding string
		status  Status
		found   string
	}{
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "versions", OK, "TLS 1.2, TLS 1.3"},
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "certificate", OK, "of a.example"},
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "expiry", OK, "in 89 days"},
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "resumption", OK, "by TLS 1.2, TLS 1.3"},
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "suites of TLS 1.2", OK, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
		{"good", &tls.Config{Certificates: []tls.Certificate{good}}, "", "OCSP", OK, "nothing"},
		{"old versions", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10}, "", "versions", Warning, "TLS 1.0, TLS 1.1, TLS 1.2"},
		{"no 1.3", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, "", "versions", Warning, "TLS 1.2"},
		{"1.3 only", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13}, "", "suites of TLS 1.2", OK, "not spoken"},
		{"RC4", &tls.Config{Certificates: []tls.Certificate{good}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}}, "", "suites of TLS 1.2", Warning, "RC4"},
		{"another name", &tls.Config{Certificates: []tls.Certificate{good}}, "b.example", "certificate", Warning, "of a.example"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{a.issue(-90*day, -day)}}, "", "expiry", Warning, "expired"},
		{"soon", &tls.Config{Certificates: []tls.Certificate{a.issue(-80*day, 10*day)}}, "", "expiry", Warning, "in 9 days"},
		{"no tickets", &tls.Config{Certificates: []tls.Certificate{good}, SessionTicketsDisabled: true}, "", "resumption", Note, "none"},
		{"h2", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2", "http/1.1"}}, "", "ALPN", OK, "h2"},
		{"stapled", &tls.Config{Certificates: []tls.Certificate{a.staple(good, ocsp.Good, day)}}, "", "OCSP", OK, "counts until"},
		{"an old answer", &tls.Config{Certificates: []tls.Certificate{a.staple(good, ocsp.Good, -time.Hour)}}, "", "OCSP", Warning, "has counted"},
		{"revoked", &tls.Config{Certificates: []tls.Certificate{a.staple(good, ocsp.Revoked, day)}}, "", "OCSP", Warning, "not good"},
	} {
		s := &shaker{addr: listenTLS(t, c.server), name: "a.example", roots: x509.NewCertPool()}
		s.roots.AddCert(a.cert)
		if c.asks != "" {
			s.name = c.asks
		}
		r, err := s.examine(t.Context())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		f := r.find(c.finding)
		if f.Status != c.status || !strings.Contains(f.Found, c.found) || (f.Lost == "") != (c.status == OK) || (f.Mend == "") != (c.status == OK) {
			t.Errorf("%s: %+v", c.name, f)
		}
		if c.name == "good" && !r.Healthy() {
			t.Errorf("%+v", r)
		}
	}
}

var discard = log.New(io.Discard, "", 0) // handshakes that fail are what this is about

// listenTLS runs a server until the test ends.
func listenTLS(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = cfg
	srv.Config.ErrorLog = discard
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// Where nobody speaks TLS there is nothing to describe.
func TestTLSIsNotThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, addr := range []string{ln.Addr().String(), plain.Listener.Addr().String(), "a.example"} {
		if r, err := TLS(context.Background(), addr, ""); err == nil {
			t.Errorf("%s: %+v", addr, r)
		}
	}
}
