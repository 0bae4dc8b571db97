package aiotest

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// smallBuffers make a socket that blocks soon.
var smallBuffers = testenv.SockOptions{SendBuffer: 16 << 10, RecvBuffer: 16 << 10}

var sendCases = []testCase{
	{name: "send", run: sendBasic},
	{name: "send nothing", run: sendNothing},
	{name: "send more than fits", run: sendBlocked},
	{name: "send to a reader that stops and goes on", run: sendStopAndGo},
	{name: "send to a slow reader", run: sendSlow},
	{name: "send blocked and reset by the peer", run: sendBlockedReset},
	{name: "send after the peer is gone", run: sendGone},
	{name: "send after the peer is gone, with bytes unread", run: sendGoneUnread},
	{name: "send with more set", run: sendMore},
	{name: "cork and push", run: cork},
	{name: "cork what is no TCP socket", run: corkUnix},
	{name: "close the write half", run: closeWrite},
	{name: "ready only when owed", run: readyOnce},
}

func sendBasic(h *harness) {
	p := testenv.NewPattern(20)
	c := h.open(testenv.SockOptions{})
	for _, n := range [][2]int{{100, 0}, {0, 100}, {100, 4000}, {1, 1}} {
		s := c.send(p, 0, n[0], n[1], false)
		if s.Status != aio.OK || s.N != int64(n[0]+n[1]) {
			h.Fatalf("send of %d and %d bytes: %d sent, status %d, %v", n[0], n[1], s.N, s.Status, s.Err)
		}
		h.until("bytes at the peer", c.drained, c.read)
	}
	h.checkBytes()
}

func sendNothing(h *harness) {
	c := h.open(testenv.SockOptions{})
	if s := c.send(testenv.NewPattern(21), 0, 0, 0, false); s.Status != aio.OK || s.N != 0 {
		h.Fatalf("send of nothing: %d sent, status %d, %v", s.N, s.Status, s.Err)
	}
	h.quiet()
}

// fill sends until the socket is full. It returns the pattern offset reached.
func (c *conn) fill(p testenv.Pattern, off int64) int64 {
	c.h.Helper()
	for c.blocked == aio.OK {
		s := c.send(p, off, 200, 64<<10, true)
		if s.Status != aio.OK && s.Status != aio.BlockedSocket {
			c.h.Fatalf("status %d, %v", s.Status, s.Err)
		}
		off += s.N
	}
	return off
}

// jam fills the socket until it stays full. The kernel moves bytes on to the
// peer's socket for a while, so that the first time need not be the last.
func (c *conn) jam(fill func()) {
	c.h.Helper()
	for tries := 0; c.blocked == aio.OK; tries++ {
		if tries == 50 {
			c.h.Fatal("ready again and again although the peer reads nothing")
		}
		fill()
		c.h.quiet()
	}
}

// sendAll is a step that sends a pattern up to end from memory.
func (c *conn) sendAll(p testenv.Pattern, off *int64, end int64) func() bool {
	return func() bool {
		c.h.Helper()
		if c.blocked != aio.OK || *off == end {
			return false
		}
		n := min(end-*off, 64<<10)
		s := c.send(p, *off, int(n/2), int(n-n/2), *off+n < end)
		if s.Status == aio.Failed {
			c.h.Fatalf("send: %v", s.Err)
		}
		*off += s.N
		return true
	}
}

// sendBlocked sends several times what the sockets hold.
func sendBlocked(h *harness) {
	const total = 8 << 20
	p := testenv.NewPattern(22)
	c := h.open(smallBuffers)
	off := int64(0)
	h.until("all bytes", func() bool { return off == total && c.drained() }, c.sendAll(p, &off, total), c.read)
	if c.readies == 0 {
		h.Fatal("the socket was never full")
	}
	h.checkBytes()
}

// sendStopAndGo has a peer that reads nothing for a while.
func sendStopAndGo(h *harness) {
	p := testenv.NewPattern(23)
	c := h.open(smallBuffers)
	off := int64(0)
	for range 5 {
		c.jam(func() { off = c.fill(p, off) })
		h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
		if c.readyErr != 0 {
			h.Fatalf("ready: %v", c.readyErr)
		}
	}
	h.until("all bytes", c.drained, c.read)
}

// sendSlow has a peer that reads a few bytes at a time.
func sendSlow(h *harness) {
	const total = 256 << 10
	p := testenv.NewPattern(24)
	c := h.open(smallBuffers)
	off := int64(0)
	h.until("all bytes", func() bool { return off == total && c.drained() }, c.sendAll(p, &off, total),
		func() bool { n, _ := c.readSome(500); return n > 0 })
}

// sendBlockedReset resets the connection while a send is blocked: it becomes
// ready, the stream ends with an error, and trying again fails.
func sendBlockedReset(h *harness) {
	p := testenv.NewPattern(25)
	c := h.open(smallBuffers)
	off := c.fill(p, 0)
	h.quiet()
	c.peer.Reset()
	h.until("ready and reset", func() bool { return c.blocked == aio.OK && c.ended })
	if c.endErr != syscall.ECONNRESET {
		h.Errorf("end of stream with %v, want %v", c.endErr, syscall.ECONNRESET)
	}
	if c.readyErr != 0 {
		return // the driver has said it already
	}
	if s := c.send(p, off, 100, 0, false); s.Status != aio.Failed || s.N != 0 {
		h.Fatalf("send after a reset: %d sent, status %d", s.N, s.Status)
	}
	h.quiet()
}

