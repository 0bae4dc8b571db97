package main

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestExpiryNotice(t *testing.T) {
	const day = 24 * time.Hour
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		life, at time.Duration
		want     string
	}{
		{90 * day, day, ""}, {90 * day, 75 * day, ""}, {90 * day, 77 * day, "it expires on 2026-04-01"}, {90 * day, 91 * day, "it has expired on 2026-04-01"},
		{90 * day, -day, "it is valid from 2026-01-01 on"}, {6 * day, 4 * day, ""}, {6 * day, 5 * day, "it expires on 2026-01-07"},
	} {
		c := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(test.life)}
		if got := notice(c, begin.Add(test.at)); got != test.want {
			t.Errorf("life of %v at %v: %q, want %q", test.life, test.at, got, test.want)
		}
	}
}
