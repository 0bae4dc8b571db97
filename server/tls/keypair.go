package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// keyPairPause is how long a certificate is believed without asking the file
// system.
const keyPairPause = time.Second

// keyPair is a certificate that is read anew when its files change.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger
	cert              atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held by the one who looks
	checked time.Time
	tried   [3]fileMark // of the files when they were read last, well or not
	fault   string      // of the last look; each is logged once
	stapled time.Time   // until when the answer of OCSP counts that handshakes carry; zero: they carry none
}

// fileMark tells a version of a file from others.
type fileMark struct {
	info  os.FileInfo // nil: there is no file
	size  int64
	mtime time.Time
}

func (m fileMark) same(o fileMark) bool {
	if m.info == nil || o.info == nil {
		return m.info == nil && o.info == nil
	}
	return m.size == o.size && m.mtime.Equal(o.mtime) && os.SameFile(m.info, o.info)
}

func newKeyPair(certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	k := &keyPair{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	marks, err := k.marks()
	if err != nil {
		return nil, err
	}
	k.tried = marks
	return k, k.load(k.checked)
}

// current returns the certificate to use at now. Whoever finds it due looks at
// the files; others go on with what there is.
func (k *keyPair) current(now time.Time) *tls.Certificate {
	if k.mu.TryLock() {
		if now.Sub(k.checked) >= keyPairPause {
			k.checked = now
			k.check(now)
		}
		k.mu.Unlock()
	}
	return k.cert.Load()
}

// check reads the files if they are not those that were read last. A pair of
// which one half is replaced does not match, and is read again with the other.
func (k *keyPair) check(now time.Time) {
	marks, err := k.marks()
	if err == nil {
		if marks[0].same(k.tried[0]) && marks[1].same(k.tried[1]) && marks[2].same(k.tried[2]) {
			k.unstaple(now)
			return
		}
		k.tried = marks
		err = k.load(now)
	}
	if err == nil {
		k.fault = ""
		k.log.Info("TLS certificate reloaded", "file", k.certFile)
		k.warn(time.Now())
		return
	}
	if err.Error() != k.fault {
		k.fault = err.Error()
		k.log.Error("TLS certificate not reloaded: going on with the last good one", "err", err)
	}
}

// marks is asked before the files are read: what changes in between is seen the
// next time.
func (k *keyPair) marks() (m [3]fileMark, err error) {
	for i, name := range []string{k.certFile, k.keyFile, k.certFile + stapleSuffix} {
		info, err := os.Stat(name)
		if i == len(m)-1 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return m, err
		}
		m[i] = fileMark{info, info.Size(), info.ModTime()}
	}
	return m, nil
}

func (k *keyPair) load(now time.Time) error {
	cert, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", k.certFile, k.keyFile, err)
	}
	k.staple(&cert, now)
	k.cert.Store(&cert)
	return nil
}

// expiry returns when a certificate, or one of its chain, ceases to be valid.
func expiry(cert *tls.Certificate) (first time.Time) {
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
	return first
}

// expiryNotice is how long before its end a certificate is warned of, or a fourth of its life if
// that is less: some live for six days.
const expiryNotice = 14 * 24 * time.Hour

// warn logs that the certificate is not valid at now, or not for long.
func (k *keyPair) warn(now time.Time) {
	cert := k.cert.Load()
	end, begin := expiry(cert), cert.Leaf.NotBefore
	args := []any{"file", k.certFile, "not_before", begin.UTC(), "expires", end.UTC()}
	switch {
	case now.Before(begin):
		k.log.Error("THE TLS CERTIFICATE IS NOT VALID YET", args...)
	case !now.Before(end):
		k.log.Error("THE TLS CERTIFICATE HAS EXPIRED", args...)
	case end.Sub(now) < min(expiryNotice, end.Sub(begin)/4):
		k.log.Warn("the TLS certificate expires soon", append(args, "in", end.Sub(now).Round(time.Minute))...)
	}
}
