// Package admit says who the client of a request is, and whether that client is
// answered. It is pure: addresses in, verdicts out. All of it is safe for
// concurrent use while nothing is changed.
package admit

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Access says which clients are answered, by their address (see Trust). Of the
// networks with the client in them the smallest decides, and Deny if it is in
// both. A client that is in none is answered unless Allow has anything in it.
// The zero value lets everybody in.
type Access struct {
	Allow, Deny Networks
}

// Networks is a set of addresses.
type Networks struct {
	Prefixes []netip.Prefix
	Unix     bool // peers on Unix sockets, which have no address
}

// ParseNetworks reads networks (CIDR), addresses, and the words all and unix.
func ParseNetworks(list []string) (n Networks, err error) {
	for _, s := range list {
		switch s = strings.TrimSpace(s); s {
		case "unix":
			n.Unix = true
		case "all":
			n.Unix = true
			n.Prefixes = append(n.Prefixes, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
		default:
			p, err := parseNetwork(s)
			if err != nil {
				return Networks{}, fmt.Errorf("%q is not a network, an address, all or unix", s)
			}
			n.Prefixes = append(n.Prefixes, p)
		}
	}
	return n, nil
}

func (n *Networks) empty() bool { return len(n.Prefixes) == 0 && !n.Unix }

// all reports whether there is nobody who is not in it.
func (n *Networks) all() bool {
	return n.Unix && n.bits(netip.IPv4Unspecified()) == 0 && n.bits(netip.IPv6Unspecified()) == 0
}

// bits returns how many bits the smallest network has that an address is in, -1
// if it is in none. a is unmapped.
func (n *Networks) bits(a netip.Addr) int {
	best := -1
	for _, p := range n.Prefixes {
		if p.Bits() > best && p.Contains(a) {
			best = p.Bits()
		}
	}
	return best
}

// Bits returns how many bits the smallest of the networks has that a client is in, 0 for one on a
// Unix socket if these are among them, and -1 if it is in none.
func (n *Networks) Bits(addr netip.Addr, unix bool) int {
	switch {
	case addr.IsValid():
		return n.bits(addr.Unmap().WithZone(""))
	case unix && n.Unix:
		return 0
	}
	return -1
}

// Everybody reports whether nobody is refused.
func (a *Access) Everybody() bool { return a.Allow.empty() && a.Deny.empty() }

// Nobody reports whether everybody is refused.
func (a *Access) Nobody() bool {
	all := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	return a.Allow.empty() && a.Deny.Unix && slices.Contains(a.Deny.Prefixes, all[0]) && slices.Contains(a.Deny.Prefixes, all[1])
}

// Allows reports whether a client is answered. addr is the zero Addr if it is not
// known; unix says that the connection came through a Unix socket. Who is not known is
// answered only where everybody is. It does not allocate.
func (a *Access) Allows(addr netip.Addr, unix bool) bool {
	switch {
	case !addr.IsValid() && unix:
		return !a.Deny.Unix && (a.Allow.Unix || a.Allow.empty())
	case !addr.IsValid():
		return a.Deny.empty() && (a.Allow.empty() || a.Allow.all())
	}
	addr = addr.Unmap().WithZone("")
	allowed, denied := a.Allow.bits(addr), a.Deny.bits(addr)
	if allowed < 0 && denied < 0 {
		return a.Allow.empty()
	}
	return allowed > denied
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), err
}
