package aiotest

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// sendChunk is how much an attempt asks for, as the engine does.
const sendChunk = 256 << 10

// transfer sends a range of a file over a connection, attempt by attempt.
type transfer struct {
	c        *conn
	f        *aio.File
	p        testenv.Pattern
	off, end int64
	chunk    int64 // how much an attempt asks for
	zero     bool  // the range is a hole

	over  bool
	last  aio.Sent      // the answer that ended it, if not all was sent
	err   syscall.Errno // with which it failed
	sent  [aio.NumVia]int64
	disk  int // attempts that were blocked on the disk
	full  int // attempts that were blocked on the socket
	calls int
}

func (c *conn) transfer(f *aio.File, p testenv.Pattern, off, n int64) *transfer {
	return &transfer{c: c, f: f, p: p, off: off, end: off + n, chunk: sendChunk, over: n == 0}
}

// step makes one attempt unless one is blocked. It reports progress.
func (x *transfer) step() bool {
	x.c.h.Helper()
	if x.over || x.c.blocked != aio.OK {
		return false
	}
	if x.c.readyErr != 0 {
		x.over, x.err = true, x.c.readyErr
		return false
	}
	n := min(x.end-x.off, x.chunk)
	s := x.c.sendFile(x.f, span{x.p, x.off, n, x.zero}, x.off+n < x.end)
	x.calls++
	x.off += s.N
	x.sent[s.Via] += s.N
	switch s.Status {
	case aio.BlockedDisk:
		x.disk++
	case aio.BlockedSocket:
		x.full++
	case aio.EOF, aio.Failed:
		x.over, x.last, x.err = true, s, s.Err
	}
	if x.off == x.end {
		x.over = true
	}
	return true
}

// complete reports whether everything was sent.
func (x *transfer) complete() bool { return x.over && x.off == x.end }

// deliver drives transfers until they are over and the peers, reading as fast
// as they can, have received all of it.
func (h *harness) deliver(xs ...*transfer) {
	h.Helper()
	h.until("delivery", func() bool {
		return all(xs, func(x *transfer) bool { return x.over && x.c.drained() })
	}, func() bool {
		progress := false
		for _, x := range xs {
			progress = x.step() || progress
			progress = x.c.read() || progress
		}
		return progress
	})
}

// deliverAll is deliver, and fails unless every transfer was complete.
func (h *harness) deliverAll(xs ...*transfer) {
	h.Helper()
	h.deliver(xs...)
	for _, x := range xs {
		if !x.complete() {
			h.Fatalf("transfer stopped %d bytes early: status %d, %v", x.end-x.off, x.last.Status, x.err)
		}
	}
}
