// Package proxyproto reads the headers of the PROXY protocol, versions 1 and 2, which
// proxies send to name the client of a connection. It is pure: bytes in, an address out.
package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	// maxV1 is the longest header of version 1, in bytes (section 2.1 of
	// the PROXY protocol).
	maxV1 = 107
	// fixedV2 is the part of a header of version 2 whose length is fixed.
	fixedV2 = 16
	// maxV2 bounds the rest. Addresses take 36 bytes, or 216 of Unix
	// sockets; the other fields of real proxies some hundred. The length in the
	// header could ask for 64 KiB.
	maxV2 = 4 << 10

	// MaxLen is the longest header that Parse takes, in bytes.
	MaxLen = fixedV2 + maxV2
)

// proxyUnspec is version 2, PROXY, and that the family is not known: of IPv6 behind a proxy
// that does not have it, say.
var proxyUnspec = []byte{0x21, byte(proxyproto.UNSPEC)}

var errNone = errors.New("no PROXY header")

// Parse reads the PROXY header at the beginning of p. It returns n 0
// if more bytes are needed, and an error as soon as p cannot become one.
// Otherwise the header has n bytes. named reports whether it names a client,
// whose address is the zero AddrPort if it has come through a Unix socket. If it
// does not (LOCAL, UNKNOWN or UNSPEC), the address of the connection stands.
func Parse(p []byte) (n int, client netip.AddrPort, named bool, err error) {
	n, err = headerLen(p)
	if n == 0 || err != nil {
		return 0, client, false, err
	}
	if bytes.HasPrefix(p, proxyproto.SIGV2) && bytes.Equal(p[12:14], proxyUnspec) {
		return n, client, false, nil // the library refuses it, though section 2.2 lets us take it
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

// headerLen returns the length of the header that p begins with; 0: more
// bytes are needed to tell, or to have it whole.
func headerLen(p []byte) (int, error) {
	switch {
	case hasBeginning(p, proxyproto.SIGV1):
		i := bytes.IndexByte(p[:min(len(p), maxV1)], '\n')
		if i < 0 && len(p) >= maxV1 {
			return 0, proxyproto.ErrVersion1HeaderTooLong
		}
		return i + 1, nil
	case hasBeginning(p, proxyproto.SIGV2):
		if len(p) < fixedV2 {
			return 0, nil
		}
		n := int(binary.BigEndian.Uint16(p[fixedV2-2:]))
		if n > maxV2 {
			return 0, proxyproto.ErrInvalidLength
		}
		if n += fixedV2; len(p) < n {
			return 0, nil
		}
		return n, nil
	}
	return 0, errNone
}

// hasBeginning reports whether p begins with prefix, as far as it goes.
func hasBeginning(p, prefix []byte) bool {
	n := min(len(p), len(prefix))
	return bytes.Equal(p[:n], prefix[:n])
}
