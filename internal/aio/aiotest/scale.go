package aiotest

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

var scaleCases = []testCase{
	{name: "many requests before one wait", run: scaleFlood},
	{name: "open and close ten thousand times", run: scaleCycles},
}

// openMany opens connections over one listener.
func (h *harness) openMany(n int, o testenv.SockOptions) []*conn {
	h.Helper()
	l := testenv.Listen(h)
	defer unix.Close(l)
	conns := make([]*conn, n)
	for i := range conns {
		fd, peer := testenv.Dial(h, l, o)
		conns[i] = h.adopt(fd, peer)
	}
	return conns
}

// scaleFlood has thousands of connections receive before the driver looks,
// asks for a few events at a time, and closes all in one turn: more happens at
// once than any queue between driver and kernel holds.
func scaleFlood(h *harness) {
	n := min(5000, testenv.FDRoom(h)/2)
	conns := h.openMany(n, testenv.SockOptions{})
	p := testenv.NewPattern(70)
	const request = 100
	for _, c := range conns {
		inbound(c, p)
		c.peer.MustSend(h, p.Bytes(0, request))
	}
	h.ev = h.ev[:16]
	h.until("requests", func() bool {
		return all(conns, func(c *conn) bool { return c.received == request })
	})
	// Half of them have more to say when they are closed, some are ended.
	for i, c := range conns {
		switch i % 4 {
		case 0:
			c.peer.MustSend(h, p.Bytes(request, request))
		case 1:
			c.peer.Reset()
		}
	}
	h.closeAll(conns...)
	mustBeClosed(h, conns...)
	h.quiet()
}

// scaleCycles opens and closes connections in every state, in batches.
func scaleCycles(h *harness) {
	total, batch := 10_000, 100
	if testing.Short() {
		total = 1000
	}
	l := testenv.Listen(h)
	defer unix.Close(l)
	p := testenv.NewPattern(71)
	conns := make([]*conn, batch)
	for range total / batch {
		for i := range conns {
			fd, peer := testenv.Dial(h, l, testenv.SockOptions{})
			conns[i] = h.adopt(fd, peer)
			switch i % 3 {
			case 0:
				peer.MustSend(h, []byte("request"))
			case 1:
				conns[i].send(p, 0, 0, 100, false)
			}
		}
		h.wait(0)
		h.closeAll(conns...)
		mustBeClosed(h, conns...)
		for _, c := range conns {
			c.peer.Reset()
		}
	}
}
