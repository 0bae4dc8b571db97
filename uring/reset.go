package uring

import (
	"context"
	"errors"
	"net"
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
		return false, errors.Join(err, far.Close())
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
func writeAndReset(c *net.TCPConn) error {
	_, err := c.Write([]byte{'!'})
	return errors.Join(err, c.SetLinger(0), c.Close())
}

// loopbackPair returns the two ends of a TCP connection over loopback, one as a descriptor.
func loopbackPair() (near int, far *net.TCPConn, err error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	l, err := cfg.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return -1, nil, err
	}
	defer l.Close()
	if far, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)); err != nil {
		return -1, nil, err
	}
	c, err := l.Accept()
	if err == nil {
		defer c.Close()
		near, err = sys.Dup(c.(*net.TCPConn))
	}
	if err != nil {
		return -1, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}
