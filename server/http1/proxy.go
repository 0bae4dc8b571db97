package http1

import (
	"errors"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/proxyproto"
)

// awaitsProxyHeader reports whether a connection must begin with a PROXY header
// that has not arrived yet.
func (s *Session) awaitsProxyHeader(c *loop.Conn) bool {
	i := c.Listener()
	return s.cfg.Proxied != nil && i >= 0 && s.cfg.Proxied[i] && !c.Named()
}

// proxyHeader takes the PROXY header of a connection. What is none, or comes from
// a peer that has no business to send one, ends in a reset: an answer would go to
// a proxy that takes it for that of a request.
func (s *Session) proxyHeader(c *loop.Conn, p []byte) int {
	n, err := s.nameClient(c, p)
	if err != nil {
		s.rec.Stats.ProxyErrors++
		s.cfg.Log.Debug("PROXY header refused", "peer", c.RemoteAddr().String(), "err", err)
		c.Reset()
		return len(p)
	}
	if n > 0 {
		c.Preface() // as nginx counts: the time for a request has begun with the connection
	}
	return n
}

var errUntrusted = errors.New("the peer is no trusted proxy")

// nameClient makes the client in the header at the beginning of p, which has n bytes,
// the peer of the connection; n is 0 if more bytes are needed.
func (s *Session) nameClient(c *loop.Conn, p []byte) (n int, err error) {
	t, peer := &s.cfg.Trust, c.RemoteAddr()
	if t.Any() && !t.TrustsPeer(peer.Addr(), c.OnUnix()) {
		return 0, errUntrusted
	}
	n, client, named, err := proxyproto.Parse(p)
	if n == 0 || err != nil {
		return 0, err
	}
	if named {
		peer = client
	}
	c.SetRemoteAddr(peer)
	return n, nil
}
