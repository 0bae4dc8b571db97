package aiotest

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

var closeCases = []testCase{
	{name: "close while idle", run: closeIdle},
	{name: "close in the turn of open", run: closeAtOnce},
	{name: "close while paused", run: closePaused},
	{name: "close while blocked on the socket", run: closeBlocked},
	{name: "close with a ready event due", run: closeReadyDue},
	{name: "close with received bytes due", run: closeReceivedDue},
	{name: "close after the peer's end", run: closeAfterEnd},
	{name: "close twice", run: closeTwice},
	{name: "close in order or by reset", run: closeReset},
	{name: "descriptor number used again", run: closeReuse},
	{name: "descriptor duplicated elsewhere", run: closeDuplicated},
	{name: "calls after close", run: closeThenCalls},
	{name: "destroy with everything under way", run: destroyBusy},
	{name: "destroy at once", run: func(h *harness) { h.destroy() }},
}

// mustBeClosed fails unless the descriptors of the connections are closed. It
// must be called before any of the numbers can have been used again.
func mustBeClosed(h *harness, conns ...*conn) {
	h.Helper()
	for _, c := range conns {
		if isOpen(c.fd) {
			h.Errorf("descriptor %d is still open after Closed", c.fd)
		}
	}
}

func closeIdle(h *harness) {
	c := h.open(testenv.SockOptions{})
	h.quiet()
	h.closeAll(c)
	mustBeClosed(h, c)
	h.quiet()
}

func closeAtOnce(h *harness) {
	c := h.open(testenv.SockOptions{})
	c.peer.MustSend(h, []byte("not read"))
	h.closeAll(c)
	mustBeClosed(h, c)
	h.quiet()
}

func closePaused(h *harness) {
	c := h.open(testenv.SockOptions{})
	c.pause()
	c.peer.MustSend(h, []byte("not read"))
	h.quiet()
	h.closeAll(c)
	mustBeClosed(h, c)
	h.quiet()
}

func closeBlocked(h *harness) {
	for _, reset := range []bool{true, false} {
		c := h.open(smallBuffers)
		c.fill(testenv.NewPattern(50), 0)
		h.wait(0)
		c.close(reset)
		h.until("closed", func() bool { return c.closed })
		mustBeClosed(h, c)
		h.quiet()
	}
}

// closeReadyDue closes when the obstacle is already gone, but the Ready event
// was not fetched.
func closeReadyDue(h *harness) {
	c := h.open(smallBuffers)
	c.fill(testenv.NewPattern(51), 0)
	h.wait(0)
	for c.read() {
	}
	h.closeAll(c)
	h.quiet()
}

// closeReceivedDue closes some connections of a batch while the events of
// others wait for the next Wait: none of these may come after Close.
func closeReceivedDue(h *harness) {
	const n = 40
	h.ev = h.ev[:4]
	conns := make([]*conn, n)
	for i := range conns {
		conns[i] = h.open(testenv.SockOptions{})
		conns[i].peer.MustSend(h, []byte("data"))
	}
	for h.wait(nap) == 0 {
	}
	h.closeAll(conns...)
	mustBeClosed(h, conns...)
	h.quiet()
}

func closeAfterEnd(h *harness) {
	for _, end := range []func(*testenv.Peer){(*testenv.Peer).CloseWrite, (*testenv.Peer).Reset} {
		c := h.open(testenv.SockOptions{})
		end(c.peer)
		h.until("end", func() bool { return c.ended })
		h.closeAll(c)
		mustBeClosed(h, c)
	}
	h.quiet()
}

func closeTwice(h *harness) {
	c := h.open(testenv.SockOptions{})
	h.d.Close(c.tok, false)
	h.d.Close(c.tok, true)
	c.closing = true
	h.until("closed", func() bool { return c.closed })
	h.d.Close(c.tok, false)
	h.quiet() // the harness knows no second Closed
}

// closeReset compares what the peer sees.
func closeReset(h *harness) {
	for _, reset := range []bool{false, true} {
		c := h.open(testenv.SockOptions{})
		h.quiet()
		c.close(reset)
		want := syscall.Errno(0)
		if reset {
			want = syscall.ECONNRESET
		}
		got := syscall.EAGAIN
		h.until("end at the peer", func() bool { return got != syscall.EAGAIN }, func() bool {
			_, got = c.readSome(1)
			return false
		})
		if got != want {
			h.Errorf("close with reset %v: the peer sees %v, want %v", reset, got, want)
		}
		h.until("closed", func() bool { return c.closed })
	}
}

