package aiotest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// fewBuffers makes a driver run out of receive buffers soon.
var fewBuffers = aio.Config{RecvBuffers: 8, RecvBufferSize: 1024}

var receiveCases = []testCase{
	{name: "receive", run: receiveBasic},
	{name: "receive before open", run: receiveBeforeOpen},
	{name: "received bytes stay until the next wait", run: receiveKeeps},
	{name: "high slot number", run: receiveHighSlot},
	{name: "receive end of stream", run: receiveEnd},
	{name: "receive and end at once", run: receiveAndEnd},
	{name: "receive data beyond the end of the other half", run: receiveHalfClosed},
	{name: "receive reset while idle", run: receiveReset},
	{name: "receive reset while paused", run: receiveResetPaused},
	{name: "receive data and reset at once", run: receiveDataReset},
	{name: "receive a reset right behind data from many", run: receiveResetStorm},
	{name: "receive more than the buffers", cfg: fewBuffers, run: receiveFlood},
	{name: "receive from many with few buffers", cfg: fewBuffers, run: receiveMany},
	{name: "receive from one beside many that never stop", cfg: fewBuffers, run: receiveFair},
	{name: "pause and resume", run: pauseResume},
	{name: "pause holds the peer back", cfg: fewBuffers, run: pauseHolds},
	{name: "pause and resume are idempotent", run: pauseIdempotent},
	{name: "pause across the end", run: pauseAcrossEnd},
	{name: "pipelined bytes with pauses", cfg: fewBuffers, run: pausePipelined},
}

// inbound checks what the driver receives for a connection against a pattern.
func inbound(c *conn, p testenv.Pattern) {
	off := int64(0)
	c.in = func(b []byte) {
		c.h.Helper()
		if err := p.Check(b, off); err != nil {
			c.h.Fatalf("received: %v", err)
		}
		off += int64(len(b))
	}
}

// feeder returns a step with which the peer sends n bytes of a pattern as fast
// as they are taken.
func feeder(c *conn, p testenv.Pattern, n int64) (step func() bool, sent *int64) {
	sent = new(int64)
	buf := make([]byte, 64<<10)
	return func() bool {
		if *sent == n {
			return false
		}
		b := buf[:min(int64(len(buf)), n-*sent)]
		p.Fill(b, *sent)
		k, e := c.peer.Send(b)
		if e != 0 && e != syscall.EAGAIN {
			c.h.Fatalf("peer: send: %v", e)
		}
		*sent += int64(k)
		return k > 0
	}, sent
}

func receiveBasic(h *harness) {
	c := h.open(testenv.SockOptions{})
	var got []byte
	c.in = func(b []byte) { got = append(got, b...) }
	for _, msg := range []string{"one", "two", "three"} {
		got = got[:0]
		c.peer.MustSend(h, []byte(msg))
		h.until(msg, func() bool { return len(got) >= len(msg) })
		if string(got) != msg {
			h.Fatalf("received %q, want %q", got, msg)
		}
	}
}

// receiveBeforeOpen has the bytes there before the driver knows the socket.
func receiveBeforeOpen(h *harness) {
	fd, peer := testenv.Pair(h, testenv.SockOptions{})
	peer.MustSend(h, []byte("early"))
	c := h.adopt(fd, peer)
	var got []byte
	c.in = func(b []byte) { got = append(got, b...) }
	h.until("early bytes", func() bool { return bytes.Equal(got, []byte("early")) })
}

// receiveKeeps does everything else between two calls of Wait: the bytes of the
// events must stay what they are.
func receiveKeeps(h *harness) {
	const n = 8
	p := testenv.NewPattern(13)
	conns := make([]*conn, n)
	kept := make([][]byte, n)
	got := 0
	for i := range conns {
		c := h.open(testenv.SockOptions{})
		c.in = func(b []byte) { kept[i] = b; got++ }
		conns[i] = c
	}
	h.quiet()
	for i, c := range conns {
		c.peer.MustSend(h, p.Bytes(int64(i)*1000, 1000))
	}
	for got == 0 {
		h.wait(nap)
	}
	f := h.borrow(p.File(h, h.TempDir(), 100_000))
	for i, c := range conns {
		c.send(p, 0, 0, 5000, false)
		c.sendFile(f, span{p: p, n: 100_000}, false)
		c.pause()
		c.resume()
		c.peer.MustSend(h, p.Bytes(0, 2000))
		if i%2 == 0 {
			c.close(true)
		}
	}
	for i, b := range kept {
		if err := p.Check(b, int64(i)*1000); err != nil {
			h.Errorf("connection %d, between two waits: %v", i, err)
		}
	}
}

