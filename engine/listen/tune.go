package listen

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Tuning is what the kernel does with connections before they are accepted.
type Tuning struct {
	Congestion string // see SetCongestion
	// DeferAccept is how long the kernel keeps a connection to itself until its first bytes
	// have come, in whole seconds, rounded up (TCP_DEFER_ACCEPT). 0: not at all.
	DeferAccept time.Duration
	// FastOpen is how many connections may bring their first bytes with their SYN and wait to
	// be acknowledged (TCP_FASTOPEN). 0: none.
	FastOpen int
}

// apply tunes a listening TCP socket. Sockets of other kinds are left alone.
func (t *Tuning) apply(fd int, addr net.Addr) error {
	if _, ok := addr.(*net.TCPAddr); !ok {
		return nil
	}
	if err := SetCongestion(fd, addr, t.Congestion); err != nil {
		return err
	}
	if t.DeferAccept > 0 {
		s := int((t.DeferAccept + time.Second - 1) / time.Second)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, s); err != nil {
			return fmt.Errorf("TCP_DEFER_ACCEPT: %w", err)
		}
	}
	if t.FastOpen > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, t.FastOpen); err != nil {
			return fmt.Errorf("TCP_FASTOPEN: %w", err)
		}
	}
	return nil
}
