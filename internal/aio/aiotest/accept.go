package aiotest

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/testenv"
)

var acceptCases = []testCase{
	{name: "accept", run: acceptBasic},
	{name: "accept many", run: acceptMany},
	{name: "accept without descriptors", run: acceptExhausted},
	{name: "accept what was reset meanwhile", run: acceptReset},
	{name: "close a listener", run: acceptClose},
	{name: "close a listener that ran out of descriptors", run: acceptCloseStopped},
	{name: "close a listener that others share", run: acceptCloseShared},
	{name: "accept from a shared socket", run: acceptShared},
}

// dial connects n peers to a listener without waiting for it.
func dial(h *harness, l *conn, n int) []*testenv.Peer {
	h.Helper()
	peers := make([]*testenv.Peer, n)
	for i := range peers {
		peers[i] = testenv.NewPeer(h, testenv.SockOptions{})
		peers[i].Connect(h, l.fd)
	}
	return peers
}

// discard closes the connections that a listener has accepted.
func (c *conn) discard() {
	for _, fd := range c.accepted {
		unix.Close(fd)
	}
	c.accepted = nil
}

// acceptBasic accepts a connection and checks what the contract promises of
// its descriptor by using it.
func acceptBasic(h *harness) {
	l := h.listen()
	peer := dial(h, l, 1)[0]
	h.until("a connection", func() bool { return len(l.accepted) == 1 })
	fd := l.accepted[0]
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		h.Errorf("accepted descriptor blocks (flags %#x, %v)", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		h.Errorf("accepted descriptor stays open on exec (flags %#x, %v)", flags, err)
	}
	p := testenv.NewPattern(40)
	c := h.adopt(fd, peer)
	inbound(c, p)
	peer.MustSend(h, p.Bytes(0, 100))
	h.until("bytes", func() bool { return c.received == 100 })
	c.send(p, 0, 0, 100, false)
	h.until("answer", c.drained, c.read)
}

// acceptMany has more connections waiting than one turn reports.
func acceptMany(h *harness) {
	const n = 300
	l := h.listen()
	dial(h, l, n)
	h.until("connections", func() bool { return len(l.accepted) == n })
	seen := map[int]bool{}
	for _, fd := range l.accepted {
		if seen[fd] {
			h.Errorf("descriptor %d was given twice", fd)
		}
		seen[fd] = true
	}
	l.discard()
	dial(h, l, 1)
	h.until("one more", func() bool { return len(l.accepted) == 1 })
	l.discard()
}

// acceptShared has two listeners at one socket, and closes one: each connection is
// given once, to one of them, and the other goes on.
func acceptShared(h *harness) {
	const n = 100
	fd := testenv.Listen(h)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	a, b := h.listenAt(fd, true), h.listenAt(dup, true)
	for range 3 {
		dial(h, a, n)
		h.until("connections", func() bool { return len(a.accepted)+len(b.accepted) == n })
		h.quiet()
		if got := len(a.accepted) + len(b.accepted); got != n {
			h.Errorf("%d connections of %d", got, n)
		}
		a.discard()
		b.discard()
	}
	h.closeAll(a)
	dial(h, b, n)
	h.until("connections", func() bool { return len(b.accepted) == n })
	b.discard()
}

// acceptExhausted runs out of descriptors: one error, silence, and no
// connection lost once Accept is called with descriptors to spare.
func acceptExhausted(h *harness) {
	const n = 3
	testenv.LimitFDs(h, 64)
	l := h.listen()
	peers := make([]*testenv.Peer, n)
	for i := range peers {
		peers[i] = testenv.NewPeer(h, testenv.SockOptions{})
	}
	h.quiet()
	restore := testenv.ExhaustFDs(h)
	for _, p := range peers {
		p.Connect(h, l.fd)
	}
	for round := 1; round <= 3; round++ {
		h.until("the error", func() bool { return len(l.acceptErr) == round })
		if e := l.acceptErr[round-1]; e != syscall.EMFILE {
			h.Fatalf("accept failed with %v, want %v", e, syscall.EMFILE)
		}
		h.quiet() // no second event before Accept
		l.stopped = false
		h.d.Accept(l.tok)
	}
	h.until("the error", func() bool { return len(l.acceptErr) == 4 })
	restore()
	h.quiet()
	l.stopped = false
	h.d.Accept(l.tok)
	h.until("connections", func() bool { return len(l.accepted) == n })
	h.d.Accept(l.tok) // it is accepting: harmless
	h.quiet()
	l.discard()
	if h.d.Stats().Errors[aio.Wait] < 4 {
		h.Errorf("errors of class wait: %d, want 4 or more", h.d.Stats().Errors[aio.Wait])
	}
}

// acceptReset has peers reset before they are accepted. Linux still hands
// these out; whatever the driver makes of them, the listener goes on.
func acceptReset(h *harness) {
	l := h.listen()
	h.quiet()
	for range 5 {
		for _, p := range dial(h, l, 4) {
			p.Reset()
		}
		h.quiet()
		if l.stopped {
			h.Fatalf("the listener stopped: %v", l.acceptErr)
		}
		l.discard()
	}
	dial(h, l, 1)
	h.until("a connection", func() bool { return len(l.accepted) == 1 })
	l.discard()
}

// acceptClose closes a listener while connections wait.
func acceptClose(h *harness) {
	l := h.listen()
	dial(h, l, 10)
	h.closeAll(l)
	if isOpen(l.fd) {
		h.Error("the listener is still open after Closed")
	}
	l.discard()
	h.quiet()
}

// acceptCloseStopped closes a listener whose stream is over.
func acceptCloseStopped(h *harness) {
	testenv.LimitFDs(h, 64)
	l := h.listen()
	peer := testenv.NewPeer(h, testenv.SockOptions{})
	h.quiet()
	restore := testenv.ExhaustFDs(h)
	peer.Connect(h, l.fd)
	h.until("the error", func() bool { return len(l.acceptErr) == 1 })
	h.closeAll(l)
	restore()
	h.d.Accept(l.tok) // for a use that has ended: harmless
	h.quiet()
}

// acceptCloseShared closes a listener while connections arrive, as a process does
// whose successor has the same socket: each connection is either reported or
// still in the queue, and taking those from there never blocks.
func acceptCloseShared(h *harness) {
	const before, after = 150, 50
	l := h.listen()
	shared, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	defer unix.Close(shared)
	dial(h, l, before)
	h.wait(nap) // arms the stream; one batch of connections is reported
	dial(h, l, after)
	l.close(false)
	h.until("closed", func() bool { return l.closed })
	reported := len(l.accepted)
	for {
		fd, e := sys.Accept4(int32(shared))
		if e == syscall.EAGAIN {
			break
		}
		if e != 0 {
			h.Fatalf("accept: %v", e)
		}
		l.accepted = append(l.accepted, int(fd))
	}
	if n := len(l.accepted); n != before+after {
		h.Errorf("%d connections of %d, %d of them reported", n, before+after, reported)
	}
	l.discard()
}
