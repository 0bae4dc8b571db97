package server

import (
	"errors"
	"fmt"

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
	// MaxConns bounds the connections; more are closed at once. Default 10,000.
	MaxConns int
	// MaxHandshakes bounds those of them whose handshake is under way; one more ends the
	// oldest. Default 1,000, or an eighth of the descriptor limit if that is less.
	MaxHandshakes int
}

// TLSStats counts TLS connections.
type TLSStats = tls.Stats

// startTLS binds the TLS listeners, if there are any, but for those that were
// inherited.
func (s *Server) startTLS(inherited engine.Sockets) (err error) {
	c, e := &s.cfg, s.engine.Config()
	if len(c.TLS.Listen) == 0 {
		return nil
	}
	s.tls, err = tls.New(tls.Config{
		Listen: c.TLS.Listen, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, MaxConns: c.TLS.MaxConns, MaxHandshakes: c.TLS.MaxHandshakes,
		Engine: s.engine, Log: c.Log, Trust: c.Trust, Proxied: c.ProxyProtocol,
		Congestion: c.Engine.Congestion, Inherit: inherited, Handshake: e.HeaderTimeout, Send: e.SendTimeout,
	})
	if errors.Is(err, tls.ErrConfig) {
		err = fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return err
}

// TLSStats returns the counters of the TLS listeners.
func (s *Server) TLSStats() TLSStats { return s.tls.Stats() }
