// Package listen binds every socket that the process accepts connections from, or takes
// over those that another process has bound: for event loops one socket (or a duplicate)
// each, for others a net.Listener.
//
// Addresses are TCP, host:port, or Unix sockets, unix:/path. 0.0.0.0:PORT is every address
// of IPv4; [::]:PORT and :PORT are those of both protocols. An address where somebody else
// listens is refused.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// Backlog is the queue of connections that wait to be accepted; the kernel
// bounds it by net.core.somaxconn.
const Backlog = 4096

// Config says what is listened on.
type Config struct {
	Addrs    []string
	UnixMode fs.FileMode // of the files of Unix sockets
	Tuning
	// Inherit has sockets in place of new ones, by their address in Addrs. Open and
	// Listener take what they use out of it, also when they fail; the rest stays the
	// caller's.
	Inherit Sockets
}

// Socket is a listening socket on its way to a loop, which owns it from Row on.
type Socket struct {
	FD     int
	Index  int  // of its address in Config.Addrs
	Shared bool // other loops have duplicates of it
}

// Set are the sockets of some loops. Its methods are safe for concurrent use.
type Set struct {
	cfg   Config
	rows  [][]Socket
	addrs []net.Addr
	kept  []bool // by index: Inherited.Keep

	mu    sync.Mutex
	files []socketFile // of Unix sockets, until they are removed
}

// Open opens one socket for each TCP address and loop, and one for each Unix socket, of
// which the loops get duplicates. A port of 0 is chosen by the first loop and used by
// all.
func Open(cfg Config, loops int) (*Set, error) {
	s := &Set{cfg: cfg, rows: make([][]Socket, loops)}
	for i, addr := range cfg.Addrs {
		err := error(unix.EADDRINUSE) // it is there twice
		if !slices.Contains(cfg.Addrs[:i], addr) || strings.HasSuffix(addr, ":0") {
			err = s.open(i, addr)
		}
		if err != nil {
			CloseAll(slices.Concat(s.rows...))
			s.RemoveFiles()
			return nil, fmt.Errorf("listener %s: %w", addr, err)
		}
	}
	s.cfg.Inherit = nil
	return s, nil
}

func (s *Set) open(index int, addr string) error {
	if in, ok := s.cfg.Inherit[addr]; ok {
		delete(s.cfg.Inherit, addr)
		return s.inherit(index, in)
	}
	s.kept = append(s.kept, false)
	if path, ok := strings.CutPrefix(addr, UnixPrefix); ok {
		return s.bindUnix(index, path)
	}
	return s.bindTCP(index, addr)
}

func (s *Set) bindTCP(index int, addr string) error {
	network := networkOf(addr, s.cfg.Addrs)
	for row := range s.rows {
		fd, bound, err := bind(network, addr, row > 0)
		if row == 0 && errors.Is(err, unix.EADDRINUSE) && s.overlaps(addr) {
			fd, bound, err = bind(network, addr, true)
		}
		if err != nil {
			return err
		}
		if err := s.cfg.apply(fd, bound); err != nil {
			unix.Close(fd)
			return err
		}
		if row == 0 {
			s.addrs = append(s.addrs, bound)
			addr = bound.String()
		}
		s.add(row, Socket{fd, index, false})
	}
	return nil
}

func (s *Set) add(row int, socket Socket) { s.rows[row] = append(s.rows[row], socket) }

// overlaps reports whether this process listens at the port of an address already, for
// all addresses where this one is for one, or the other way round.
func (s *Set) overlaps(addr string) bool {
	want, err := net.ResolveTCPAddr("tcp", addr)
	return err == nil && slices.ContainsFunc(s.addrs, func(a net.Addr) bool {
		have, ok := a.(*net.TCPAddr)
		return ok && have.Port == want.Port && !have.IP.Equal(want.IP)
	})
}

// bind opens a TCP listener with SO_REUSEPORT, so that every loop has its own
// and the kernel spreads connections over them. The first one is bound without: then
// nobody else listens there, not even another process that would share. TCP_NODELAY is
// inherited by the connections (Linux), which saves a system call for each.
func bind(network, addr string, joins bool) (fd int, bound net.Addr, err error) {
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			if joins {
				opt = errors.Join(opt, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
			}
		})
		return errors.Join(err, opt)
	}}
	ln, err := listenTCP(&cfg, network, addr)
	if err != nil {
		return -1, nil, err
	}
	defer ln.Close()
	// A duplicate of our own: Go's listener belongs to its poller.
	if fd, err = sys.Dup(ln.(*net.TCPListener)); err != nil {
		return -1, nil, err
	}
	err = unix.Listen(fd, Backlog)
	if !joins { // others may join from here on: they become a group (Linux 4.6)
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, ln.Addr(), nil
}

