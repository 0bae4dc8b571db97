package sys

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The peer of a connection is known, also when it has reset it before anybody asked.
func TestPeerOf(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6", "unix"} {
		for _, reset := range []bool{false, true} {
			addr := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")}[network]
			ln, err := net.Listen(network, addr)
			if err != nil {
				t.Logf("%s is left out: %v", network, err)
				continue
			}
			defer ln.Close()
			c, err := net.Dial(network, ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			want := c.LocalAddr().String()
			if tcp, ok := c.(*net.TCPConn); ok && reset {
				if err := tcp.SetLinger(0); err != nil {
					t.Fatal(err)
				}
				tcp.Close()
			}
			fd, told, e := acceptOf(t, ln)
			if e != nil {
				t.Fatal(e)
			}
			got := PeerOf(fd)
			if told != got {
				t.Errorf("%s, reset %v: accepting told %v, asking %v", network, reset, told, got)
			}
			if network == "unix" {
				if got.IsValid() {
					t.Errorf("a Unix socket has the peer %v", got)
				}
			} else if got.String() != want {
				t.Errorf("%s, reset %v: %v, want %s", network, reset, got, want)
			}
			unix.Close(int(fd))
			c.Close()
		}
	}
	if got := PeerOf(-1); got.IsValid() {
		t.Errorf("no socket has the peer %v", got)
	}
}

// acceptOf accepts, and returns the address that came with the connection, too.
func acceptOf(t *testing.T, ln net.Listener) (fd int32, peer netip.AddrPort, err error) {
	t.Helper()
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, peer, err
	}
	control := raw.Control(func(l uintptr) {
		var e syscall.Errno
		var addr [PeerLen]byte
		if fd, e = AcceptFrom(int32(l), &addr); e != 0 {
			err = e
		}
		peer = PeerIn(addr[:])
	})
	return fd, peer, errors.Join(control, err)
}
