package peer

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A client is its address, of IPv6 the network that a host has to itself.
func TestAppendClient(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := string(AppendClient(nil, netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
	if got := string(AppendClient(nil, netip.Addr{})); got != "unix" {
		t.Errorf("no address counts as %s", got)
	}
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		sa   unix.Sockaddr
		want string
	}{
		{&unix.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 1}}, "192.0.2.1:80"},
		{&unix.SockaddrInet6{Port: 80, Addr: netip.MustParseAddr("::ffff:192.0.2.1").As16()}, "192.0.2.1:80"},
		{&unix.SockaddrInet6{Port: 80, Addr: netip.MustParseAddr("2001:db8::1").As16()}, "[2001:db8::1]:80"},
	} {
		if got := Of(c.sa).String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if Of(&unix.SockaddrUnix{}).IsValid() || OfNet(&net.UnixAddr{}).IsValid() {
		t.Error("a Unix socket has an address")
	}
	if got := OfNet(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}).Unmap().String(); got != "192.0.2.1" {
		t.Error(got)
	}
}
