package server

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/sys"
)

// The listener of TLS is one of plain TCP with the congestion control that is asked
// for, also if its socket was inherited.
func TestListenTLS(t *testing.T) {
	check := func(ln net.Listener, err error) net.Listener {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		fd, err := sys.Dup(ln.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil || protocol != unix.IPPROTO_TCP {
			t.Errorf("protocol %d, %v", protocol, err)
		}
		name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil || name != "reno" {
			t.Errorf("congestion control %q, %v", name, err)
		}
		return ln
	}
	first := check(listenTLS("127.0.0.1:0", "reno", nil))
	addr := first.Addr().String()
	inherited := func() engine.Sockets {
		fd, err := sys.Dup(first.(*net.TCPListener))
		if err != nil {
			t.Fatal(err)
		}
		return engine.Sockets{addr: {FDs: []int{fd}}}
	}
	check(listenTLS(addr, "reno", inherited()))
	for _, from := range []engine.Sockets{nil, inherited()} {
		at := addr
		if from == nil {
			at = "127.0.0.1:0"
		}
		if _, err := listenTLS(at, "no-such", from); err == nil || !strings.Contains(err.Error(), `"no-such"`) {
			t.Errorf("an unknown one, inherited %v: %v", from != nil, err)
		}
	}
}
