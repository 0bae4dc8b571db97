// Package peer says who is at the other end of a connection, and what it is counted by.
package peer

import (
	"net"
	"net/netip"
)

const (
	// Unix is what peers on Unix sockets are counted by.
	Unix = "unix"
	// Unknown is what others are counted by of which no address is known, all together.
	Unknown = "unknown"
)

// AppendClient appends what a client with this address is counted by: the
// address, or of IPv6 the network of 64 bits, since a host has all of that to
// itself. Without an address it is Unknown, or Unix if the connection is one of a Unix
// socket.
func AppendClient(p []byte, a netip.Addr, unix bool) []byte {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid() && unix:
		return append(p, Unix...)
	case !a.IsValid():
		return append(p, Unknown...)
	case a.Is4():
		return a.AppendTo(p)
	}
	n, err := a.Prefix(64)
	if err != nil {
		return a.AppendTo(p)
	}
	return n.AppendTo(p)
}

// Of returns the address in one of package net, the zero value if it has none: a Unix socket
// has none.
func Of(a net.Addr) netip.Addr {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
