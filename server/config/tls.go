package config

import (
	crypto "crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/http2"
)

// TLS are the listeners that speak TLS.
type TLS struct {
	// Listen are the addresses to listen on, HOST:PORT. Default: none.
	Listen []string `key:"listen" flag:"tls-listen" sep:"," help:"addresses to listen on for TLS, host:port; repeatable"`
	// Cert is the file of the certificate and its chain, PEM. It is read anew
	// when it changes; the last good pair stays in use if it cannot be used. Clients get it
	// that name no server, or one without certificates of its own. An answer of OCSP in a file
	// beside it, whose name has .ocsp behind (DER), is stapled for as long as it counts: so for
	// every certificate. Default: none; such clients are refused then.
	Cert string `key:"cert" flag:"tls-cert" file:"file" live:"yes" help:"file of the certificate and its chain, PEM; read anew when it changes"`
	// Key is the file of the certificate's key, PEM. Default: none.
	Key string `key:"key" flag:"tls-key" file:"file" live:"yes" help:"file of the certificate's key, PEM; read anew when it changes"`
	// Pairs are more certificates beside cert and key, each with its key: {cert: FILE, key:
	// FILE}. Of several a client gets the first that it can use, so ECDSA stands before RSA.
	// Default: none.
	Pairs []KeyPair `key:"pairs" flag:"tls-pair" live:"yes" help:"CERT=KEY: another certificate with its key, of which clients get the first that they can use; repeatable"`
	// UnknownName says what clients get that name no server of hosts, or none at all: default
	// (the certificate of cert) or refuse (the alert unrecognized_name). Default: default.
	UnknownName UnknownName `key:"unknown_name" flag:"tls-unknown-name" live:"yes" help:"what clients get that name no server of hosts: default (the certificate) or refuse"`
	// MinVersion is the least version of TLS that is spoken: 1.2 or 1.3. Default: 1.2.
	MinVersion TLSVersion `key:"min_version" flag:"tls-min-version" live:"yes" help:"least version of TLS that is spoken: 1.2 or 1.3"`
	// Ciphers are the suites of TLS 1.2, by their names (TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	// or as OpenSSL has them (ECDHE-RSA-AES128-GCM-SHA256). Their order does not count, and
	// those of TLS 1.3 are not chosen. Default: none, which stands for all that are secure.
	Ciphers []Cipher `key:"ciphers" flag:"tls-ciphers" sep:"," live:"yes" help:"cipher suites of TLS 1.2 (default: all that are secure); repeatable"`
	// MaxHandshakes is how many handshakes may be under way; one more ends the oldest, so
	// that clients which say nothing keep nobody out. Default: 0, which stands for 1,000, or
	// an eighth of the descriptors that the process may have if that is less.
	MaxHandshakes int `key:"max_handshakes" flag:"tls-max-handshakes" help:"TLS handshakes that may be under way; one more ends the oldest (default 1000)"`
	// Kernel has the kernel seal what connections of TLS 1.3 send (kTLS), where it can: files go
	// without a copy then. A client that asks for new keys is cut off. The start line and fserve doctor
	// say what keeps the kernel from it. Default: false.
	Kernel bool `key:"kernel" flag:"tls-kernel" help:"has the kernel seal what is sent over TLS 1.3 (kTLS), where it can"`
	// HTTP2 offers HTTP/2 to clients beside HTTP/1.1. One large file has no advantage of it; many
	// small ones come by one connection. Default: false.
	HTTP2 bool `key:"http2" flag:"tls-http2" live:"yes" help:"offer HTTP/2 beside HTTP/1.1"`
}

// KeyPair is a certificate with its key.
type KeyPair struct {
	// Cert is the file of the certificate and its chain, PEM.
	Cert string `key:"cert" file:"file" required:"yes"`
	// Key is the file of its key, PEM.
	Key string `key:"key" file:"file" required:"yes"`
}

func (p KeyPair) String() string { return p.Cert + "=" + p.Key }

// Set reads CERT=KEY.
func (p *KeyPair) Set(s string) error {
	cert, key, ok := pair(s)
	if !ok {
		return fmt.Errorf("%q is not {cert: FILE, key: FILE}", s)
	}
	*p = KeyPair{cert, key}
	return nil
}

// UnknownName says what clients get that name no server.
type UnknownName uint8

const (
	UnknownNameDefault UnknownName = iota // the default certificate
	UnknownNameRefuse                     // an alert
)

// TLSVersion is a version of TLS that is spoken.
type TLSVersion uint8

