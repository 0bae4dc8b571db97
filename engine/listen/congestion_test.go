package listen

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// congestionOf returns the congestion control of a socket.
func congestionOf(t *testing.T, fd int) string {
	t.Helper()
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSetCongestion(t *testing.T) {
	here := &net.TCPAddr{IP: net.IPv4(127, 3, 2, 1), Port: 1}
	out := &net.TCPAddr{IP: net.IPv4zero, Port: 1}
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	system := congestionOf(t, socket())
	auto := system
	if strings.HasPrefix(system, "bbr") {
		auto = "reno"
	}
	for _, c := range []struct {
		addr       net.Addr
		name, want string
	}{
		{here, "", auto}, {out, "", system}, {&net.TCPAddr{IP: net.IPv6loopback}, "", auto},
		{here, CongestionSystem, system}, {out, CongestionSystem, system},
		{here, "reno", "reno"}, {out, "reno", "reno"},
		{&net.UnixAddr{Name: "/s", Net: "unix"}, "no such", system},
	} {
		fd := socket()
		if err := SetCongestion(fd, c.addr, c.name); err != nil {
			t.Errorf("%v %q: %v", c.addr, c.name, err)
		}
		if got := congestionOf(t, fd); got != c.want {
			t.Errorf("%v %q: %s, want %s", c.addr, c.name, got, c.want)
		}
	}
	if err := SetCongestion(socket(), here, "no-such"); err == nil || !strings.Contains(err.Error(), `"no-such"`) || !strings.Contains(err.Error(), "reno") {
		t.Errorf("an unknown one: %v", err)
	}
	fd := socket()
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr"); err != nil {
		t.Logf("this kernel has no bbr: %v", err)
		return
	}
	if err := SetCongestion(fd, out, ""); err != nil || congestionOf(t, fd) != "bbr" {
		t.Errorf("bbr for a network: %v", err)
	}
	if err := SetCongestion(fd, here, ""); err != nil || congestionOf(t, fd) != "reno" {
		t.Errorf("bbr for loopback: %v", err)
	}
}
