package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	crypto "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// issued is a certificate with its issuer, in files.
type issued struct {
	cert, key  string
	leaf, ca   *x509.Certificate
	authority  *ecdsa.PrivateKey
	begin, end time.Time
}

func issue(t *testing.T) *issued {
	t.Helper()
	dir := t.TempDir()
	i := &issued{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), begin: time.Now().Add(-time.Hour), end: time.Now().Add(time.Hour)}
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: i.begin, NotAfter: i.end, IsCA: true, BasicConstraintsValid: true}
	ca, err3 := x509.CreateCertificate(rand.Reader, about, about, &authority.PublicKey, authority)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	i.authority = authority
	if i.ca, err = x509.ParseCertificate(ca); err != nil {
		t.Fatal(err)
	}
	about = &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: i.begin, NotAfter: i.end, DNSNames: []string{"a.example"}}
	leaf, err := x509.CreateCertificate(rand.Reader, about, i.ca, &key.PublicKey, authority)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if i.leaf, err = x509.ParseCertificate(leaf); err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	i.write(t, i.cert, append(block("CERTIFICATE", leaf), block("CERTIFICATE", ca)...))
	i.write(t, i.key, block("PRIVATE KEY", private))
	return i
}

func (i *issued) write(t *testing.T, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// answer is what the issuer says by OCSP.
func (i *issued) answer(t *testing.T, edit func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: i.leaf.SerialNumber, ThisUpdate: i.begin, NextUpdate: i.end}
	edit(&r)
	raw, err := ocsp.CreateResponse(i.ca, i.ca, r, i.authority)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// seen is what a handshake carries.
func seen(t *testing.T, cert *crypto.Certificate) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := crypto.Server(a, &crypto.Config{Certificates: []crypto.Certificate{*cert}})
	go func() { _ = server.Handshake() }()
	client := crypto.Client(b, &crypto.Config{InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.OCSPResponse()
}

// What counts is stapled; what does not is said, and the certificate is used without.
func TestStaple(t *testing.T) {
	i, other := issue(t), issue(t)
	for name, c := range map[string]struct {
		raw  []byte
		want string // of the line; "": it is stapled
	}{
		"good":        {i.answer(t, func(*ocsp.Response) {}), ""},
		"rubbish":     {[]byte("no answer"), "err="},
		"empty":       {nil, "err="},
		"of another":  {i.answer(t, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(8) }), "err="},
		"by another":  {other.answer(t, func(*ocsp.Response) {}), "err="},
		"revoked":     {i.answer(t, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, i.begin }), "REVOKED"},
		"unknown":     {i.answer(t, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), "does not know"},
		"old":         {i.answer(t, func(r *ocsp.Response) { r.NextUpdate = i.begin.Add(time.Minute) }), "has counted until"},
		"not yet":     {i.answer(t, func(r *ocsp.Response) { r.ThisUpdate = i.end.Add(-time.Minute) }), "counts from"},
		"without end": {i.answer(t, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), "has counted until"},
	} {
		i.write(t, i.cert+stapleSuffix, c.raw)
		var out bytes.Buffer
		k, err := newKeyPair(i.cert, i.key, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := c.raw
		if c.want != "" {
			want = nil
		}
		if got := seen(t, k.cert.Load()); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are stapled", name, len(got))
		}
		if line := out.String(); (line == "") != (c.want == "") || !strings.Contains(line, c.want) {
			t.Errorf("%s: %q", name, line)
		}
	}
}

// An answer comes and goes with its file, and goes with its time.
func TestStapleComesAndGoes(t *testing.T) {
	i := issue(t)
	var out bytes.Buffer
	k, err := newKeyPair(i.cert, i.key, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	look := func(what string, at time.Time, want []byte) {
		t.Helper()
		if got := k.current(at).OCSPStaple; !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes are stapled, want %d: %s", what, len(got), len(want), out.String())
		}
	}
	look("none", now.Add(2*time.Second), nil)
	first := i.answer(t, func(r *ocsp.Response) { r.NextUpdate = now.Add(time.Minute) })
	i.write(t, i.cert+stapleSuffix, first)
	look("the first", now.Add(4*time.Second), first)
	look("in time", now.Add(59*time.Second), first)
	look("too late", now.Add(61*time.Second), nil)
	second := i.answer(t, func(*ocsp.Response) {})
	i.write(t, i.cert+stapleSuffix, append(second, 0)[:len(second)])
	if err := os.Chtimes(i.cert+stapleSuffix, now, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	look("the second", now.Add(63*time.Second), second)
	if err := os.Remove(i.cert + stapleSuffix); err != nil {
		t.Fatal(err)
	}
	look("taken away", now.Add(65*time.Second), nil)
	if !strings.Contains(out.String(), "does not count any more") {
		t.Error(out.String())
	}
}