// closeReuse gives the number of a closed descriptor to the next connection,
// in the same slot, after all sorts of things have happened to the old one up
// to the end.
func closeReuse(h *harness) {
	// Far above the numbers that everything else here gets.
	const number = 900
	p := testenv.NewPattern(52)
	for i := range 200 {
		fd, peer := testenv.Pair(h, smallBuffers)
		if err := unix.Dup3(fd, number, unix.O_CLOEXEC); err != nil {
			h.Fatal(err)
		}
		unix.Close(fd)
		c := h.adopt(number, peer)
		inbound(c, p)
		c.peer.MustSend(h, p.Bytes(0, 100))
		h.until("bytes", func() bool { return c.received == 100 })
		c.fill(p, 0)
		// Everything that can happen to it happens, and nobody has looked.
		c.peer.MustSend(h, p.Bytes(100, 100))
		for c.read() {
		}
		if i%2 == 0 {
			c.peer.Reset()
		} else {
			c.peer.CloseWrite()
		}
		h.closeAll(c)
		mustBeClosed(h, c)
	}
}

// closeDuplicated closes a connection and a listener of which someone else
// holds a duplicate: the kernel goes on reporting what happens to them. The
// connections that have their slots now are blocked and know nothing of it.
func closeDuplicated(h *harness) {
	c, l := h.open(testenv.SockOptions{}), h.listen()
	h.quiet()
	var dups []int
	for _, fd := range []int{c.fd, l.fd} {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			h.Fatal(err)
		}
		defer unix.Close(dup)
		dups = append(dups, dup)
	}
	h.closeAll(c, l)
	p := testenv.NewPattern(53)
	others := []*conn{h.open(smallBuffers), h.open(smallBuffers)}
	for _, o := range others {
		o.fill(p, 0)
	}
	c.peer.MustSend(h, []byte("to the duplicate"))
	h.quiet()
	c.peer.Reset()
	testenv.NewPeer(h, testenv.SockOptions{}).Connect(h, dups[1])
	h.quiet()
	for _, o := range others {
		if o.received != 0 || o.ended {
			h.Error("an event of the old use reached the new one")
		}
		o.fill(p, 0) // if it is ready, it must be so in truth
	}
}

// closeThenCalls calls every method with a token whose use has ended.
func closeThenCalls(h *harness) {
	c := h.open(testenv.SockOptions{})
	c.close(false)
	for range 2 {
		h.d.Pause(c.tok)
		h.d.Resume(c.tok)
		h.d.Accept(c.tok)
		h.d.CloseWrite(c.tok)
		if s := h.d.Send(c.tok, []byte("x"), nil, false); s.N != 0 || s.Blocked() {
			h.Fatalf("send after close: %d sent, status %d", s.N, s.Status)
		}
		h.until("closed", func() bool { return c.closed })
	}
	h.quiet()
}

// destroyBusy destroys the driver with connections in every state; the check
// for leaks at the end of each case does the rest.
func destroyBusy(h *harness) {
	p := testenv.NewPattern(54)
	l := h.listen()
	dial(h, l, 10)
	blocked, paused, ended, closing := h.open(smallBuffers), h.open(testenv.SockOptions{}), h.open(testenv.SockOptions{}), h.open(testenv.SockOptions{})
	h.until("connections", func() bool { return len(l.accepted) == 10 })
	l.discard()
	blocked.fill(p, 0)
	paused.pause()
	paused.peer.MustSend(h, []byte("not read"))
	ended.peer.CloseWrite()
	h.until("end", func() bool { return ended.ended })
	blocked.peer.MustSend(h, []byte("not read"))
	dial(h, l, 10)
	closing.close(true)
	fds := []int{l.fd, blocked.fd, paused.fd, ended.fd, closing.fd}
	h.destroy()
	for _, fd := range fds {
		if isOpen(fd) {
			h.Errorf("descriptor %d is still open after Destroy", fd)
		}
	}
}
