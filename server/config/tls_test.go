package config

import (
	"crypto/tls"
	"fmt"
	"strings"
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

func TestHSTSText(t *testing.T) {
	for text, want := range map[string]string{
		"1y": "max-age=31536000", "1y subdomains": "max-age=31536000; includeSubDomains", "2y subdomains preload": "max-age=63072000; includeSubDomains; preload",
		"90d": "max-age=7776000", "5m": "max-age=300", "0s": "max-age=0", "off": "",
	} {
		var h HSTS
		if err := h.Set(text); err != nil || h.value() != want || h.String() != text {
			t.Errorf("%s: %q, %s, %v", text, h.value(), h, err)
		}
	}
	for _, text := range []string{"", "1", "1y all", "y", "-1s", "101y", "99999999999999s"} {
		if err := new(HSTS).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	dir := t.TempDir()
	write(t, dir, "f.yaml", `
root: /r
hsts: 1y preload
hosts:
  a: {hsts: {max_age: 1x, subdomain: true}}
  b: {hsts: off}
`)
	_, err := sources(t, nil, "--config", dir+"/f.yaml").Load()
	want := "f.yaml:3:7: hsts: it is for encrypted answers, and there is no --tls-listen (listen of tls in the file)\n" +
		"f.yaml:5:23: hosts[a].hsts.max_age: \"1x\" is not a time with its unit, like 1y, 180d or 3600s\n" +
		"f.yaml:5:27: hosts[a].hsts: unknown key \"subdomain\"; did you mean subdomains?"
	if got := strings.ReplaceAll(fmt.Sprint(err), dir+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	write(t, dir, "f.yaml", "root: /r\ntls: {listen: ':443', cert: c, key: k}\nhsts: {max_age: 2y, subdomains: true, preload: true}\nhosts: {a: {hsts: off}, b: {hsts: 0s}, c: {locations: {/d/: {}}}}")
	l := load(t, sources(t, nil, "--config", dir+"/f.yaml"))
	c := l.Server()
	for i, want := range []string{"", "max-age=0", "max-age=63072000; includeSubDomains; preload"} {
		if got := c.Hosts[i].HSTS; got != want {
			t.Errorf("host %d: %q, want %q", i, got, want)
		}
	}
	if got := c.Hosts[2].Locations[0].HSTS; got == "" {
		t.Error("a location has not that of its host")
	}
	out, err := Rendering{}.Render(l.Config)
	for _, want := range []string{"hsts: {max_age: 2y, subdomains: true, preload: true}\n", "    hsts: off\n", "    hsts: {max_age: 0s}\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%v; without %q:\n%s", err, want, out)
		}
	}
}