// receiveHighSlot uses slots far apart: tables grow with the highest.
func receiveHighSlot(h *harness) {
	low := h.open(testenv.SockOptions{})
	h.conns = append(h.conns, make([]*conn, 70_000)...)
	h.gens = append(h.gens, make([]uint32, 70_000)...)
	high := h.open(testenv.SockOptions{})
	for _, c := range []*conn{low, high} {
		c.peer.MustSend(h, []byte("data"))
		h.until("data", func() bool { return c.received == 4 })
	}
	h.closeAll(low, high)
}

func receiveEnd(h *harness) {
	c := h.open(testenv.SockOptions{})
	h.quiet()
	c.peer.CloseWrite()
	h.until("end", func() bool { return c.ended })
	if c.endErr != 0 || c.received != 0 {
		h.Fatalf("end of stream: %d bytes, %v", c.received, c.endErr)
	}
	h.quiet() // one end is enough
	h.d.Resume(c.tok)
	h.quiet()
}

// receiveAndEnd has bytes and the end arrive together, in amounts around the
// size of a buffer.
func receiveAndEnd(h *harness) {
	p := testenv.NewPattern(3)
	size := aio.Config{}.WithDefaults().RecvBufferSize
	for _, n := range []int{1, size - 1, size, size + 1, 2 * size, 3*size + 7} {
		fd, peer := testenv.Pair(h, testenv.SockOptions{})
		peer.MustSend(h, p.Bytes(0, n))
		peer.CloseWrite()
		c := h.adopt(fd, peer)
		inbound(c, p)
		h.until("bytes and end", func() bool { return c.ended })
		if c.received != int64(n) || c.endErr != 0 {
			h.Fatalf("received %d of %d bytes, then %v", c.received, n, c.endErr)
		}
	}
}

// receiveHalfClosed sends to a peer that has ended its own half.
func receiveHalfClosed(h *harness) {
	c := h.open(testenv.SockOptions{})
	c.peer.CloseWrite()
	h.until("end", func() bool { return c.ended })
	s := c.send(testenv.NewPattern(4), 0, 0, 1000, false)
	if s.N != 1000 {
		h.Fatalf("sent %d bytes, status %d, %v", s.N, s.Status, s.Err)
	}
	h.until("bytes at the peer", c.drained, c.read)
}

func receiveReset(h *harness) {
	c := h.open(testenv.SockOptions{})
	h.quiet()
	c.peer.Reset()
	h.until("reset", func() bool { return c.ended })
	if c.endErr != syscall.ECONNRESET {
		h.Fatalf("end of stream with %v, want %v", c.endErr, syscall.ECONNRESET)
	}
	h.quiet()
	if s := c.send(testenv.NewPattern(5), 0, 10, 0, false); s.Status != aio.Failed {
		h.Fatalf("send to a peer that is gone: status %d", s.Status)
	}
}

// receiveResetPaused shows that a reset is told at the latest on Resume.
func receiveResetPaused(h *harness) {
	c := h.open(testenv.SockOptions{})
	c.pause()
	h.quiet()
	c.peer.Reset()
	h.quiet()
	c.resume()
	h.until("reset", func() bool { return c.ended })
	if c.endErr != syscall.ECONNRESET {
		h.Fatalf("end of stream with %v, want %v", c.endErr, syscall.ECONNRESET)
	}
}

// receiveDataReset has bytes and a reset arrive together, at a connection that
// is new, that waits, or that has received before.
func receiveDataReset(h *harness) {
	p := testenv.NewPattern(14)
	size := int64(aio.Config{}.WithDefaults().RecvBufferSize)
	for _, n := range []int64{1, size, size + 1, 10 * size} {
		for before := range 3 {
			fd, peer := testenv.Pair(h, testenv.SockOptions{})
			var c *conn
			due := n
			if before > 0 {
				c = h.adopt(fd, peer)
				inbound(c, p)
				h.quiet()
			}
			if before > 1 {
				peer.MustSend(h, p.Bytes(0, 1))
				h.until("a byte", func() bool { return c.received == 1 })
				h.quiet()
				due++
			}
			peer.MustSend(h, p.Bytes(due-n, int(n)))
			peer.Reset()
			if before == 0 {
				c = h.adopt(fd, peer)
				inbound(c, p)
			}
			h.until("reset", func() bool { return c.ended })
			if c.received != due || c.endErr != syscall.ECONNRESET {
				h.Errorf("received %d of %d bytes, then %v, want %v", c.received, due, c.endErr, syscall.ECONNRESET)
			}
			h.closeAll(c)
		}
	}
}

