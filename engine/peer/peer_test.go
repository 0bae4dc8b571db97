package peer

import (
	"net"
	"net/netip"
	"testing"
)

// A client is its address, of IPv6 the network that a host has to itself.
func TestAppendClient(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := string(AppendClient(nil, netip.MustParseAddr(addr), false)); got != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
	for unix, want := range map[bool]string{true: "unix", false: "unknown"} {
		if got := string(AppendClient(nil, netip.Addr{}, unix)); got != want {
			t.Errorf("no address counts as %s, want %s", got, want)
		}
	}
}

func TestOf(t *testing.T) {
	if Of(&net.UnixAddr{}).IsValid() {
		t.Error("a Unix socket has an address")
	}
	if got := Of(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}).Unmap().String(); got != "192.0.2.1" {
		t.Error(got)
	}
}
