package uring

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// verification says which completions of receives are verified: see verify.
type verification uint8

const (
	verifyFirst verification = iota // the first of each operation
	verifyAll                       // every one: this kernel loses resets
	verifyNone                      // none, to find out about the kernel
)

// verify looks whether the end of a connection that has just delivered bytes is
// there already. If so it marks the receive operation for renewal, since the
// kernel may have forgotten to tell, and would never do so.
//
// io_poll_check_events (io_uring/poll.c) takes everything that a poll has seen
// for dealt with once it has issued the receive, and io_recv_finish (net.c)
// receives only until the queue of bytes is empty: a reset behind the last byte
// stays in the socket, and no further wake-up comes. Since CVE-2026-23473
// was mended ("io_uring/poll: fix multishot recv missing EOF on wakeup race")
// it looks again, but only if there was more than one wake-up. There is only one,
// made by the arming itself, if bytes and reset both come after the receive has
// found nothing and before its poll is armed. So there the first completion of
// each operation is verified, which costs an ordinary request nothing; on
// kernels that lose more (see losesResets) every one is.
//
// The reset is always in the socket before the completion is seen. A further
// completion that is on its way all the same does no harm: the renewal then
// finds nothing to cancel.
func (d *Driver) verify(s *slot) {
	if d.verifying == verifyFirst {
		s.Own.flags &^= unverified
	}
	if sys.HungUp(s.FD) {
		s.Own.flags |= stale
	}
}

// losesResets reports whether this kernel forgets a reset behind bytes also when
// the receive was armed before both, so that every completion is to be
// verified. It is found out once, over loopback; where there is none, it is taken
// for granted.
var losesResets = sync.OnceValue(func() bool {
	d, err := newDriver(aio.Config{RecvBuffers: 4}.WithDefaults())
	if err != nil {
		return true
	}
	told, err := d.tellsReset()
	return d.Destroy() != nil || err != nil || !told
})

// tellsReset has bytes and a reset arrive for an armed receive before the
// kernel gets to run it, and reports whether both are told. It verifies nothing
// itself.
func (d *Driver) tellsReset() (bool, error) {
	d.verifying = verifyNone
	near, far, err := loopbackPair()
	if err != nil {
		return false, err
	}
	ev := make([]aio.Event, 4)
	if err := d.Open(aio.MakeToken(0, 1), near); err != nil {
		unix.Close(near)
		unix.Close(far)
		return false, err
	}
	_, err = d.Wait(ev, 0) // arms it
	if err = errors.Join(err, writeAndReset(far)); err != nil {
		return false, err
	}
	const patience = 1000 // ms, for the network's own threads
	poll := []unix.PollFd{{Fd: int32(near), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(poll, patience); n != 1 {
		return false, errors.Join(errors.New("no reset over loopback"), err)
	}
	for range len(ev) { // a turn of the kernel's work each
		n, err := d.Wait(ev, 0)
		if err != nil {
			return false, err
		}
		for _, e := range ev[:n] {
			if e.Op == aio.Received && len(e.Data) == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// writeAndReset sends a byte, and then a reset by closing.
func writeAndReset(fd int) error {
	defer unix.Close(fd)
	sys.SetReset(int32(fd))
	if _, err := unix.Write(fd, []byte{'!'}); err != nil {
		return fmt.Errorf("write to loopback: %w", err)
	}
	return nil
}

// loopbackPair returns the two ends of a TCP connection over loopback.
func loopbackPair() (near, far int, err error) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(l)
	if far, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, -1, fmt.Errorf("loopback: %w", err)
	}
	if near, err = connect(l, far); err != nil {
		unix.Close(far)
		return -1, -1, fmt.Errorf("loopback: %w", err)
	}
	return near, far, nil
}

// connect connects far to the listener that it makes of l, and returns what that accepts.
func connect(l, far int) (near int, err error) {
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, err
	}
	if err := unix.Listen(l, 1); err != nil {
		return -1, err
	}
	addr, err := unix.Getsockname(l)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(far, addr); err != nil {
		return -1, err
	}
	near, _, err = unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return near, err
}
