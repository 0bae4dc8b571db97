// Package peer says who is at the other end of a connection, and what it is counted by.
package peer

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Unix is what peers on Unix sockets are counted by.
const Unix = "unix"

// AppendClient appends what a client with this address is counted by: the
// address, or of IPv6 the network of 64 bits, since a host has all of that to
// itself. A peer on a Unix socket is Unix.
func AppendClient(p []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return append(p, Unix...)
	case a.Is4():
		return a.AppendTo(p)
	}
	n, err := a.Prefix(64)
	if err != nil {
		return a.AppendTo(p)
	}
	return n.AppendTo(p)
}

// Of returns the address in a sockaddr, the zero value if it has none: a Unix socket has
// none.
func Of(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// OfNet is Of for an address of package net.
func OfNet(a net.Addr) netip.Addr {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
