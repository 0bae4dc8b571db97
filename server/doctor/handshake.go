package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// handshakeTime bounds one handshake and what is heard after it.
	handshakeTime = 5 * time.Second
	// expirySoon is how long before its end a certificate is a warning.
	expirySoon = 14 * 24 * time.Hour
)

// shaker makes handshakes with one server.
type shaker struct {
	addr, name string
	roots      *x509.CertPool // nil: the system's
}

// TLS looks at a server of TLS as its clients see it, at an address HOST:PORT. name is whom they
// ask for; empty: HOST. The error is that nothing answers there.
func TLS(ctx context.Context, addr, name string) (Report, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = host
	}
	return (&shaker{addr: addr, name: name}).examine(ctx)
}

func (s *shaker) examine(ctx context.Context) (Report, error) {
	state, err := s.shake(ctx, &tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return nil, err
	}
	r := Report{s.versions(ctx), s.suites(ctx)}
	r = append(r, s.chain(state), expires(state.PeerCertificates, time.Now()))
	r = append(r, s.resumption(ctx), protocol(state), stapled(state))
	return r, nil
}

// shake makes one handshake as cfg says.
func (s *shaker) shake(ctx context.Context, cfg *tls.Config) (*tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	cfg.ServerName, cfg.InsecureSkipVerify = s.name, true // the chain is a finding of its own
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS10
	}
	conn := tls.Client(tcp, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if cfg.ClientSessionCache != nil { // the ticket of TLS 1.3 comes with what follows
		_ = conn.SetDeadline(time.Now().Add(handshakeTime))
		_, err = fmt.Fprintf(conn, "HEAD / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.name)
		for p := make([]byte, 4<<10); err == nil; {
			_, err = conn.Read(p)
		}
	}
	state := conn.ConnectionState()
	return &state, nil
}

// offers reports whether the server accepts nothing but a version, and of it one suite; 0: any.
func (s *shaker) offers(ctx context.Context, version, suite uint16) bool {
	cfg := &tls.Config{MinVersion: version, MaxVersion: version}
	if suite != 0 {
		cfg.CipherSuites = []uint16{suite}
	}
	_, err := s.shake(ctx, cfg)
	return err == nil
}

func (s *shaker) versions(ctx context.Context) Finding {
	f := Finding{Name: "versions", Status: OK}
	var names []string
	offered := make(map[uint16]bool)
	for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
		if s.offers(ctx, v, 0) {
			offered[v] = true
			names = append(names, tls.VersionName(v))
		}
	}
	f.Found = strings.Join(names, ", ")
	switch {
	case offered[tls.VersionTLS10] || offered[tls.VersionTLS11]:
		f.Status, f.Lost, f.Mend = Warning, "what TLS 1.0 and 1.1 do not protect (RFC 8996)", "tls.min_version: 1.2"
	case !offered[tls.VersionTLS13]:
		f.Status, f.Lost, f.Mend = Warning, "a round trip for each new connection, and the better suites", "a server that speaks TLS 1.3"
	}
	return f
}

// suites says which of TLS 1.2 there are; those of 1.3 are all good.
func (s *shaker) suites(ctx context.Context) Finding {
	f := Finding{Name: "suites of TLS 1.2", Status: OK, Found: "none: it is not spoken"}
	var good, bad []string
	for _, c := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(c.SupportedVersions, tls.VersionTLS12) || !s.offers(ctx, tls.VersionTLS12, c.ID) {
			continue
		}
		if c.Insecure {
			bad = append(bad, c.Name)
		} else {
			good = append(good, c.Name)
		}
	}
	if all := slices.Concat(good, bad); len(all) > 0 {
		f.Found = strings.Join(all, ", ")
	}
	if len(bad) > 0 {
		f.Status, f.Lost, f.Mend = Warning, "what "+strings.Join(bad, ", ")+" do not protect", "tls.ciphers without them"
	}
	return f
}

