package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"

	"github.com/fserve/fserve/engine"
)

const (
	// maxProxyV1 is the longest header of version 1, in bytes (section 2.1 of
	// the PROXY protocol).
	maxProxyV1 = 107
	// proxyV2Fixed is the part of a header of version 2 whose length is fixed.
	proxyV2Fixed = 16
	// maxProxyV2 bounds the rest. Addresses take 36 bytes, or 216 of Unix
	// sockets; the other fields of real proxies some hundred. The length in the
	// header could ask for 64 KiB.
	maxProxyV2 = 4 << 10
)

var errNoProxyHeader = errors.New("no PROXY header")

// parseProxyHeader reads the PROXY header at the beginning of p. It returns n 0
// if more bytes are needed, and an error as soon as p cannot become one.
// Otherwise the header has n bytes. named reports whether it names a client,
// whose address is the zero AddrPort if it has come through a Unix socket. If it
// does not (LOCAL, or UNKNOWN), the address of the connection stands.
func parseProxyHeader(p []byte) (n int, client netip.AddrPort, named bool, err error) {
	n, err = proxyHeaderLen(p)
	if n == 0 || err != nil {
		return 0, client, false, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(p[:n]), n))
	if err != nil {
		return 0, client, false, err
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return n, client, false, nil
	}
	switch a := h.SourceAddr.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return n, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true, nil
	case *net.UnixAddr:
		return n, client, true, nil
	}
	return 0, client, false, fmt.Errorf("PROXY header of a %T", h.SourceAddr) // datagrams
}

// proxyHeaderLen returns the length of the header that p begins with; 0: more
// bytes are needed to tell, or to have it whole.
func proxyHeaderLen(p []byte) (int, error) {
	switch {
	case hasBeginning(p, proxyproto.SIGV1):
		i := bytes.IndexByte(p[:min(len(p), maxProxyV1)], '\n')
		if i < 0 && len(p) >= maxProxyV1 {
			return 0, proxyproto.ErrVersion1HeaderTooLong
		}
		return i + 1, nil
	case hasBeginning(p, proxyproto.SIGV2):
		if len(p) < proxyV2Fixed {
			return 0, nil
		}
		n := int(binary.BigEndian.Uint16(p[proxyV2Fixed-2:]))
		if n > maxProxyV2 {
			return 0, proxyproto.ErrInvalidLength
		}
		if n += proxyV2Fixed; len(p) < n {
			return 0, nil
		}
		return n, nil
	}
	return 0, errNoProxyHeader
}

// hasBeginning reports whether p begins with prefix, as far as it goes.
func hasBeginning(p, prefix []byte) bool {
	n := min(len(p), len(prefix))
	return bytes.Equal(p[:n], prefix[:n])
}

// prepareProxied notes which listeners expect a PROXY header, by their index.
func (s *Server) prepareProxied() error {
	c := &s.cfg
	for _, addr := range c.ProxyProtocol {
		if !slices.Contains(c.Listen, addr) && !slices.Contains(c.TLS.Listen, addr) {
			return fmt.Errorf("%w: PROXY protocol for %q, which is no listener's address", ErrConfig, addr)
		}
	}
	for _, addr := range c.Listen {
		s.proxied = append(s.proxied, slices.Contains(c.ProxyProtocol, addr))
	}
	if !slices.Contains(s.proxied, true) {
		s.proxied = nil
	}
	return nil
}

// awaitsProxyHeader reports whether a connection must begin with a PROXY header
// that has not arrived yet.
func (s *session) awaitsProxyHeader(c *engine.Conn) bool {
	i := c.Listener()
	return s.srv.proxied != nil && i >= 0 && s.srv.proxied[i] && !c.Named()
}

// proxyHeader takes the PROXY header of a connection. What is none, or comes from
// a peer that has no business to send one, ends in a reset: an answer would go to
// a proxy that takes it for that of a request.
func (s *session) proxyHeader(c *engine.Conn, p []byte) int {
	t := &s.srv.cfg.Trust
	peer := c.RemoteAddr()
	if t.Any() && !t.TrustsPeer(peer.Addr(), s.onUnix(c)) {
		s.badProxyHeader(c, errors.New("the peer is no trusted proxy"))
		return len(p)
	}
	n, client, named, err := parseProxyHeader(p)
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

func (s *session) badProxyHeader(c *engine.Conn, err error) {
	s.stats.ProxyErrors++
	s.srv.cfg.Log.Debug("PROXY header refused", "peer", c.RemoteAddr().String(), "err", err)
	c.Reset()
}
