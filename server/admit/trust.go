package admit

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// ClientField selects the field in which trusted proxies name their clients.
type ClientField uint8

const (
	// ClientFieldAuto takes the one of the two that is there. If both are and
	// disagree, neither is believed: a proxy that adds to one of them passes
	// the other on as its client wrote it.
	ClientFieldAuto      ClientField = iota
	ClientFieldForwarded             // Forwarded (RFC 7239)
	ClientFieldXFF                   // X-Forwarded-For
	ClientFieldXRealIP               // X-Real-IP: one address, which the proxy has set
)

// Trust says whose word on a client's address is taken. The zero value trusts
// nobody.
type Trust struct {
	Networks []netip.Prefix
	Unix     bool // peers on Unix sockets
	Field    ClientField
}

// ParseTrust reads a list of networks (CIDR), addresses, and the word unix.
func ParseTrust(list []string) (Trust, error) {
	var t Trust
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "unix" {
			t.Unix = true
			continue
		}
		p, err := parseNetwork(s)
		if err != nil {
			return Trust{}, fmt.Errorf("trusted proxies: %q is not a network, an address or unix", s)
		}
		t.Networks = append(t.Networks, p)
	}
	return t, nil
}

// Any reports whether anybody is trusted.
func (t *Trust) Any() bool { return t.Unix || len(t.Networks) > 0 }

// Contains reports whether a proxy with this address is trusted.
func (t *Trust) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range t.Networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// TrustsPeer is Contains for the peer of a connection; one on a Unix socket has
// no address of its own.
func (t *Trust) TrustsPeer(a netip.Addr, unix bool) bool {
	if unix && !a.IsValid() {
		return t.Unix
	}
	return a.IsValid() && t.Contains(a)
}

// Client returns the address of the client that a request comes from: that of
// the peer, or if the peer is a trusted proxy the right-most address in the
// fields that is not a trusted proxy's. What stands left of it was written by
// somebody whom nobody vouches for. A hop that does not give an address (RFC
// 7239 section 6: unknown, or obfuscated) or that cannot be read ends the
// search at the proxy that reported it. unix says that the connection came
// through a Unix socket. The result is the zero Addr if nothing is known. Of the fields, nil if
// they are not there, only those count that Field selects.
func (t *Trust) Client(peer netip.Addr, unix bool, forwarded, xff, realIP []byte) netip.Addr {
	peer = peer.Unmap().WithZone("")
	if !t.TrustsPeer(peer, unix) {
		return peer
	}
	useForwarded := forwarded != nil && (t.Field == ClientFieldAuto || t.Field == ClientFieldForwarded)
	useXFF := xff != nil && (t.Field == ClientFieldAuto || t.Field == ClientFieldXFF)
	switch {
	case t.Field == ClientFieldXRealIP:
		if a := parseHop(bytes.TrimSpace(realIP)); a.IsValid() {
			return a
		}
	case useForwarded && useXFF:
		a, b := t.byForwarded(peer, forwarded), t.byXFF(peer, xff)
		if a != b {
			return peer
		}
		return a
	case useForwarded:
		return t.byForwarded(peer, forwarded)
	case useXFF:
		return t.byXFF(peer, xff)
	}
	return peer
}

// maxHops bounds how many elements of a list are looked at; more proxies than
// that in a row there are not.
const maxHops = 32

func (t *Trust) byXFF(peer netip.Addr, xff []byte) netip.Addr {
	var list hops
	list.split(xff, false)
	return t.rightmost(peer, &list, func(hop []byte) []byte { return hop })
}

func (t *Trust) byForwarded(peer netip.Addr, forwarded []byte) netip.Addr {
	var list hops
	list.split(forwarded, true)
	return t.rightmost(peer, &list, forNode)
}

// rightmost walks a list of hops from its end. node returns what names a hop in its element.
func (t *Trust) rightmost(last netip.Addr, list *hops, node func(element []byte) []byte) netip.Addr {
	for i := list.n - 1; i >= max(0, list.n-maxHops); i-- {
		a := parseHop(node(list.last[i%maxHops]))
		if !a.IsValid() {
			return last
		}
		last = a
		if !t.Contains(a) {
			return a
		}
	}
	return last
}

// hops are the last elements of a list, without empty ones, which mean nothing (RFC 9110
// section 5.6.1).
type hops struct {
	last [maxHops][]byte // a ring
	n    int             // how many there were
}

// split reads a list in one pass. It begins at the left, since from the right nobody can
// tell which quotes open.
func (h *hops) split(list []byte, quotes bool) {
	for len(list) > 0 {
		var element []byte
		element, list = cut(list, ',', quotes)
		if element = bytes.TrimSpace(element); len(element) > 0 {
			h.last[h.n%maxHops] = element
			h.n++
		}
	}
}

// cut returns what stands before the first sep, which does not count in quoted strings, and
// what stands behind it. A string that does not end reaches to the end: what it swallows
// cannot be read.
func cut(p []byte, sep byte, quotes bool) (before, after []byte) {
	quoted := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case quoted && c == '\\':
			i++
		case quotes && c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return p[:i], p[i+1:]
		}
	}
	return p, nil
}

// unreadable stands for a hop whose node cannot be told.
var unreadable = []byte("unknown")

// forNode returns the node in the "for" parameter of an element of Forwarded.
func forNode(element []byte) []byte {
	node := unreadable
	for found := false; len(element) > 0; {
		var pair []byte
		pair, element = cut(element, ';', true)
		name, value, _ := bytes.Cut(pair, []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("for")) {
			continue
		}
		if found { // once at most (RFC 7239 section 4)
			return unreadable
		}
		found, node = true, unquote(value)
	}
	return node
}

// unquote returns the content of a quoted string, or a token as it is. Nodes
// have nothing to escape: one with a backslash cannot be read.
func unquote(v []byte) []byte {
	v = bytes.TrimSpace(v)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	if len(v) == 0 {
		return unreadable
	}
	return v
}

// maxHop is the longest node with an address: [IPv6 with IPv4 at its end]:port.
const maxHop = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")

// parseHop reads an address with or without a port, in brackets or without; the
// zero Addr means that it is none.
func parseHop(hop []byte) netip.Addr {
	if len(hop) > maxHop {
		return netip.Addr{}
	}
	s := string(hop)
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		if strings.HasPrefix(s, "[") != strings.HasSuffix(s, "]") || s[0] == '[' && !a.Is6() || a.Zone() != "" {
			return netip.Addr{}
		}
		return a.Unmap()
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !validPort(s[i+1:]) {
		return netip.Addr{}
	}
	node := s[:i]
	if inner, ok := strings.CutPrefix(node, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}
		}
		if a, err := netip.ParseAddr(inner); err == nil && a.Is6() && a.Zone() == "" {
			return a.Unmap()
		}
		return netip.Addr{}
	}
	if a, err := netip.ParseAddr(node); err == nil && a.Is4() {
		return a
	}
	return netip.Addr{}
}

// validPort takes numbers and the obfuscated ports of RFC 7239 section 6.3.
func validPort(s string) bool {
	obfuscated := strings.HasPrefix(s, "_")
	if len(s) == 0 || !obfuscated && len(s) > 5 {
		return false
	}
	for _, b := range []byte(s) {
		digit := b >= '0' && b <= '9'
		letter := b|0x20 >= 'a' && b|0x20 <= 'z' || b == '.' || b == '_' || b == '-'
		if !digit && !(obfuscated && letter) {
			return false
		}
	}
	return true
}
