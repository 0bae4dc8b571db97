package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"
)

// chain makes certificates that are valid in some spans; the first is the leaf.
func chain(t *testing.T, spans ...[2]time.Time) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out := &tls.Certificate{}
	for _, s := range spans {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: s[0], NotAfter: s[1]}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		out.Certificate = append(out.Certificate, der)
	}
	if out.Leaf, err = x509.ParseCertificate(out.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestExpiryIsWarnedOf(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	span := func(days int) [2]time.Time { return [2]time.Time{begin, begin.Add(time.Duration(days) * day)} }
	quarter, week, whole := chain(t, span(90)), chain(t, span(6)), chain(t, span(90), span(30))
	for _, c := range []struct {
		cert *tls.Certificate
		at   time.Duration
		want string // of the line
	}{
		{quarter, 0, ""},
		{quarter, 76 * day, ""},
		{quarter, 76*day + 1, "level=WARN msg=\"the TLS certificate expires soon\""},
		{quarter, 90*day - 1, "level=WARN"},
		{quarter, 90 * day, "level=ERROR msg=\"THE TLS CERTIFICATE HAS EXPIRED\""},
		{quarter, -1, "level=ERROR msg=\"THE TLS CERTIFICATE IS NOT VALID YET\""},
		{week, 4 * day, ""},
		{week, 5 * day, "expires=2026-01-07T00:00:00.000Z in=24h0m0s"},
		{whole, 15 * day, ""},
		{whole, 23 * day, "expires=2026-01-31"},
		{whole, 30 * day, "EXPIRED"},
	} {
		var out bytes.Buffer
		k := &keyPair{log: slog.New(slog.NewTextHandler(&out, nil))}
		k.cert.Store(c.cert)
		k.warn(begin.Add(c.at))
		if got := out.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("at %v: %q, want %q", c.at, got, c.want)
		}
	}
}
