package handover

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Socket is a listener that was made elsewhere.
type Socket struct {
	// Addr is the address in the predecessor's configuration: host:port, or
	// unix:/path. Empty: the maker of the socket knows no such address.
	Addr string `json:"addr,omitempty"`
	// FDs are listening sockets: one, or several of a SO_REUSEPORT group.
	FDs []int `json:"fds"`
	// Keep says that the file of a Unix socket belongs to the socket's maker.
	Keep bool `json:"keep,omitempty"`
}

// Sockets are listeners that were made elsewhere.
type Sockets []Socket

// UnixPrefix begins the address of a Unix socket.
const UnixPrefix = "unix:"

// FromSystemd returns the sockets of socket activation (sd_listen_fds(3)), and
// removes them from the environment. Descriptors that are no listening stream
// sockets are closed and named in refused.
func FromSystemd() (sockets Sockets, refused []string) {
	for _, f := range activation.Files(true) {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, firstFD)
		name := f.Name()
		_ = f.Close() // a finalizer would, at any time
		switch {
		case err != nil:
			refused = append(refused, name+": "+err.Error())
		case !isListener(fd):
			unix.Close(fd)
			refused = append(refused, name+": not a stream socket that listens")
		default:
			sockets = append(sockets, Socket{FDs: []int{fd}, Keep: true})
		}
	}
	return sockets, refused
}

func isListener(fd int) bool {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listening == 0 {
		return false
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// Claim removes and returns the socket for a configured address. That is the socket
// of that name. If there is none it is a socket that is bound to the address and has
// no name, or the name of an address that is not configured any more. ok is false if
// there is none either.
func (s *Sockets) Claim(addr string) (out Socket, ok bool) {
	named := func(x *Socket) bool { return addr != "" && x.Addr == addr }
	bound := func(x *Socket) bool { return len(x.FDs) > 0 && Bound(x.FDs[0], addr) }
	for _, match := range []func(*Socket) bool{named, bound} {
		rest := (*s)[:0:0]
		for i := range *s {
			x := &(*s)[i]
			if !match(x) {
				rest = append(rest, *x)
				continue
			}
			out.FDs, out.Keep, ok = append(out.FDs, x.FDs...), x.Keep, true
		}
		*s = rest
		if ok {
			out.Addr = addr
			return out, true
		}
	}
	return Socket{}, false
}

// Close closes all that is left.
func (s Sockets) Close() {
	for _, x := range s {
		for _, fd := range x.FDs {
			unix.Close(fd)
		}
	}
}

// Names returns the addresses that the sockets are bound to, for a log.
func (s Sockets) Names() (names []string) {
	for _, x := range s {
		if len(x.FDs) == 0 {
			continue
		}
		switch sa, _ := unix.Getsockname(x.FDs[0]); a := sa.(type) {
		case *unix.SockaddrUnix:
			names = append(names, UnixPrefix+a.Name)
		case nil:
			names = append(names, x.Addr)
		default:
			names = append(names, endpoint(sa).String())
		}
	}
	slices.Sort(names)
	return names
}

// Bound reports whether a socket is bound to what a configured address means.
// ":80" and "[::]:80" mean all addresses of both protocols.
func Bound(fd int, addr string) bool {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	path, unixSocket := strings.CutPrefix(addr, UnixPrefix)
	if a, ok := sa.(*unix.SockaddrUnix); ok {
		return unixSocket && a.Name == path
	}
	if unixSocket {
		return false
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return false
	}
	have := endpoint(sa)
	if want.Port != int(have.Port()) {
		return false
	}
	if want.IP == nil { // no host
		return have.Addr().IsUnspecified()
	}
	ip, _ := netip.AddrFromSlice(want.IP)
	return ip.Unmap().WithZone(want.Zone) == have.Addr()
}

// endpoint is the address of a TCP socket.
func endpoint(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if i, err := net.InterfaceByIndex(int(a.ZoneId)); a.ZoneId != 0 && err == nil {
			ip = ip.WithZone(i.Name)
		}
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}

// Program returns the path of this program as it is now. The name by which it was
// called comes first, so that a link that was switched to another version counts. If
// that name leads nowhere it is the file that the process was started from.
func Program(lookPath func(string) (string, error)) (string, error) {
	if path, err := lookPath(os.Args[0]); err == nil {
		return path, nil
	}
	return os.Executable()
}
