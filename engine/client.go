package engine

import "net/netip"

// AppendClient appends what a client with this address is counted by: the
// address, or of IPv6 the network of 64 bits, since a host has all of that to
// itself. A peer on a Unix socket is "unix".
func AppendClient(p []byte, a netip.Addr) []byte {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return append(p, "unix"...)
	case a.Is4():
		return a.AppendTo(p)
	}
	n, err := a.Prefix(64)
	if err != nil {
		return a.AppendTo(p)
	}
	return n.AppendTo(p)
}
