// Package sock has the sockets of load generators: connections from chosen loopback
// addresses, receiving without copying, and epoll with time-outs in nanoseconds.
package sock

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxSources bounds the source addresses: 127.0.1.1 to 127.0.250.250.
const MaxSources = 250 * 250

// source returns the i-th source address. All of 127.0.0.0/8 is local on
// Linux without being configured.
func source(i int) unix.SockaddrInet4 {
	return unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(1 + i/250), byte(1 + i%250)}}
}

// Dialer connects from a source address: from 0 to MaxSources-1, or -1 for the kernel's choice.
func Dialer(from int) *net.Dialer {
	if from < 0 {
		return &net.Dialer{}
	}
	src := source(from)
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: src.Addr[:]}, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { lateBind(int(fd)) })
	}}
}

// lateBind makes the port be chosen at connect, so that one port can serve many
// destinations (IP_BIND_ADDRESS_NO_PORT, Linux 4.2).
func lateBind(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) }

// Endpoint is a server's address.
type Endpoint struct{ addr unix.SockaddrInet4 }

// NewEndpoint returns the endpoint of an IPv4 address and port.
func NewEndpoint(addr string) (Endpoint, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return Endpoint{}, err
	}
	if !ap.Addr().Is4() {
		return Endpoint{}, fmt.Errorf("%s: not an IPv4 address", addr)
	}
	return Endpoint{unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}}, nil
}

// Connect starts a non-blocking connection from a source address: from 0 to
// MaxSources-1, or -1 for the kernel's choice. On loopback the handshake is usually
// complete when it returns; if not, the first send reports EAGAIN. The descriptor is
// the caller's.
func (e *Endpoint) Connect(from int) (int32, error) {
	if from < 0 {
		return e.connect(nil)
	}
	src := source(from)
	return e.connect(&src)
}

func (e *Endpoint) connect(src *unix.SockaddrInet4) (int32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if src != nil {
		lateBind(fd)
		if err := unix.Bind(fd, src); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("bind: %w", err)
		}
	}
	if err := unix.Connect(fd, &e.addr); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return int32(fd), nil
}

// Discard drops up to n received bytes in the kernel without copying them
// (tcp(7): MSG_TRUNC on a stream socket).
func Discard(fd int32, n int64) (int64, syscall.Errno) {
	for {
		r, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n),
			unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		if e == 0 {
			return int64(r), 0
		}
		if e != syscall.EINTR {
			return 0, e
		}
	}
}

// Epoll is an epoll instance with room for one batch of events.
type Epoll struct {
	fd      int
	timeout unix.Timespec // of the current wait; here since the kernel reads it
	events  [128]unix.EpollEvent
}

// NewEpoll makes an instance; Close ends it.
func NewEpoll() (*Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Epoll{fd: fd}, nil
}

// Add watches fd; its events carry id.
func (p *Epoll) Add(fd int32, id int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(id)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// AddEpoll watches another instance: an event with id tells that it has events, again
// and again until all are taken.
func (p *Epoll) AddEpoll(q *Epoll, id int) error { return p.Add(int32(q.fd), id, unix.EPOLLIN) }

// Wait returns the next batch of events, none after the timeout. A poll that
// cannot block does not tell the scheduler.
func (p *Epoll) Wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	return p.wait(timeout, len(p.events))
}

// Poll returns the events that are there, up to most.
func (p *Epoll) Poll(most int) ([]unix.EpollEvent, error) {
	return p.wait(0, min(most, len(p.events)))
}

func (p *Epoll) wait(timeout time.Duration, most int) ([]unix.EpollEvent, error) {
	p.timeout = unix.NsecToTimespec(max(0, timeout.Nanoseconds()))
	var n uintptr
	var e syscall.Errno
	if timeout > 0 {
		n, _, e = syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(most), uintptr(unsafe.Pointer(&p.timeout)), 0, 0)
	} else {
		n, _, e = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(most), uintptr(unsafe.Pointer(&p.timeout)), 0, 0)
	}
	if e == syscall.EINTR {
		return nil, nil
	}
	if e != 0 {
		return nil, fmt.Errorf("epoll_pwait2 (Linux 5.11): %w", e)
	}
	return p.events[:n], nil
}

// Close closes the instance, not what it watches.
func (p *Epoll) Close() { unix.Close(p.fd) }