// sendGone sends without looking at events first.
func sendGone(h *harness) {
	p := testenv.NewPattern(26)
	c := h.open(testenv.SockOptions{})
	h.quiet()
	c.peer.Reset()
	testenv.AwaitReset(h, c.fd)
	s := c.send(p, 0, 100, 0, false)
	if s.Status != aio.Failed {
		h.Fatalf("send to a peer that is gone: %d sent, status %d", s.N, s.Status)
	}
	h.until("end of stream", func() bool { return c.ended })
	if c.endErr != syscall.ECONNRESET {
		h.Errorf("end of stream with %v, want %v", c.endErr, syscall.ECONNRESET)
	}
	if n := h.d.Stats().Errors[aio.Classify(s.Err)]; n == 0 {
		h.Errorf("%v is not counted", s.Err)
	}
	h.closeAll(c)
}

// sendGoneUnread meets a reset by a send before the bytes that came ahead of it
// are received: those are delivered, and then the reset, although the kernel
// tells it only once.
func sendGoneUnread(h *harness) {
	p := testenv.NewPattern(32)
	f := h.borrow(p.File(h, h.TempDir(), 100))
	for _, file := range []bool{false, true} {
		c := h.open(testenv.SockOptions{})
		inbound(c, p)
		h.quiet()
		c.peer.MustSend(h, p.Bytes(0, 100))
		c.peer.Reset()
		testenv.AwaitReset(h, c.fd)
		var s aio.Sent
		if file {
			s = c.sendFile(f, span{p: p, n: 100}, false)
		} else {
			s = c.send(p, 0, 100, 0, false)
		}
		if s.Status != aio.Failed || s.Err != syscall.ECONNRESET {
			h.Fatalf("send to a peer that is gone: %d sent, status %d, %v", s.N, s.Status, s.Err)
		}
		h.until("end of stream", func() bool { return c.ended })
		if c.received != 100 || c.endErr != syscall.ECONNRESET {
			h.Errorf("received %d bytes, then %v, want 100 and %v", c.received, c.endErr, syscall.ECONNRESET)
		}
		h.closeAll(c)
	}
}

// sendMore sends a head that announces a body: both arrive.
func sendMore(h *harness) {
	p := testenv.NewPattern(27)
	c := h.open(testenv.SockOptions{})
	c.send(p, 0, 200, 0, true)
	c.send(p, 200, 0, 3000, false)
	h.until("head and body", c.drained, c.read)
}

// cork sends small pieces and counts the segments that the peer gets. The
// kernel lets a corked socket send after 200 ms all the same, so on a machine
// that stalls one good round of some is enough.
func cork(h *harness) {
	const pieces, size = 5, 100
	p := testenv.NewPattern(30)
	c := h.open(testenv.SockOptions{})
	round := func() int {
		before := c.peer.Segments(h)
		for i := range int64(pieces) {
			if s := c.send(p, i*size, 0, size, false); s.Status != aio.OK {
				h.Fatalf("send: status %d, %v", s.Status, s.Err)
			}
		}
		h.d.Push(c.tok)
		h.until("pieces", c.drained, c.read)
		return c.peer.Segments(h) - before
	}
	if n := round(); n < pieces { // the kernel may send one again
		h.Errorf("%d pieces without a cork came in %d segments", pieces, n)
	}
	h.d.Cork(c.tok, true)
	together := 0
	for range 10 { // Push leaves the cork in
		if round() == 1 {
			together++
		}
	}
	if together < 2 {
		h.Errorf("corked pieces came in one segment %d times of 10", together)
	}
	c.send(p, 0, 0, size, false)
	h.d.Cork(c.tok, false)
	h.until("what was held back", c.drained, c.read)
	if n := round(); n < pieces {
		h.Errorf("%d pieces after a cork came in %d segments", pieces, n)
	}
	h.closeAll(c)
	h.d.Cork(c.tok, true) // for a use that has ended: harmless
	h.d.Push(c.tok)
}

func corkUnix(h *harness) {
	p := testenv.NewPattern(31)
	c := h.adopt(testenv.UnixPair(h))
	h.d.Cork(c.tok, true)
	c.send(p, 0, 0, 100, false)
	h.d.Push(c.tok)
	h.d.Cork(c.tok, false)
	h.until("bytes", c.drained, c.read)
}

// closeWrite ends our half; the other goes on.
func closeWrite(h *harness) {
	p := testenv.NewPattern(28)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	c.send(p, 0, 0, 5000, false)
	h.d.CloseWrite(c.tok)
	atEnd := false
	h.until("end at the peer", func() bool { return atEnd }, func() bool {
		n, e := c.readSome(readBuf)
		atEnd = n == 0 && e == 0
		return n > 0
	})
	if !c.drained() {
		h.Fatal("the end came before the bytes")
	}
	c.peer.MustSend(h, p.Bytes(0, 1000))
	h.until("bytes after our end", func() bool { return c.received == 1000 })
	if c.ended {
		h.Fatal("our own end ended the stream")
	}
	c.peer.CloseWrite()
	h.until("end", func() bool { return c.ended })
}

// readyOnce has everything happen at once to sockets that are not blocked, or
// not any more; the harness fails on a Ready that is not owed.
func readyOnce(h *harness) {
	p := testenv.NewPattern(29)
	c := h.open(smallBuffers)
	inbound(c, p)
	in := int64(0)
	off := int64(0)
	for range 20 {
		off = c.fill(p, off)
		c.peer.MustSend(h, p.Bytes(in, 100))
		in += 100
		h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
		c.peer.MustSend(h, p.Bytes(in, 100))
		in += 100
		h.until("drained", c.drained, c.read)
		h.wait(0)
	}
	h.until("received", func() bool { return c.received == in })
	h.quiet()
}
