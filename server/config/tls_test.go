package config

import (
	"crypto/tls"
	"testing"
)

// The suites have the names that are on OpenSSL's page ciphers(1).
func TestCipherNames(t *testing.T) {
	for name, want := range map[string]uint16{
		"ECDHE-ECDSA-AES128-GCM-SHA256":           tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES256-GCM-SHA384":             tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		"ecdhe-rsa-chacha20-poly1305":             tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-RSA-AES128-SHA":                    tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	} {
		var c Cipher
		if err := c.Set(name); err != nil || uint16(c) != want {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for _, name := range []string{"AES128-SHA", "DES-CBC3-SHA", "ECDHE-RSA-RC4-SHA", "TLS_RSA_WITH_AES_128_GCM_SHA256", "x", ""} {
		var c Cipher
		if err := c.Set(name); err == nil {
			t.Errorf("%s is taken for %v", name, c)
		}
	}
}
