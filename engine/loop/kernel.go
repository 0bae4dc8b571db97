package loop

import (
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// kernel is what a loop asks the system for beside its driver. The simulation has
// another one.
type kernel struct {
	wall        func() int64 // Unix ns
	closeFD     func(fd int32)
	peerOf      func(fd int32) netip.AddrPort
	limitUnsent func(fd, bytes int32)
	sendBuffer  func(fd int32, bytes int)
	tcpInfo     func(*Conn, *sys.TCPInfo) syscall.Errno
	pace        func(c *Conn, rate int64)
	unsent      func(c *Conn) int64 // bytes that may still have to be sent
	sever       func(fd int32)      // sends RST and drops what lies in the socket
	inFlight    func(fd int32) bool // the network holds bytes that a severed socket has sent
}

var realKernel = kernel{
	wall:        func() int64 { return time.Now().UnixNano() },
	closeFD:     func(fd int32) { sys.Close(fd) },
	peerOf:      sys.PeerOf,
	limitUnsent: func(fd, n int32) { _ = sys.SetNotsentLowat(fd, n) }, // a Unix socket has none
	sendBuffer:  func(fd int32, n int) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n) },
	tcpInfo:     tcpInfo,
	pace:        pace,
	unsent:      unsent,
	sever:       sys.Disconnect,
	inFlight:    sys.InFlight,
}

// unsent returns how many bytes that the socket of c took may still have to be sent: what its
// peer has not acknowledged. Within one machine nothing is sent twice, and an
// acknowledgement may take 40 ms.
func unsent(c *Conn) int64 {
	if c.line.local && direct(c) {
		return sys.NotSent(c.fd)
	}
	return sys.Unsent(c.fd)
}

// measured is a connection as package measure sees it.
type measured Conn

func (c *measured) TCPInfo(info *sys.TCPInfo) syscall.Errno {
	return c.loop.kernel.tcpInfo((*Conn)(c), info)
}
func (c *measured) Pace(rate int64) { c.loop.kernel.pace((*Conn)(c), rate) }
func (c *measured) Sending() bool   { return c.state == connSending }

// tcpInfo asks the kernel about the TCP connection of c, or behind it.
func tcpInfo(c *Conn, info *sys.TCPInfo) (e syscall.Errno) {
	if c = measuredBy(c); c == nil {
		return unix.EOPNOTSUPP
	}
	if direct(c) {
		return sys.GetTCPInfo(c.fd, info)
	}
	s, ok := c.adopted.(Socket)
	if !ok {
		return unix.EOPNOTSUPP
	}
	if s.Control(func(fd uintptr) { e = sys.GetTCPInfo(int32(fd), info) }) != nil {
		return unix.EBADF
	}
	return e
}

// pace paces the TCP connection of c, or behind it. rate 0 takes the pace away. A kernel
// that cannot do it leaves the grants in one piece.
//
// Within one machine there is no queue to spare. Without fq at the interface the kernel
// paces by a timer for each connection, and goes on with it when the rate is taken
// away (sk_pacing_status): at the speed of loopback a third of the CPU time.
func pace(c *Conn, rate int64) {
	if c = measuredBy(c); c == nil || c.line.local {
		return
	}
	v := uint64(rate)
	if rate == 0 {
		v = ^uint64(0)
	}
	if direct(c) {
		_ = sys.SetMaxPacingRate(c.fd, v)
		return
	}
	if s, ok := c.adopted.(Socket); ok {
		_ = s.Control(func(fd uintptr) { _ = sys.SetMaxPacingRate(int32(fd), v) })
	}
}
