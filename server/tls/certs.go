package tls

import (
	"cmp"
	crypto "crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Certificates says who the servers behind the listeners prove to be, and how handshakes go.
type Certificates struct {
	// Default are the pairs for clients that name no server, or one that has none of its own.
	// Without any, such clients are refused.
	Default []Pair
	// Hosts have pairs by name.
	Hosts []HostPairs
	// RefuseUnknown refuses clients that name no server of Hosts, with the alert unrecognized_name.
	RefuseUnknown bool
	// MinVersion is the least version of TLS, as in package crypto/tls. Default: 1.2.
	MinVersion uint16
	// CipherSuites are those of TLS 1.2. Default: those of package crypto/tls.
	CipherSuites []uint16
	// HTTP2 is offered to clients; nil: HTTP/1.1 is spoken alone.
	HTTP2 HTTP2
}

// Pair names the PEM files of a certificate with its chain, and of its key.
type Pair struct{ CertFile, KeyFile string }

// HostPairs are the pairs of a host. Of several a client gets the first that it can use.
type HostPairs struct {
	// Names are the names of the host as package site finds it: in lower case, or
	// *.example.com for all names that end with .example.com.
	Names []string
	// Pairs may be empty: the host is known, and has the default ones.
	Pairs []Pair
	// Host is what the host is called in errors and counters.
	Host string
	// Listen are those of Config.Listen at which the host is. nil: all.
	Listen []string
	// Default makes the pairs, if there are any, also those for clients that name no known server.
	Default bool
}

// on reports whether the host is at a listener.
func (h *HostPairs) on(addr string) bool { return h.Listen == nil || slices.Contains(h.Listen, addr) }

// Has reports whether there is any pair.
func (c *Certificates) Has() bool {
	for i := range c.Hosts {
		if len(c.Hosts[i].Pairs) > 0 {
			return true
		}
	}
	return len(c.Default) > 0
}

// identity is what a host proves itself by.
type identity struct {
	host  string // its first name; "default"
	pairs []*keyPair
}

// policy is what handshakes go by. It is not changed: another takes its place.
type policy struct {
	of    Certificates
	pairs map[Pair]*keyPair
	all   []*identity // those with pairs
	faces []*face     // by listener
}

// face is what a listener shows.
type face struct {
	config  *crypto.Config
	tickets ticketsOf
	exact   map[string]*identity
	wild    map[string]*identity // by what follows the star: ".example.com"
	rest    *identity            // nil: who is not known is refused
	refuses bool
}

// newPolicy loads the pairs, but for those that before has; nil: there is none. listen are the
// addresses of the listeners.
func newPolicy(c Certificates, listen []string, before *policy, log *slog.Logger) (*policy, error) {
	p := &policy{of: c, pairs: make(map[Pair]*keyPair)}
	var faults []error
	load := func(host string, pairs []Pair) *identity {
		id := &identity{host: host}
		for _, files := range pairs {
			k := p.pairs[files]
			if k == nil && before != nil {
				k = before.pairs[files] // it may be the last good one of files that are broken by now
			}
			if k == nil {
				var err error
				if k, err = newKeyPair(files.CertFile, files.KeyFile, log); err != nil {
					faults = append(faults, &PairFault{Host: host, Pair: files, Err: err})
					continue
				}
			}
			p.pairs[files] = k
			id.pairs = append(id.pairs, k)
		}
		if len(id.pairs) > 0 {
			p.all = append(p.all, id)
		}
		return id
	}
	var rest *identity
	if len(c.Default) > 0 {
		rest = load(defaultHost, c.Default)
	}
	own := make([]*identity, len(c.Hosts)) // nil: none
	for i := range c.Hosts {
		if h := &c.Hosts[i]; len(h.Pairs) > 0 {
			own[i] = load(h.Host, h.Pairs)
		}
	}
	for _, addr := range listen {
		p.faces = append(p.faces, newFace(&c, addr, rest, own))
	}
	return p, errors.Join(faults...)
}

// newFace returns that of a listener. own are the identities of the hosts, rest is that of all others.
func newFace(c *Certificates, addr string, rest *identity, own []*identity) *face {
	f := &face{exact: make(map[string]*identity), wild: make(map[string]*identity), rest: rest, refuses: c.RefuseUnknown}
	for i := range c.Hosts {
		if h := &c.Hosts[i]; h.Default && own[i] != nil && h.on(addr) {
			f.rest = own[i]
		}
	}
	for i := range c.Hosts {
		h, id := &c.Hosts[i], cmp.Or(own[i], f.rest)
		if !h.on(addr) {
			continue
		}
		for _, name := range h.Names {
			if suffix, wild := strings.CutPrefix(name, "*"); wild {
				f.wild[suffix] = id
			} else {
				f.exact[name] = id
			}
		}
	}
	f.config = &crypto.Config{
		MinVersion: max(c.MinVersion, crypto.VersionTLS12), CipherSuites: c.CipherSuites, NextProtos: []string{"http/1.1"},
		GetCertificate: f.choose, UnwrapSession: f.unwrap, DynamicRecordSizingDisabled: true,
	}
	if c.HTTP2 != nil {
		f.config.NextProtos = []string{protocolHTTP2, "http/1.1"}
	}
	return f
}

// defaultHost names the default pairs.
const defaultHost = "default"

// PairFault is a pair that cannot be used. It wraps ErrConfig.
type PairFault struct {
	Host string // its first name; "default"
	Pair Pair
	Err  error
}

func (f *PairFault) Error() string {
	if f.Host == defaultHost {
		return fmt.Sprintf("%v: %v", ErrConfig, f.Err)
	}
	return fmt.Sprintf("%v: host %s: %v", ErrConfig, f.Host, f.Err)
}

func (f *PairFault) Unwrap() []error { return []error{ErrConfig, f.Err} }

// choose returns the certificate for a client. None lets package crypto/tls send the alert
// unrecognized_name.
func (f *face) choose(hello *crypto.ClientHelloInfo) (*crypto.Certificate, error) {
	id := f.find(strings.ToLower(hello.ServerName))
	if id == nil {
		return nil, nil //nolint:nilnil // see above
	}
	now := time.Now()
	if len(id.pairs) > 1 {
		able := *hello
		able.ServerName = "" // the name was looked at; what counts is what the client can
		for _, k := range id.pairs {
			if cert := k.current(now); able.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return id.pairs[0].current(now), nil
}

// unwrap returns the session of a ticket; nil: there is none for the client. TLS 1.3 asks for no
// certificate where a session is resumed, whoever the client names.
func (f *face) unwrap(ticket []byte, cs crypto.ConnectionState) (*crypto.SessionState, error) {
	if f.find(strings.ToLower(cs.ServerName)) == nil {
		return nil, nil //nolint:nilnil // choose refuses it
	}
	return f.config.DecryptTicket(ticket, cs)
}

// longestName bounds a name of DNS, in bytes. A hello has room for 60,000 dots, and to look up as
// many suffixes takes a core 85 ms.
const longestName = 253

// find returns the identity for a name in lower case; nil: it is refused. An exact name wins
// over a pattern, a longer pattern over a shorter one.
func (f *face) find(name string) *identity {
	if id, known := f.exact[name]; known {
		return id
	}
	for i := strings.IndexByte(name, '.'); i >= 0 && len(f.wild) > 0 && len(name) <= longestName; {
		if id, known := f.wild[name[i:]]; known && i > 0 {
			return id
		}
		next := strings.IndexByte(name[i+1:], '.')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	if f.refuses {
		return nil
	}
	return f.rest
}

// look looks at the files of all pairs, and warns of those that are not valid for long.
func (p *policy) look(now time.Time) {
	for _, k := range p.pairs {
		k.current(now) // nobody may have asked for it
		k.warn(now)
	}
}

// Expiry is when a certificate of a host, or one of its chain, ceases to be valid.
type Expiry struct {
	// Host is the first name of the host; "default" for the default pairs.
	Host string
	// At is the first of the ends.
	At time.Time
}

func (p *policy) expiries(now time.Time) []Expiry {
	out := make([]Expiry, 0, len(p.all))
	for _, id := range p.all {
		e := Expiry{Host: id.host}
		for _, k := range id.pairs {
			if at := expiry(k.current(now)); e.At.IsZero() || at.Before(e.At) {
				e.At = at
			}
		}
		out = append(out, e)
	}
	return out
}

// Replace makes handshakes go by other Certificates from now on. Those under way and
// connections go on. Without any pair, of which no listener could be, nothing changes, nor does
// it on error, which wraps ErrConfig.
func (f *Front) Replace(c Certificates) error {
	if f == nil || !c.Has() {
		return nil
	}
	before := f.policy.Load()
	if reflect.DeepEqual(before.of, c) {
		return nil // and sessions may be resumed
	}
	p, err := newPolicy(c, f.cfg.Listen, before, f.cfg.Log)
	if err != nil {
		return err
	}
	f.policy.Store(p)
	p.look(time.Now())
	return nil
}
