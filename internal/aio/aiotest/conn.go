package aiotest

import (
	"fmt"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// conn is one use of a slot, with what the driver has said about it.
type conn struct {
	h        *harness
	tok      aio.Token
	fd       int
	peer     *testenv.Peer
	listener bool

	// Receiving. in, if set, is called with the bytes of each event.
	in       func(b []byte)
	received int64
	ended    bool // by an end of stream or an error
	endErr   syscall.Errno
	paused   bool

	// Accepting. The descriptors belong to the case.
	accepted  []int
	acceptErr []syscall.Errno
	stopped   bool

	// Sending.
	blocked  aio.Status // BlockedSocket or BlockedDisk while a Ready is owed
	readies  int
	room     bool // the last Ready said that the socket has room again
	readyErr syscall.Errno
	out      sink // what the peer must receive

	closing, closed bool
}

func (c *conn) recordAccepted(ev *aio.Event) {
	h := c.h
	h.Helper()
	switch {
	case !c.listener:
		h.Fatal("accepted event for a connection")
	case c.stopped:
		h.Fatal("accepted event after the end of the stream")
	case ev.Err != 0:
		if ev.More {
			h.Fatalf("accept failed (%v) and yet there is more", ev.Err)
		}
		c.stopped = true
		c.acceptErr = append(c.acceptErr, ev.Err)
	default:
		if !ev.More {
			c.stopped = true
		}
		c.accepted = append(c.accepted, int(ev.FD))
	}
}

func (c *conn) recordReceived(ev *aio.Event) {
	h := c.h
	h.Helper()
	switch {
	case c.listener:
		h.Fatal("received event for a listener")
	case c.ended:
		h.Fatalf("received event after the end of the stream: %d bytes, %v", len(ev.Data), ev.Err)
	case len(ev.Data) == 0 || ev.Err != 0:
		if ev.More {
			h.Fatalf("end of stream (%v) and yet there is more", ev.Err)
		}
		c.ended, c.endErr = true, ev.Err
		return
	case !ev.More && !c.paused:
		h.Fatal("the stream of received events stopped by itself")
	}
	c.received += int64(len(ev.Data))
	if c.in != nil {
		c.in(ev.Data)
	}
}

func (c *conn) recordReady(ev *aio.Event) {
	c.h.Helper()
	if c.blocked == aio.OK {
		c.h.Fatal("ready event that is not owed")
	}
	c.room = c.blocked == aio.BlockedSocket
	c.blocked = aio.OK
	c.readies++
	c.readyErr = ev.Err
}

func (c *conn) recordClosed() {
	c.h.Helper()
	if !c.closing {
		c.h.Fatal("closed event without Close")
	}
	c.closed = true
	slot := c.tok.Slot()
	c.h.conns[slot] = nil
	c.h.free = append(c.h.free, slot)
}

// close asks the driver to close.
func (c *conn) close(reset bool) {
	if !c.closing {
		c.closing = true
		c.h.d.Close(c.tok, reset)
	}
}

func (c *conn) pause() {
	c.paused = true
	c.h.d.Pause(c.tok)
}

func (c *conn) resume() {
	c.paused = false
	c.h.d.Resume(c.tok)
}

// send attempts to send bytes of a pattern and checks the form of the answer.
func (c *conn) send(p testenv.Pattern, off int64, head, body int, more bool) aio.Sent {
	c.h.Helper()
	b := p.Bytes(off, head+body)
	s := c.h.d.Send(c.tok, b[:head], b[head:], more)
	clear(b) // the driver must not have kept it
	c.answer(s, int64(head+body))
	if s.N > 0 && s.Via != aio.ViaMemory {
		c.h.Fatalf("memory sent by %v", s.Via)
	}
	c.out.expect(span{p: p, off: off, n: s.N})
	return s
}

// sendFile attempts to send a range of a file that holds w.
func (c *conn) sendFile(f *aio.File, w span, more bool) aio.Sent {
	c.h.Helper()
	s := c.h.d.SendFile(c.tok, f, w.off, w.n, more)
	c.answer(s, w.n)
	w.n = s.N
	c.out.expect(w)
	return s
}

// answer checks the form of an answer to an attempt on n bytes.
func (c *conn) answer(s aio.Sent, n int64) {
	h := c.h
	h.Helper()
	if c.blocked != aio.OK {
		h.Fatal("fault of the test: attempt while blocked")
	}
	switch {
	case s.N < 0 || s.N > n:
		h.Fatalf("sent %d of %d bytes", s.N, n)
	case s.Status > aio.Failed:
		h.Fatalf("status %d", s.Status)
	case s.Status == aio.OK && s.N == 0 && n > 0:
		h.Fatal("status OK without a byte sent")
	case s.Status != aio.OK && s.N == n:
		h.Fatalf("all %d bytes sent and yet status %d", n, s.Status)
	case (s.Err != 0) != (s.Status == aio.Failed):
		h.Fatalf("status %d with error %v", s.Status, s.Err)
	case c.room && n > 0 && s.Status == aio.BlockedSocket && s.N == 0:
		h.Fatal("ready although the socket is full")
	case s.Via >= aio.NumVia:
		h.Fatalf("way %d", s.Via)
	}
	h.sent[s.Via] += s.N
	c.room = c.room && n == 0
	if s.Blocked() {
		c.blocked = s.Status
	}
}

// sink verifies a stream against the pattern ranges that it must consist of.
type sink struct {
	want []span
	next int   // first span that is not verified to its end
	got  int64 // bytes verified
	due  int64 // bytes expected
	cut  int64 // if not 0: pattern offsets from here on may hold anything
}

// span is a range of a pattern, or of zeros.
type span struct {
	p      testenv.Pattern
	off, n int64
	zero   bool
}

// check compares bytes with the beginning of the span, as far as the content
// is known.
func (w *span) check(b []byte, cut int64) error {
	if w.zero {
		for i, x := range b {
			if x != 0 {
				return fmt.Errorf("byte %d of a hole is %#x", i, x)
			}
		}
		return nil
	}
	if cut > 0 {
		b = b[:max(min(int64(len(b)), cut-w.off), 0)]
	}
	return w.p.Check(b, w.off)
}

// expect appends a range to what must come.
func (s *sink) expect(w span) {
	if w.n == 0 {
		return
	}
	s.due += w.n
	if k := len(s.want); k > s.next {
		if last := &s.want[k-1]; last.p == w.p && last.zero == w.zero && last.off+last.n == w.off {
			last.n += w.n
			return
		}
	}
	s.want = append(s.want, w)
}

// verify checks the next bytes of the stream.
func (s *sink) verify(h *harness, b []byte) {
	h.Helper()
	for len(b) > 0 {
		if s.next == len(s.want) {
			h.Fatalf("%d bytes too many after %d", len(b), s.got)
		}
		w := &s.want[s.next]
		k := min(int64(len(b)), w.n)
		if err := w.check(b[:k], s.cut); err != nil {
			h.Fatalf("byte %d of the stream: %v", s.got, err)
		}
		w.off, w.n, s.got, b = w.off+k, w.n-k, s.got+k, b[k:]
		if w.n == 0 {
			s.next++
		}
	}
}

// readBuf is how much a peer takes at once.
const readBuf = 256 << 10

// read lets the peer receive what has arrived, at most one buffer, and
// verifies it. It reports whether there was anything.
func (c *conn) read() bool {
	c.h.Helper()
	n, _ := c.readSome(readBuf)
	return n > 0
}

// readSome is read with a bound; the errno is what stopped it, 0 at the end of
// the stream.
func (c *conn) readSome(limit int) (int, syscall.Errno) {
	c.h.Helper()
	if cap(c.h.buf) < readBuf {
		c.h.buf = make([]byte, readBuf)
	}
	n, e := c.peer.Recv(c.h.buf[:limit])
	c.out.verify(c.h, c.h.buf[:n])
	return n, e
}

// drained reports whether the peer has received all that was sent.
func (c *conn) drained() bool { return c.out.got == c.out.due }
