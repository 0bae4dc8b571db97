package guest

import (
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// corkAfter is the size from which on a socket is corked while a file is sent, in
	// bytes: some full segments of the loopback device, which has the largest.
	corkAfter = 256 << 10

	// guestTurn is what a Send without limits moves before other goroutines get their
	// turn, if the receiver is so fast that it never waits, in bytes: some 0.5 ms.
	guestTurn = 4 << 20

	// pacedGuestTurn is the same of a socket whose congestion control paces. A longer one
	// fills the queue of one socket while the others run empty, and each queue is
	// drained by interrupts.
	pacedGuestTurn = 256 << 10
)

// corking keeps the segments of a Send full. Go sets TCP_NODELAY on each connection,
// and so each acknowledgement lets go whatever is queued: of what sendfile(2)
// queues 64 KiB at a time the rest of each piece becomes a packet of its own. On
// loopback those are a third of all packets, and 5 to 15 % of the time.
type corking struct {
	asked bool // what follows is known
	may   bool
	paced bool
	on    bool
}

// ask looks at a socket, once. One that its owner has corked is left alone, as is one
// that is not of TCP.
func (c *corking) ask(sock int32) {
	if c.asked {
		return
	}
	v, err := unix.GetsockoptInt(int(sock), unix.IPPROTO_TCP, unix.TCP_CORK)
	c.asked, c.may = true, err == nil && v == 0
	c.paced = listen.Paces(int(sock))
}

// turn returns what is moved at a time.
func (c *corking) turn() int64 {
	if c.paced {
		return pacedGuestTurn
	}
	return guestTurn
}

// cork corks a socket that was asked.
func (c *corking) cork(sock int32) {
	if c.may && !c.on {
		c.on = sys.SetCork(sock, true) == 0
	}
}

// uncork lets go what the cork holds back.
func (c *corking) uncork(sock int32) {
	if c.on {
		c.on = false
		_ = sys.SetCork(sock, false) // it was possible before
	}
}