// networkOf returns the network on which to listen at one of some addresses. For Go all
// addresses of IPv4 are those of IPv6, too; here 0.0.0.0:80 is IPv4 only, and [::]:80 is
// both, but IPv6 only where 0.0.0.0:80 is asked for beside it.
func networkOf(addr string, all []string) string {
	a, err := netip.ParseAddrPort(addr)
	switch ip := a.Addr().Unmap(); {
	case err != nil || !ip.IsUnspecified():
		return "tcp"
	case ip.Is4():
		return "tcp4"
	case slices.Contains(all, netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()).String()):
		return "tcp6"
	}
	return "tcp"
}

// listenTCP listens without MPTCP, which Go asks for by default: its listeners do not
// heed SO_RCVTIMEO, on which sharing them with a successor depends (see
// sys.SetAcceptPatience).
func listenTCP(cfg *net.ListenConfig, network, addr string) (net.Listener, error) {
	cfg.SetMultipathTCP(false)
	return cfg.Listen(context.Background(), network, addr)
}

// Row returns the sockets of a loop, which owns them from here on.
func (s *Set) Row(loop int) []Socket { return s.rows[loop] }

// Addrs returns the bound addresses, in the order of Config.Addrs.
func (s *Set) Addrs() []net.Addr { return s.addrs }

// Duplicate adds a duplicate of a socket to out, for a successor.
func (s *Set) Duplicate(socket Socket, out Sockets) error {
	fd, err := duplicate(socket.FD)
	if err != nil {
		return err
	}
	addr := s.cfg.Addrs[socket.Index]
	one := out[addr]
	one.FDs, one.Keep = append(one.FDs, fd), s.kept[socket.Index]
	out[addr] = one
	return nil
}

// CloseAll closes sockets that no loop has got.
func CloseAll(list []Socket) {
	for _, s := range list {
		unix.Close(s.FD)
	}
}

// Listener returns a net.Listener at one address of cfg.Addrs, bound or inherited, for servers
// that are no loop's. It is tuned. A Unix socket listens when its file has
// the mode of cfg, so that nobody connects who may not; Close removes the file.
func Listener(addr string, cfg Config) (net.Listener, error) {
	ln, err := listener(addr, cfg)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", addr, err)
	}
	return ln, nil
}

func listener(addr string, cfg Config) (net.Listener, error) {
	if in, ok := cfg.Inherit[addr]; ok && len(in.FDs) > 0 {
		delete(cfg.Inherit, addr)
		defer Sockets{addr: in}.Close()
		ln, err := FromFD(in.FDs[0])
		return cfg.tune(ln, err)
	}
	path, ok := strings.CutPrefix(addr, UnixPrefix)
	if !ok {
		ln, err := listenTCP(&net.ListenConfig{}, networkOf(addr, cfg.Addrs), addr)
		return cfg.tune(ln, err)
	}
	fd, _, err := listenUnix(path, cfg.UnixMode)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	ln, err := FromFD(fd)
	if err == nil {
		ln.(*net.UnixListener).SetUnlinkOnClose(true)
	}
	return ln, err
}

// tune tunes what was bound; on error it closes that.
func (t *Tuning) tune(ln net.Listener, err error) (net.Listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if err != nil || !ok {
		return ln, err
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) { failed = t.apply(int(fd), ln.Addr()) })
		err = errors.Join(err, failed)
	}
	if err != nil {
		_ = ln.Close() // err tells more
		return nil, err
	}
	return ln, nil
}

// Divide takes what was inherited for some addresses out of all and returns the two
// parts. all is left as it is.
func Divide(all Sockets, addrs []string) (these, rest Sockets) {
	these, rest = Sockets{}, maps.Clone(all)
	for _, addr := range addrs {
		if in, ok := rest[addr]; ok {
			these[addr] = in
			delete(rest, addr)
		}
	}
	return these, rest
}
