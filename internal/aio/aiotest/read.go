package aiotest

import (
	"math"
	"os"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// readCases read ranges of files into memory for a slot.
var readCases = []testCase{
	{name: "read into memory", fs: true, run: readHot},
	{name: "read into memory/in vain", fs: true, run: readInVain},
	{name: "read into memory/cut", fs: true, run: readCut},
}

var coldReadCases = []testCase{
	{name: "cold/read into memory", run: readCold},
	{name: "cold/read into memory in small chunks", cfg: smallChunks, run: readCold},
	{name: "cold/closed while read", cfg: smallChunks, run: readClosed},
}

// readFile attempts to read n bytes that p describes.
func (c *conn) readFile(f *aio.File, p testenv.Pattern, off, n int64) aio.Sent {
	c.h.Helper()
	buf := make([]byte, n)
	s := c.h.d.ReadFile(c.tok, f, buf, off)
	switch {
	case c.blocked != aio.OK:
		c.h.Fatal("fault of the test: attempt while blocked")
	case (s.N > 0) != (s.Status == aio.OK && n > 0), s.N > n, s.Status == aio.BlockedSocket, s.Via != aio.ViaCopy && s.Status != aio.Failed:
		c.h.Fatalf("%d bytes from %d: %+v", n, off, s)
	}
	if err := p.Check(buf[:s.N], off); err != nil {
		c.h.Fatal(err)
	}
	if s.Blocked() {
		c.blocked = s.Status
	}
	return s
}

// readAll reads a range to its end and returns how often the disk was waited for.
func (c *conn) readAll(f *aio.File, p testenv.Pattern, off, n, chunk int64) (waits int) {
	c.h.Helper()
	for end := off + n; off < end; {
		s := c.readFile(f, p, off, min(chunk, end-off))
		off += s.N
		switch s.Status {
		case aio.OK:
		case aio.BlockedDisk:
			waits++
			c.h.until("ready", func() bool { return c.blocked == aio.OK })
		default:
			c.h.Fatalf("at %d: %+v", off, s)
		}
	}
	return waits
}

func readHot(h *harness) {
	const size = 1<<20 + 77
	p := testenv.NewPattern(90)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(testenv.SockOptions{})
	for _, chunk := range []int64{size, 16 << 10, 100_001} {
		c.readAll(f, p, 0, size, chunk)
	}
	c.readAll(f, p, 5000, 3, 3)
	h.deliverAll(c.transfer(f, p, 0, size)) // which goes on elsewhere
	c.readAll(f, p, 1000, 9000, 5000)
	if h.d.Stage(c.tok, f, 10_000, 500) {
		c.readAll(f, p, 10_000, 500, 500) // where it would go on
	}
	h.deliverAll(c.transfer(f, p, 10_000, 5000))
	h.checkBytes()
}

func readInVain(h *harness) {
	const size = 100_000
	p := testenv.NewPattern(91)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	wants := func(what string, s aio.Sent, status aio.Status, e syscall.Errno) {
		h.Helper()
		if s.N != 0 || s.Status != status || s.Err != e {
			h.Errorf("%s: %+v, want status %d, %v", what, s, status, e)
		}
	}
	wants("nothing", c.readFile(f, p, 10, 0), aio.OK, 0)
	wants("at the end", c.readFile(f, p, size, 10), aio.EOF, 0)
	wants("behind it", c.readFile(f, p, size+5000, 10), aio.EOF, 0)
	wants("negative offset", c.readFile(f, p, -1, 1), aio.Failed, syscall.EINVAL)
	wants("overflow", c.readFile(f, p, math.MaxInt64, 1), aio.Failed, syscall.EINVAL)
	var b [1]byte
	wants("another generation", h.d.ReadFile(aio.MakeToken(c.tok.Slot(), c.tok.Gen()+1), f, b[:], 0), aio.Failed, syscall.EBADF)
	off := int64(0)
	c.jam(func() { off = c.fillFile(f, p, off, size) })
	wants("while blocked", h.d.ReadFile(c.tok, f, b[:], 0), aio.Failed, syscall.EALREADY)
	h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
	h.deliverAll(c.transfer(f, p, off, size-off))
	h.checkBytes()
}

// readCut reads on in a file that has become shorter.
func readCut(h *harness) {
	const size = 200_000
	p := testenv.NewPattern(92)
	file := p.File(h, h.dir, size)
	f := h.borrow(file)
	c := h.open(testenv.SockOptions{})
	c.readAll(f, p, 0, 50_000, 50_000)
	if err := os.Truncate(file.Name(), 60_000); err != nil {
		h.Fatal(err)
	}
	c.readAll(f, p, 50_000, 10_000, 50_000)
	if s := c.readFile(f, p, 60_000, 10); s.Status != aio.EOF {
		h.Errorf("behind the new end: %+v", s)
	}
}

func readCold(h *harness) {
	const size = 3<<20 + 5
	p := testenv.NewPattern(93)
	f := h.borrow(h.coldFile(p, size))
	c := h.open(testenv.SockOptions{})
	if c.readAll(f, p, 0, size, 64<<10) == 0 {
		h.Fatal("a cold file was read without a wait")
	}
	if h.d.Stats().ColdReads == 0 {
		h.Error("no cold reads are counted")
	}
	c.readAll(f, p, 0, size, 256<<10)
}

// readClosed closes the connection while a fetch for it is under way.
func readClosed(h *harness) {
	const size = 2 << 20
	p := testenv.NewPattern(94)
	f := h.borrow(h.coldFile(p, size))
	c := h.open(testenv.SockOptions{})
	for off := int64(0); c.blocked == aio.OK && off < size; { // a fast disk may have read some already, see refused
		off += c.readFile(f, p, off, min(size-off, 100_000)).N
	}
	c.close(false)
	c2 := h.open(testenv.SockOptions{})
	c2.readAll(f, p, 0, size, 256<<10)
}