// chain says whether clients can verify who the server is.
func (s *shaker) chain(state *tls.ConnectionState) Finding {
	leaf := state.PeerCertificates[0]
	f := Finding{Name: "certificate", Status: OK, Found: fmt.Sprintf("of %s, by %s, %s, %d in the chain",
		strings.Join(slices.Concat(leaf.DNSNames, texts(leaf.IPAddresses)), ", "), leaf.Issuer, leaf.PublicKeyAlgorithm, len(state.PeerCertificates))}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: s.name, Intermediates: between, Roots: s.roots})
	if err == nil {
		return f
	}
	f.Status, f.Lost = Warning, "clients that verify: "+err.Error()
	f.Mend = "a certificate of a known authority, with all between them in the file of tls.cert"
	var name x509.HostnameError
	if errors.As(err, &name) {
		f.Mend = "a certificate that has the name " + s.name
	}
	return f
}

func texts[T fmt.Stringer](list []T) (out []string) {
	for _, v := range list {
		out = append(out, v.String())
	}
	return out
}

// expires says until when all of the chain is valid.
func expires(chain []*x509.Certificate, now time.Time) Finding {
	first := chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	left := first.Sub(now)
	f := Finding{Name: "expiry", Status: OK, Found: fmt.Sprintf("%s, in %d days", first.UTC().Format(time.DateTime), int(left.Hours()/24))}
	switch {
	case left <= 0:
		f.Status, f.Found, f.Lost, f.Mend = Warning, "expired at "+first.UTC().Format(time.DateTime), "all clients that verify", "a new certificate"
	case left < min(expirySoon, chain[0].NotAfter.Sub(chain[0].NotBefore)/4):
		f.Status, f.Lost, f.Mend = Warning, "all clients that verify, soon", "a new certificate, which is read when its file changes"
	}
	return f
}

// resumption says whether a session is resumed, by each version.
func (s *shaker) resumption(ctx context.Context) Finding {
	f := Finding{Name: "resumption", Status: OK}
	var does, not []string
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		var state *tls.ConnectionState
		var err error
		for range 2 {
			if state, err = s.shake(ctx, &tls.Config{MinVersion: v, MaxVersion: v, ClientSessionCache: cache}); err != nil {
				break
			}
		}
		switch {
		case err != nil: // not spoken
		case state.DidResume:
			does = append(does, tls.VersionName(v))
		default:
			not = append(not, tls.VersionName(v))
		}
	}
	f.Found = "by " + strings.Join(does, ", ")
	if len(does) == 0 {
		f.Found = "none"
	}
	if len(not) > 0 {
		f.Status, f.Lost, f.Mend = Note, "a signature for each new connection by "+strings.Join(not, ", "), "session tickets, or one server behind the address"
	}
	return f
}

func protocol(state *tls.ConnectionState) Finding {
	f := Finding{Name: "ALPN", Status: OK, Found: state.NegotiatedProtocol}
	if f.Found == "" {
		f.Found = "none: HTTP/1.1"
	}
	return f
}

func stapled(state *tls.ConnectionState) Finding {
	f := Finding{Name: "OCSP", Status: OK, Found: "nothing is stapled"}
	if len(state.OCSPResponse) == 0 {
		return f
	}
	var issuer *x509.Certificate
	if len(state.PeerCertificates) > 1 {
		issuer = state.PeerCertificates[1]
	}
	switch r, err := ocsp.ParseResponseForCert(state.OCSPResponse, state.PeerCertificates[0], issuer); {
	case err != nil:
		f.Status, f.Found = Warning, "what is stapled is no answer: "+err.Error()
	case r.Status != ocsp.Good:
		f.Status, f.Found = Warning, "what is stapled says that the certificate is not good"
	case !time.Now().Before(r.NextUpdate):
		f.Status, f.Found = Warning, "what is stapled has counted until "+r.NextUpdate.UTC().Format(time.DateTime)
	default:
		f.Found = "stapled, counts until " + r.NextUpdate.UTC().Format(time.DateTime)
		return f
	}
	f.Lost, f.Mend = "clients that look at it", "a new answer in the file of the certificate with .ocsp behind, or none"
	return f
}
