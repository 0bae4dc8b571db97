package listen

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// CongestionSystem leaves the congestion control of listeners as the system sets it.
const CongestionSystem = "system"

// unpaced is the congestion control where there is no network: each kernel has it,
// and any process may use it.
const unpaced = "reno"

// SetCongestion gives a listening TCP socket, and with it the connections that it will
// accept, the congestion control of a name: of an algorithm that the kernel has,
// CongestionSystem, or "". The last is that of the system, except that at loopback
// addresses Reno takes the place of one that paces (BBR): between processes of one machine
// there is no network to spare, and the timers cost up to four times what the transfer
// does. Sockets of other kinds are left alone.
func SetCongestion(fd int, addr net.Addr, name string) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || name == CongestionSystem {
		return nil
	}
	if name == "" {
		if !tcp.IP.IsLoopback() || !Paces(fd) {
			return nil
		}
		name = unpaced
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		known, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
		return fmt.Errorf("congestion control %q: %w; the kernel has %s", name, err, strings.TrimSpace(string(known)))
	}
	return nil
}

// Paces reports whether a socket's congestion control sends by a timer of its own,
// unless the queue of the interface does it (fq): BBR, in all its versions.
func Paces(fd int) bool {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return err == nil && strings.HasPrefix(name, "bbr") // no TCP socket: nothing paces
}

// IsUnix reports whether a socket is a Unix socket.
func IsUnix(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}

// IsLocal reports whether a TCP socket is bound to a loopback address.
func IsLocal(fd int) bool {
	addr, err := boundAddr(fd)
	tcp, ok := addr.(*net.TCPAddr)
	return err == nil && ok && tcp.IP.IsLoopback()
}
