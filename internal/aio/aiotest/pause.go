package aiotest

import (
	"github.com/fserve/fserve/internal/testenv"
)

func pauseResume(h *harness) {
	p := testenv.NewPattern(8)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	h.quiet()
	c.pause()
	h.quiet()
	// The contract allows some bytes to slip through, but none may be lost.
	c.peer.MustSend(h, p.Bytes(0, 1000))
	h.quiet()
	c.resume()
	h.until("bytes after resume", func() bool { return c.received == 1000 })
	c.peer.MustSend(h, p.Bytes(1000, 1000))
	h.until("further bytes", func() bool { return c.received == 2000 })
}

// pauseHolds shows that a pause reaches the peer: it cannot get rid of more
// than the sockets hold.
func pauseHolds(h *harness) {
	const total = 64 << 20
	p := testenv.NewPattern(9)
	c := h.open(testenv.SockOptions{RecvBuffer: 64 << 10})
	inbound(c, p)
	h.quiet()
	c.pause()
	h.quiet()
	feed, sent := feeder(c, p, total)
	for calm := 0; calm < 5; calm++ {
		for feed() {
			calm = 0
		}
		h.wait(nap)
	}
	if *sent == total {
		h.Fatalf("the peer could send %d bytes to a paused connection", total)
	}
	before := c.received
	h.quiet()
	if c.received != before {
		h.Fatalf("still receiving after a pause")
	}
	c.resume()
	h.until("all after resume", func() bool { return c.received == *sent })
}

func pauseIdempotent(h *harness) {
	p := testenv.NewPattern(10)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	h.d.Resume(c.tok) // was not paused
	c.peer.MustSend(h, p.Bytes(0, 10))
	h.until("bytes", func() bool { return c.received == 10 })
	for range 3 {
		c.pause()
		c.pause()
		c.resume()
		c.resume()
		h.wait(0)
	}
	c.peer.MustSend(h, p.Bytes(10, 10))
	h.until("bytes after pauses", func() bool { return c.received == 20 })
	c.pause()
	c.resume() // in one turn
	c.peer.MustSend(h, p.Bytes(20, 10))
	h.until("bytes after a pause within a turn", func() bool { return c.received == 30 })
}

// pauseAcrossEnd has the peer send and end while paused.
func pauseAcrossEnd(h *harness) {
	p := testenv.NewPattern(11)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	h.quiet()
	c.pause()
	h.quiet()
	c.peer.MustSend(h, p.Bytes(0, 10_000))
	c.peer.CloseWrite()
	h.quiet()
	c.resume()
	h.until("end", func() bool { return c.ended })
	if c.received != 10_000 || c.endErr != 0 {
		h.Fatalf("received %d bytes, then %v", c.received, c.endErr)
	}
	c.pause()
	c.resume() // harmless after the end
	h.quiet()
}

// pausePipelined pauses and resumes at every event while the peer sends
// without a break.
func pausePipelined(h *harness) {
	const total = 1 << 20
	p := testenv.NewPattern(12)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	check := c.in
	c.in = func(b []byte) {
		h.Helper()
		check(b)
		c.pause()
	}
	feed, _ := feeder(c, p, total)
	h.until("all bytes", func() bool { return c.received == total }, func() bool {
		progress := feed()
		if c.paused {
			c.resume()
			progress = true
		}
		return progress
	})
}
