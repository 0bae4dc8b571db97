package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// Inherited is a listener that another process has bound: systemd (socket
// activation), or the predecessor of this one (an upgrade).
type Inherited struct {
	// FDs are listening stream sockets: one, or several of a SO_REUSEPORT group.
	// Duplicates of one socket count once.
	FDs []int
	// Keep says that the file of a Unix socket belongs to somebody else, who goes
	// on listening there: the engine does not remove it.
	Keep bool
}

// Sockets are inherited listeners by their address in Config.Addrs.
type Sockets map[string]Inherited

// Close closes all descriptors.
func (s Sockets) Close() {
	for _, in := range s {
		closeFDs(in.FDs)
	}
}

// inherit gives the sockets of an address to the loops. If there are more of
// them than loops, loops get several, since closing one would reset whoever waits
// in its queue. If there are fewer, further ones join the SO_REUSEPORT group, or
// where they cannot, loops share.
func (s *Set) inherit(index int, in Inherited) error {
	fds, err := distinct(in.FDs)
	if err != nil {
		closeFDs(fds)
		return err
	}
	for i, fd := range fds {
		s.add(i%len(s.rows), Socket{fd, index, false})
	}
	bound, err := boundAddr(fds[0])
	if err != nil {
		return err
	}
	s.addrs = append(s.addrs, bound)
	s.kept = append(s.kept, in.Keep)
	if u, ok := bound.(*net.UnixAddr); ok && !in.Keep {
		if file, err := statSocket(u.Name); err == nil { // removed by somebody: nothing to remove
			s.files = append(s.files, file)
		}
	}
	for _, fd := range fds {
		if err := s.cfg.apply(fd, bound); err != nil {
			return err
		}
	}
	for i := len(fds); i < len(s.rows); i++ {
		if err := s.beside(i, i%len(fds), fds[i%len(fds)]); err != nil {
			return err
		}
	}
	return nil
}

// beside gives a row one more socket like fd, which is the last of the row like.
func (s *Set) beside(row, like, fd int) error {
	n, shared, err := another(fd)
	if err != nil {
		return err
	}
	first := s.rows[like]
	index := first[len(first)-1].Index
	s.add(row, Socket{n, index, shared})
	if shared {
		first[len(first)-1].Shared = true
	}
	return nil
}

// distinct returns one descriptor for each socket among fds, made ready for the
// loops, and closes the other duplicates. On error it returns all of fds that are
// left.
func distinct(fds []int) (out []int, err error) {
	if len(fds) == 0 {
		return nil, errors.New("no socket was inherited")
	}
	seen := make(map[uint64]bool)
	for i, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return append(out, fds[i:]...), os.NewSyscallError("inherited socket: fstat", err)
		}
		if seen[st.Ino] {
			unix.Close(fd)
			continue
		}
		seen[st.Ino] = true
		if err := adoptable(fd); err != nil {
			return append(out, fds[i:]...), fmt.Errorf("inherited socket: %w", err)
		}
		out = append(out, fd)
	}
	return out, nil
}

// adoptable reports whether a descriptor can be listened on, and sets what the
// engine sets for its own sockets.
func adoptable(fd int) error {
	unix.CloseOnExec(fd)
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if listening == 0 || kind != unix.SOCK_STREAM {
		return errors.New("not a stream socket that listens")
	}
	if family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || family == unix.AF_UNIX {
		return os.NewSyscallError("getsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

// boundAddr returns the address of a listening socket.
func boundAddr(fd int) (net.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))), nil
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if zone, err := net.InterfaceByIndex(int(a.ZoneId)); a.ZoneId != 0 && err == nil {
			ip = ip.WithZone(zone.Name)
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port))), nil
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: a.Name, Net: "unix"}, nil
	}
	return nil, errors.New("inherited socket: neither TCP nor Unix")
}

// another returns one more listening socket beside fd: of its SO_REUSEPORT group,
// or a duplicate where it has none or nothing may join. Only sockets of one user may
// be in a group, so those that systemd has bound as root remain alone.
func another(fd int) (n int, shared bool, err error) {
	if group, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT); err == nil && group != 0 {
		if n, err := joinGroup(fd); err == nil {
			return n, false, nil
		}
	}
	n, err = duplicate(fd)
	return n, true, err
}

// joinGroup binds a socket to the address of a TCP socket with SO_REUSEPORT. It fails
// on Unix sockets, which know no such groups.
func joinGroup(fd int) (n int, err error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return -1, err
	}
	if domain == unix.AF_UNIX {
		return -1, unix.EOPNOTSUPP
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return -1, err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return -1, err
	}
	if n, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol); err != nil {
		return -1, err
	}
	set := func(level, option, v int) {
		if err == nil {
			err = unix.SetsockoptInt(n, level, option, v)
		}
	}
	set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if only, e := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); e == nil && domain == unix.AF_INET6 {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if err == nil {
		err = unix.Bind(n, sa)
	}
	if err == nil {
		err = unix.Listen(n, Backlog)
	}
	if err != nil {
		unix.Close(n)
		return -1, err
	}
	return n, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// duplicate returns a duplicate of a descriptor that is closed on exec.
func duplicate(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("dup", err)
}

// FromFD returns a listener for a duplicate of a listening stream socket that
// this process shares with others.
func FromFD(fd int) (net.Listener, error) {
	dup, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	// os.File makes the description blocking for a moment, in which another
	// process may be about to accept.
	if err := sys.SetAcceptPatience(int32(dup)); err != nil {
		unix.Close(dup)
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	f := os.NewFile(uintptr(dup), "inherited socket")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	return ln, nil
}
