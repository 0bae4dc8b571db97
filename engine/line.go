package engine

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// line is a connection as it is measured.
type line Conn

func (c *line) TCPInfo(info *sys.TCPInfo) syscall.Errno { return c.loop.askTCP((*Conn)(c), info) }
func (c *line) Pace(rate int64)                         { c.loop.paceTCP((*Conn)(c), rate) }
func (c *line) Sending() bool                           { return c.state == connSending }

// Socket is what an Adopted is besides if what it stands in front of is a TCP
// connection, which is then measured in place of the descriptor that was adopted.
type Socket interface {
	// Control is that of a syscall.RawConn, which fails once the connection is closed.
	Control(f func(fd uintptr)) error
}

// askTCP is Loop.askTCP for real sockets.
func askTCP(c *Conn, info *sys.TCPInfo) (e syscall.Errno) {
	if c.adopted == nil {
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

// paceTCP is Loop.paceTCP for real sockets. rate 0 takes the pace away. A kernel that
// cannot do it leaves the grants in one piece.
//
// Within one machine there is no queue to spare. Without fq at the interface the kernel
// paces by a timer for each connection, and goes on with it when the rate is taken
// away (sk_pacing_status): at the speed of loopback a third of the CPU time.
func paceTCP(c *Conn, rate int64) {
	if c.local {
		return
	}
	v := uint64(rate)
	if rate == 0 {
		v = ^uint64(0)
	}
	if c.adopted == nil {
		_ = sys.SetMaxPacingRate(c.fd, v)
		return
	}
	if s, ok := c.adopted.(Socket); ok {
		_ = s.Control(func(fd uintptr) { _ = sys.SetMaxPacingRate(int32(fd), v) })
	}
}
