package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/fserve/fserve/server/config"
)

// expiryNotice is how long before its end a certificate is warned of, or a fourth of its life if
// that is less.
const expiryNotice = 14 * 24 * time.Hour

// expiries says which certificates are not valid at now, or not for long. Those that cannot be read
// are faults, which checkMachine finds.
func expiries(l *config.Loaded, now time.Time) (list []string) {
	look := func(path string, p config.KeyPair) {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return
		}
		for _, der := range pair.Certificate {
			if c, err := x509.ParseCertificate(der); err == nil && notice(c, now) != "" {
				list = append(list, l.Problem(path, fmt.Errorf("warning: %s: %s (%s)", p.Cert, notice(c, now), c.Subject)).Error())
			}
		}
	}
	if l.TLS.Cert != "" {
		look("tls.cert", config.KeyPair{Cert: l.TLS.Cert, Key: l.TLS.Key})
	}
	for i, p := range l.TLS.Pairs {
		look(fmt.Sprintf("tls.pairs[%d]", i), p)
	}
	for name, h := range l.Hosts {
		for i, p := range h.TLS {
			look(fmt.Sprintf("hosts[%s].tls[%d]", name, i), p)
		}
	}
	return list
}

// notice says what is wrong with the time of a certificate; empty: nothing is.
func notice(c *x509.Certificate, now time.Time) string {
	switch begin, end := c.NotBefore, c.NotAfter; {
	case now.After(end):
		return "it has expired on " + end.Format(time.DateOnly)
	case now.Before(begin):
		return "it is valid from " + begin.Format(time.DateOnly) + " on"
	case end.Sub(now) < min(expiryNotice, end.Sub(begin)/4):
		return "it expires on " + end.Format(time.DateOnly)
	}
	return ""
}
