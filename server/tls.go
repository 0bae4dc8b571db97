package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/tls"
)

// TLS configures listeners that speak TLS (1.2 and later, HTTP/1.1 by ALPN).
type TLS struct {
	// Listen are TCP addresses, host:port.
	Listen []string
	// CertFile and KeyFile are PEM files: the certificate with its chain, and
	// its key. Handshakes look at most once a second whether they have changed,
	// and go on with the last good pair if the new one cannot be used.
	CertFile, KeyFile string
	// Pairs are more of them. Of several a client gets the first that it can use.
	Pairs []KeyPair
	// HostPairs are those of hosts, by Host.ID or the first of Host.Names, in place of the ones above. Those
	// of another name are refused.
	HostPairs map[string][]KeyPair
	// RefuseUnknown refuses clients that name none of Config.Hosts in the handshake. Without
	// it they get the pairs above; if there are none they are refused, too.
	RefuseUnknown bool
	// MinVersion and CipherSuites (of TLS 1.2) are as in package crypto/tls. Default: TLS 1.2
	// and the suites of that package.
	MinVersion   uint16
	CipherSuites []uint16
	// MaxConns bounds the connections; more are closed at once. Default 10,000.
	MaxConns int
	// MaxHandshakes bounds those of them whose handshake is under way; one more ends the
	// oldest. Default 1,000, or an eighth of the descriptor limit if that is less.
	MaxHandshakes int
	// Kernel has the kernel seal what connections of TLS 1.3 send, where it can (TLSInKernel); what they
	// receive the loops open. A connection whose peer asks for new keys ends then.
	Kernel bool
	// HTTP2 is offered to clients beside HTTP/1.1: http2.Protocol of package server/http2. nil: it
	// is not.
	HTTP2 tls.HTTP2
}

// KeyPair names the PEM files of a certificate with its chain, and of its key.
type KeyPair = tls.Pair

// TLSStats counts TLS connections.
type TLSStats = tls.Stats

// front returns what the TLS listeners are made with, but for the engine.
func (c *Config) front() tls.Config {
	t := &c.TLS
	return tls.Config{
		Listen: t.Listen, Certificates: c.certificates(), MaxConns: t.MaxConns, MaxHandshakes: t.MaxHandshakes, Kernel: t.Kernel,
		Log: c.Log, Trust: c.Trust, Proxied: c.ProxyProtocol, Congestion: c.Engine.Congestion,
	}
}

// certificates returns who the hosts prove to be. Their names must have been checked.
func (c *Config) certificates() tls.Certificates {
	t := &c.TLS
	out := tls.Certificates{HTTP2: t.HTTP2, RefuseUnknown: t.RefuseUnknown, MinVersion: t.MinVersion, CipherSuites: t.CipherSuites, Default: t.Pairs}
	if t.CertFile != "" || t.KeyFile != "" {
		out.Default = append([]KeyPair{{CertFile: t.CertFile, KeyFile: t.KeyFile}}, t.Pairs...)
	}
	for i := range c.Hosts {
		from := &c.Hosts[i]
		h := tls.HostPairs{Default: from.Default}
		for _, addr := range from.Listen {
			if slices.Contains(t.Listen, addr) {
				h.Listen = append(h.Listen, addr)
			}
		}
		for _, name := range from.Names {
			if same, err := CheckHostName(name); err == nil {
				h.Names = append(h.Names, same)
			}
		}
		if len(h.Names) > 0 && (from.Listen == nil || h.Listen != nil) {
			h.Host, h.Pairs = cmp.Or(from.ID, h.Names[0]), t.HostPairs[keyOf(from)]
			out.Hosts = append(out.Hosts, h)
		}
	}
	return out
}

// keyOf returns what a host with names is called in TLS.HostPairs, and in errors.
func keyOf(h *Host) string { return cmp.Or(h.ID, h.Names[0]) }

// checkHostPairs reports pairs that no handshake would find.
func (t *TLS) checkHostPairs(hosts []Host) error {
	for name := range t.HostPairs {
		if !slices.ContainsFunc(hosts, func(h Host) bool { return len(h.Names) > 0 && keyOf(&h) == name }) {
			return fmt.Errorf("%w: TLS.HostPairs: %q is neither ID nor first name of a host", ErrConfig, name)
		}
	}
	return nil
}

// checkTLS reports what New would refuse about TLS, without binding anything.
func (c *Config) checkTLS() error {
	if len(c.TLS.Listen) == 0 {
		return nil
	}
	front := c.front()
	front.Log = slog.Default()
	err := front.Check()
	if many, ok := err.(interface{ Unwrap() []error }); ok && errors.As(err, new(*tls.PairFault)) {
		var faults []error
		for _, e := range many.Unwrap() {
			faults = append(faults, c.certFault(e))
		}
		return errors.Join(faults...)
	}
	return c.certFault(err)
}

// certFault names the value that a fault of the certificates is about.
func (c *Config) certFault(err error) error {
	if err == nil {
		return nil
	}
	f := &Fault{Key: "tls.cert", Err: err}
	var pair *tls.PairFault
	if !errors.As(err, &pair) {
		return fmt.Errorf("%w: %w", ErrConfig, f)
	}
	f.Err = pair.Err
	list := c.TLS.Pairs
	for i := range c.Hosts {
		h := &c.Hosts[i]
		if same, _ := CheckHostName(h.Names[0]); cmp.Or(h.ID, same) == pair.Host {
			f.Host, list = keyOf(h), c.TLS.HostPairs[keyOf(h)]
		}
	}
	for i, p := range list {
		switch {
		case p != pair.Pair:
		case f.Host == "":
			f.Key = fmt.Sprintf("tls.pairs[%d]", i)
		default:
			f.Key = fmt.Sprintf("tls[%d]", i)
		}
	}
	return fmt.Errorf("%w: %w", ErrConfig, f)
}

// startTLS binds the TLS listeners, if there are any, but for those that were
// inherited.
func (s *Server) startTLS(inherited engine.Sockets) (err error) {
	if len(s.cfg.TLS.Listen) == 0 {
		return nil
	}
	e, front := s.engine.Config(), s.cfg.front()
	front.Engine, front.Inherit, front.Handshake, front.Send, front.Idle = s.engine, inherited, e.HeaderTimeout, e.SendTimeout, e.IdleTimeout
	front.MaxHead = s.cfg.RequestLimits.MaxHead
	s.tls, err = tls.New(front)
	if errors.Is(err, tls.ErrConfig) {
		err = fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return err
}

// TicketKey is what session tickets are encrypted with.
type TicketKey = tls.TicketKey

// TicketKeys returns the keys of session tickets, for LearnTicketKeys of a successor; none
// without TLS listeners. They are secret. New ones come daily.
func (s *Server) TicketKeys() []TicketKey { return s.tls.TicketKeys() }

// LearnTicketKeys lets clients resume sessions that were begun with those keys.
func (s *Server) LearnTicketKeys(keys []TicketKey) { s.tls.LearnTicketKeys(keys) }

// TLSInKernel reports whether TLS.Kernel is set for listeners that there are, and if so why the kernel
// does not seal; nil: it does.
func (s *Server) TLSInKernel() (asked bool, refused error) { return s.tls.Kernel() }

// TLSStats returns the counters of the TLS listeners.
func (s *Server) TLSStats() TLSStats { return s.tls.Stats() }
