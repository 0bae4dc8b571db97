package http1

import (
	"errors"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/proxyproto"
)

// awaitsProxyHeader reports whether a connection must begin with a PROXY header
// that has not arrived yet.
func (s *Session) awaitsProxyHeader(c *engine.Conn) bool {
	i := c.Listener()
	return s.cfg.Proxied != nil && i >= 0 && s.cfg.Proxied[i] && !c.Named()
}

// proxyHeader takes the PROXY header of a connection. What is none, or comes from
// a peer that has no business to send one, ends in a reset: an answer would go to
// a proxy that takes it for that of a request.
func (s *Session) proxyHeader(c *engine.Conn, p []byte) int {
	t := &s.cfg.Trust
	peer := c.RemoteAddr()
	if t.Any() && !t.TrustsPeer(peer.Addr(), s.onUnix(c)) {
		s.badProxyHeader(c, errors.New("the peer is no trusted proxy"))
		return len(p)
	}
	n, client, named, err := proxyproto.Parse(p)
	switch {
	case err != nil:
		s.badProxyHeader(c, err)
		return len(p)
	case n == 0:
		return 0
	case named:
		peer = client
	}
	c.SetRemoteAddr(peer)
	c.Preface() // as nginx counts: the time for a request has begun with the connection
	return n
}

func (s *Session) badProxyHeader(c *engine.Conn, err error) {
	s.rec.Stats.ProxyErrors++
	s.cfg.Log.Debug("PROXY header refused", "peer", c.RemoteAddr().String(), "err", err)
	c.Reset()
}