// receiveResetStorm has other threads connect, send and reset as fast as they
// can, so that bytes and reset come at every moment of the driver's turn, also
// between its looking for bytes and its waiting for them. Each end must be told.
func receiveResetStorm(h *harness) {
	const threads = 8
	n := 6000
	if testing.Short() {
		n = 2000
	}
	l := h.listen()
	addr, err := unix.Getsockname(l.fd)
	if err != nil {
		h.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(n))
	var peers, senders sync.WaitGroup
	defer peers.Wait()
	defer left.Store(0) // if the case fails
	for range threads {
		senders.Go(func() {
			for left.Add(-1) >= 0 {
				if err := testenv.SendAndReset(*addr.(*unix.SockaddrInet4), []byte("12")); err != nil {
					h.Errorf("peer: %v", err)
					return
				}
			}
		})
	}
	var finished atomic.Bool
	peers.Go(func() {
		senders.Wait()
		finished.Store(true)
	})
	open := make(map[*conn]bool)
	closed := 0
	step := func() bool {
		for _, fd := range l.accepted {
			open[h.adopt(fd, nil)] = true
		}
		l.accepted = l.accepted[:0]
		for c := range open {
			if c.ended {
				c.close(true)
				delete(open, c)
				closed++
			}
		}
		return false
	}
	h.until("peers", finished.Load, step)
	h.quiet()
	h.until("all resets", func() bool { return len(open)+len(l.accepted) == 0 }, step)
	// A reset that overtakes the end of the handshake leaves nothing to accept.
	if closed < n*9/10 {
		h.Errorf("%d of %d connections came", closed, n)
	}
	h.closeAll(l)
}

// receiveFair has more connections send without end than there are buffers.
// One that has a little to say, now and then, is heard before any of them has
// been twice more than a few times.
func receiveFair(h *harness) {
	const rounds, few = 20, 4
	p := testenv.NewPattern(15)
	type sender struct {
		*conn
		feed func() bool
		mark int64 // received when the quiet one began to send
	}
	loud := make([]sender, 2*fewBuffers.RecvBuffers)
	for i := range loud {
		c := h.open(testenv.SockOptions{})
		inbound(c, p)
		feed, _ := feeder(c, p, 1<<40)
		loud[i] = sender{conn: c, feed: feed}
	}
	quiet := h.open(testenv.SockOptions{})
	inbound(quiet, p)
	feedAll := func() bool {
		for i := range loud {
			for loud[i].feed() {
			}
		}
		return true
	}
	h.until("all are loud", func() bool {
		return all(loud, func(s sender) bool { return s.received > 64<<10 })
	}, feedAll)
	for r := range int64(rounds) {
		for i := range loud {
			loud[i].mark = loud[i].received
		}
		quiet.peer.MustSend(h, p.Bytes(r, 1))
		h.until("the quiet one", func() bool { return quiet.received > r }, feedAll)
		for i := range loud {
			// A turn may hand out all buffers before the byte is seen, and the last one after.
			most := int64(few * fewBuffers.RecvBuffers * fewBuffers.RecvBufferSize)
			if got := loud[i].received - loud[i].mark; got > most {
				h.Fatalf("round %d: connection %d was given %d bytes before the quiet one its byte, at most %d are fair", r, i, got, most)
			}
		}
	}
}

// receiveFlood receives much more than the buffers hold: no byte is lost and
// the order is kept.
func receiveFlood(h *harness) {
	const total = 4 << 20
	p := testenv.NewPattern(6)
	c := h.open(testenv.SockOptions{})
	inbound(c, p)
	feed, _ := feeder(c, p, total)
	h.until("flood", func() bool { return c.received == total }, feed)
}

// receiveMany has some connections with much to say and many that send one
// byte, all at once and with fewer buffers than any of the groups needs.
func receiveMany(h *harness) {
	const each = 256 << 10
	p := testenv.NewPattern(7)
	loud, quiet := make([]*conn, 2*fewBuffers.RecvBuffers), make([]*conn, 50)
	var feeds []func() bool
	for i := range loud {
		c := h.open(testenv.SockOptions{})
		inbound(c, p)
		feed, _ := feeder(c, p, each)
		feeds = append(feeds, feed)
		loud[i] = c
	}
	for i := range quiet {
		quiet[i] = h.open(testenv.SockOptions{})
	}
	h.wait(0)
	for _, feed := range feeds {
		for feed() {
		}
	}
	for _, c := range quiet {
		c.peer.MustSend(h, []byte{1})
	}
	h.until("all bytes", func() bool {
		return all(loud, func(c *conn) bool { return c.received == each }) &&
			all(quiet, func(c *conn) bool { return c.received == 1 })
	}, feeds...)
}