// Before 1.2 they are broken (RFC 8996).
const (
	TLSVersion12 TLSVersion = iota
	TLSVersion13
)

// Cipher is a suite of TLS 1.2 by its number.
type Cipher uint16

// Set reads the name of a suite.
func (c *Cipher) Set(s string) error {
	var names []string
	for _, suite := range crypto.CipherSuites() {
		switch {
		case s != suite.Name && !strings.EqualFold(s, openSSLName(suite.Name)):
			names = append(names, suite.Name)
			continue
		case !slices.Contains(suite.SupportedVersions, crypto.VersionTLS12):
			return fmt.Errorf("%s is a suite of TLS 1.3, which are not chosen: all of them are good", s)
		}
		*c = Cipher(suite.ID)
		return nil
	}
	for _, suite := range crypto.InsecureCipherSuites() {
		if s == suite.Name || strings.EqualFold(s, openSSLName(suite.Name)) {
			return fmt.Errorf("%s is not secure", s)
		}
	}
	if strings.Contains(s, ":") {
		return fmt.Errorf("%q: suites are a list, [A, B]", s)
	}
	return fmt.Errorf("%q is not the name of a cipher suite%s", s, DidYouMean(s, names))
}

func (c Cipher) String() string { return crypto.CipherSuiteName(uint16(c)) }

// openSSLName is what OpenSSL, and nginx with it, calls a suite.
func openSSLName(name string) string {
	return strings.NewReplacer("TLS_RSA_WITH_3DES_EDE_CBC", "DES-CBC3", "TLS_RSA_WITH_", "", "TLS_", "", "WITH_", "", "AES_", "AES",
		"_CBC", "", "POLY1305_SHA256", "POLY1305", "_", "-").Replace(name)
}

// tlsOf returns the listeners as a server has them.
func (c *Config) tlsOf() server.TLS {
	t := &c.TLS
	out := server.TLS{
		Listen: t.Listen, CertFile: t.Cert, KeyFile: t.Key, Pairs: serverPairs(t.Pairs), HostPairs: make(map[string][]server.KeyPair),
		RefuseUnknown: t.UnknownName == UnknownNameRefuse, MaxHandshakes: t.MaxHandshakes, Kernel: t.Kernel, MinVersion: crypto.VersionTLS12 + uint16(t.MinVersion),
	}
	if t.HTTP2 {
		out.HTTP2 = http2.Protocol{}
	}
	for _, suite := range t.Ciphers {
		out.CipherSuites = append(out.CipherSuites, uint16(suite))
	}
	for name, h := range c.Hosts {
		if len(h.TLS) > 0 {
			out.HostPairs[name] = serverPairs(h.TLS)
		}
	}
	return out
}

func serverPairs(pairs []KeyPair) (list []server.KeyPair) {
	for _, p := range pairs {
		list = append(list, server.KeyPair{CertFile: p.Cert, KeyFile: p.Key})
	}
	return list
}

// tls checks what belongs together.
func (v *validator) tls() {
	t := &v.TLS
	own := false
	for _, name := range slices.Sorted(maps.Keys(v.Hosts)) {
		if len(v.Hosts[name].TLS) == 0 {
			continue
		}
		own = true
		_, id := nameOf(name)
		h := v.Hosts[name]
		switch at := v.listensOf(id, &h); {
		case len(t.Listen) == 0:
			v.form("hosts["+name+"].tls", "there is no --tls-listen (listen of tls in the file) at which it could be used")
		case len(at) > 0 && !slices.ContainsFunc(at, func(addr string) bool { return slices.Contains(t.Listen, addr) }):
			v.form("hosts["+name+"].tls", "the host listens at no address of tls.listen")
		}
	}
	switch {
	case (t.Cert == "") != (t.Key == ""):
		v.form(v.firstGiven("tls.cert", "tls.key"), "--tls-cert and --tls-key belong together (cert and key of tls in the file)")
	case len(t.Listen) == 0 && t.Cert != "":
		v.form(v.firstGiven("tls.cert", "tls.key"), "there is no --tls-listen (listen of tls in the file) at which it could be used")
	case len(t.Listen) > 0 && t.Cert == "" && !own:
		v.form("tls.listen", "--tls-listen needs a certificate: --tls-cert and --tls-key (cert and key of tls in the file), or tls of a host")
	case len(t.Pairs) > 0 && t.Cert == "":
		v.form("tls.pairs", "they stand beside cert and key, which are missing")
	}
	if t.MaxHandshakes < 0 {
		v.form("tls.max_handshakes", "%d: --tls-max-handshakes must not be negative", t.MaxHandshakes)
	}
}
