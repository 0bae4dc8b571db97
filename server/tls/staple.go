package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"
)

// stapleSuffix is what the name of a certificate's file and that of the answer of OCSP for it differ
// by (RFC 6960, DER), as HAProxy has it: whoever renews the one writes the other.
const stapleSuffix = ".ocsp"

// staple has handshakes carry the answer of OCSP (RFC 6066 section 8), if there is one that counts. One that
// cannot be used costs the certificate nothing: that is said, and clients ask for themselves.
func (k *keyPair) staple(cert *tls.Certificate, now time.Time) {
	k.stapled = time.Time{}
	raw, err := os.ReadFile(k.certFile + stapleSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var until time.Time
	if err == nil {
		until, err = stapleUntil(raw, cert, now)
	}
	if err != nil {
		k.log.Warn("OCSP: no answer is stapled", "file", k.certFile+stapleSuffix, "err", err)
		return
	}
	cert.OCSPStaple, k.stapled = raw, until
}

// stapleUntil returns until when an answer counts.
func stapleUntil(raw []byte, cert *tls.Certificate, now time.Time) (time.Time, error) {
	var issuer *x509.Certificate // nil: the chain is not there, and clients check what we cannot
	if len(cert.Certificate) > 1 {
		var err error
		if issuer, err = x509.ParseCertificate(cert.Certificate[1]); err != nil {
			return time.Time{}, err
		}
	}
	r, err := ocsp.ParseResponseForCert(raw, cert.Leaf, issuer)
	switch {
	case err != nil:
		return time.Time{}, err
	case r.SerialNumber.Cmp(cert.Leaf.SerialNumber) != 0:
		return time.Time{}, errors.New("it is of another certificate")
	case r.Status == ocsp.Revoked:
		return time.Time{}, fmt.Errorf("THE CERTIFICATE WAS REVOKED at %v", r.RevokedAt.UTC())
	case r.Status != ocsp.Good:
		return time.Time{}, errors.New("it does not know the certificate")
	case now.Before(r.ThisUpdate):
		return time.Time{}, fmt.Errorf("it counts from %v on", r.ThisUpdate.UTC())
	case !now.Before(r.NextUpdate): // zero: there is a newer one at any time
		return time.Time{}, fmt.Errorf("it has counted until %v", r.NextUpdate.UTC())
	}
	return r.NextUpdate, nil
}

// unstaple takes an answer away that does not count any more: clients would refuse the handshake.
func (k *keyPair) unstaple(now time.Time) {
	if k.stapled.IsZero() || now.Before(k.stapled) {
		return
	}
	without := *k.cert.Load()
	without.OCSPStaple = nil
	k.cert.Store(&without)
	k.log.Warn("OCSP: the answer does not count any more, and none is stapled", "file", k.certFile+stapleSuffix, "until", k.stapled.UTC())
	k.stapled = time.Time{}
}
