package aiotest

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// fileCases send files that are in memory. They run in every mode.
var fileCases = []testCase{
	{name: "whole", fs: true, run: fileWhole},
	{name: "random ranges", fs: true, run: fileRanges},
	{name: "nothing", run: fileNothing},
	{name: "attempts that cannot be made", run: fileImpossible},
	{name: "beyond its end", fs: true, run: fileBeyondEnd},
	{name: "beyond 4 GiB", fs: true, run: fileBeyond4G},
	{name: "truncated while sent", fs: true, run: fileTruncated},
	{name: "not readable", fs: true, run: fileUnreadable},
	{name: "a directory", fs: true, run: fileDirectory},
	{name: "with head and tail", run: fileHeadAndTail},
	{name: "to a reader that stops and goes on", run: fileStopAndGo},
	{name: "to a slow reader", run: fileSlow},
	{name: "abandoned for another range", run: fileAbandoned},
	{name: "memory in its midst", run: fileInterrupted},
	{name: "on many connections", run: fileMany},
	{name: "reset by the peer", run: fileReset},
	{name: "closed while blocked", fs: true, run: fileClosed},
	{name: "destroyed while blocked", run: fileDestroyed},
	{name: "while the kernel is short of memory", run: fileShort},
	{name: "to a Unix socket", run: fileUnix},
	{name: "taken before it changes", fs: true, run: fileTaken},
	{name: "taken in vain", fs: true, run: fileTakenInVain},
	{name: "read and stat", fs: true, run: fileReadAt},
	{name: "without allocations", run: fileAllocs},
}

// fileWhole sends a file whose size is no multiple of anything.
func fileWhole(h *harness) {
	const size = 3<<20 + 17
	p := testenv.NewPattern(1)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(testenv.SockOptions{})
	x := c.transfer(f, p, 0, size)
	h.deliverAll(x)
	for via, n := range x.sent {
		if aio.Via(via) != h.via && n > 0 {
			h.Errorf("%d bytes of a file in memory went by %v, want %v", n, aio.Via(via), h.via)
		}
	}
	h.checkBytes()
}

// fileRanges sends random ranges, one after the other.
func fileRanges(h *harness) {
	const size = 2<<20 + 5
	p := testenv.NewPattern(2)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(testenv.SockOptions{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		off := rnd.Int64N(size)
		x := c.transfer(f, p, off, 1+rnd.Int64N(min(size-off, 300<<10)))
		x.chunk = 1 + rnd.Int64N(sendChunk)
		h.deliverAll(x)
	}
	h.checkBytes()
}

func fileNothing(h *harness) {
	p := testenv.NewPattern(3)
	f := h.borrow(p.File(h, h.dir, 100))
	c := h.open(testenv.SockOptions{})
	for _, off := range []int64{0, 50, 100} {
		if s := c.sendFile(f, span{p: p, off: off}, false); s.Status != aio.OK || s.N != 0 {
			h.Fatalf("nothing from %d: %d sent, status %d, %v", off, s.N, s.Status, s.Err)
		}
	}
	h.quiet()
}

// fileImpossible makes attempts that make no sense, and some while one is
// blocked. They do nothing to the one that is.
func fileImpossible(h *harness) {
	const size = 4 << 20
	p := testenv.NewPattern(30)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	refused := func(what string, s aio.Sent, want syscall.Errno) {
		h.Helper()
		if s.Status != aio.Failed || s.Err != want || s.N != 0 {
			h.Errorf("%s: %d sent, status %d, %v, want %v", what, s.N, s.Status, s.Err, want)
		}
	}
	refused("negative offset", h.d.SendFile(c.tok, f, -1, 10, false), syscall.EINVAL)
	refused("negative length", h.d.SendFile(c.tok, f, 0, -1, false), syscall.EINVAL)
	refused("overflow", h.d.SendFile(c.tok, f, math.MaxInt64-5, 10, false), syscall.EINVAL)
	off := int64(0)
	c.jam(func() { off = c.fillFile(f, p, off, size) })
	refused("memory while blocked", h.d.Send(c.tok, []byte("x"), nil, false), syscall.EALREADY)
	refused("file while blocked", h.d.SendFile(c.tok, f, off, 10, false), syscall.EALREADY)
	other := aio.MakeToken(c.tok.Slot(), c.tok.Gen()+1)
	refused("memory of another generation", h.d.Send(other, []byte("x"), nil, false), syscall.EBADF)
	refused("file of another generation", h.d.SendFile(other, f, 0, 10, false), syscall.EBADF)
	h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
	h.deliverAll(c.transfer(f, p, off, size-off))
	h.checkBytes()
}

// fileBeyondEnd asks for more than there is: what is there arrives, then the
// answer is EOF.
func fileBeyondEnd(h *harness) {
	const size = 1<<20 + 3
	p := testenv.NewPattern(4)
	f := h.borrow(p.File(h, h.dir, size))
	ranges := []struct{ off, n, want int64 }{
		{size - 1000, 5000, 1000}, {0, size + 1, size}, {size, 1, 0}, {size + 1<<30, 10, 0}, {size - 1, 2, 1},
	}
	xs := make([]*transfer, len(ranges))
	for i, r := range ranges {
		xs[i] = h.open(testenv.SockOptions{}).transfer(f, p, r.off, r.n)
	}
	h.deliver(xs...)
	for i, r := range ranges {
		if x := xs[i]; x.last.Status != aio.EOF || x.off-r.off != r.want {
			h.Errorf("%d bytes from %d: %d sent, status %d, %v, want %d and EOF",
				r.n, r.off, x.off-r.off, x.last.Status, x.err, r.want)
		}
	}
	h.checkBytes()
}

// fileBeyond4G sends from a sparse file around offsets that need more than 32
// bits, and from its holes.
func fileBeyond4G(h *harness) {
	const at, n = 4<<30 - 100_000, 300_000
	p := testenv.NewPattern(5)
	file := p.File(h, h.dir, 0)
	if err := p.WriteAt(file, at, n); err != nil {
		h.Fatal(err)
	}
	if err := file.Truncate(8 << 30); err != nil {
		h.Fatal(err)
	}
	c := h.open(testenv.SockOptions{})
	h.deliverAll(c.transfer(h.borrow(file), p, at, n))
	x := c.transfer(h.borrow(file), p, 6<<30+1, 100_000)
	x.zero = true
	h.deliverAll(x)
	h.checkBytes()
}

// fileTruncated cuts the file while it is sent. The transfer ends with EOF,
// and what was reported as sent arrives. Bytes from beyond the cut, which were
// under way when it happened, may be anything.
func fileTruncated(h *harness) {
	const size, cut = 8 << 20, 3<<20 + 100
	p := testenv.NewPattern(6)
	file := p.File(h, h.dir, size)
	c := h.open(smallBuffers)
	x := c.transfer(h.borrow(file), p, 0, size)
	c.out.cut = cut
	h.until("a good part", func() bool { return c.out.got > 1<<20 }, x.step, c.read)
	if err := file.Truncate(cut); err != nil {
		h.Fatal(err)
	}
	h.deliver(x)
	if x.last.Status != aio.EOF {
		h.Fatalf("status %d, %v after %d bytes, want EOF", x.last.Status, x.err, x.off)
	}
	if x.off < cut {
		h.Fatalf("sent %d bytes of a file cut to %d", x.off, cut)
	}
	h.checkBytes()
}

// fileUnreadable sends a file that was not opened for reading.
func fileUnreadable(h *harness) {
	p := testenv.NewPattern(7)
	file, err := os.OpenFile(p.File(h, h.dir, 100_000).Name(), os.O_WRONLY, 0)
	if err != nil {
		h.Fatal(err)
	}
	defer file.Close()
	c := h.open(testenv.SockOptions{})
	x := c.transfer(h.borrow(file), p, 0, 100_000)
	h.until("failure", func() bool { return x.over }, x.step)
	if x.err != syscall.EBADF || x.off != 0 {
		h.Fatalf("%d bytes sent of an unreadable file, %v", x.off, x.err)
	}
	h.closeAll(c)
}

// fileDirectory sends what cannot be read at all, not even ahead of time.
func fileDirectory(h *harness) {
	dir, err := os.Open(h.dir)
	if err != nil {
		h.Fatal(err)
	}
	defer dir.Close()
	c := h.open(testenv.SockOptions{})
	x := c.transfer(h.borrow(dir), testenv.NewPattern(7), 0, 100_000)
	h.until("failure", func() bool { return x.over }, x.step)
	if x.err == 0 || x.off != 0 {
		h.Fatalf("%d bytes sent of a directory, %v", x.off, x.err)
	}
	h.closeAll(c)
}

// fileHeadAndTail frames a file with memory, as responses do.
func fileHeadAndTail(h *harness) {
	const size = 500_001
	p, m := testenv.NewPattern(8), testenv.NewPattern(9)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(testenv.SockOptions{})
	for range 5 {
		c.send(m, 0, 300, 0, true)
		h.deliverAll(c.transfer(f, p, 0, size))
		c.send(m, 300, 100, 0, false)
		h.until("tail", c.drained, c.read)
	}
	h.checkBytes()
}

// fileShort has the kernel short of memory during some attempts. They are waited for, and
// what comes after them is whole; a connection that is closed meanwhile is not told.
func fileShort(h *harness) {
	if h.d.Name() == "sim" {
		h.Skip("the simulation has faults of its own")
	}
	const size = 1 << 20
	p := testenv.NewPattern(34)
	f := h.borrow(p.File(h, h.dir, size))
	short := func(c *conn, attempt func() aio.Sent) {
		h.Helper()
		var s aio.Sent
		done := make(chan struct{})
		go func() {
			defer close(done)
			testenv.Deny(h, syscall.ENOMEM, unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_SENDTO, unix.SYS_SENDMSG)
			s = attempt()
		}()
		if <-done; h.Skipped() {
			runtime.Goexit()
		}
		if c.answer(s, size); s.Status != aio.BlockedMemory || s.N != 0 {
			h.Fatalf("%d bytes, status %d, %v", s.N, s.Status, s.Err)
		}
	}
	c, gone := h.open(testenv.SockOptions{}), h.open(testenv.SockOptions{})
	for _, attempt := range []func() aio.Sent{
		func() aio.Sent { return h.d.Send(c.tok, []byte("head"), []byte("body"), false) },
		func() aio.Sent { return h.d.SendFile(c.tok, f, 0, size, false) },
	} {
		short(c, attempt)
		short(gone, func() aio.Sent { return h.d.SendFile(gone.tok, f, 0, size, false) })
		h.closeAll(gone)
		h.until("ready", func() bool { return c.blocked == aio.OK })
		gone = h.open(testenv.SockOptions{})
	}
	h.deliverAll(c.transfer(f, p, 0, size))
	h.quiet()
}

// fillFile sends a file until the socket is full. It returns the offset reached.
func (c *conn) fillFile(f *aio.File, p testenv.Pattern, off, end int64) int64 {
	h := c.h
	h.Helper()
	x := c.transfer(f, p, off, end-off)
	h.until("a full socket", func() bool { return c.blocked == aio.BlockedSocket || x.over }, x.step)
	if x.over {
		h.Fatalf("fault of the test: the sockets took all (status %d, %v)", x.last.Status, x.err)
	}
	return x.off
}

func fileStopAndGo(h *harness) {
	const size = 4 << 20
	p := testenv.NewPattern(10)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	off := int64(0)
	for range 5 {
		c.jam(func() { off = c.fillFile(f, p, off, size) })
		h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
	}
	h.deliverAll(c.transfer(f, p, off, size-off))
	h.checkBytes()
}

func fileSlow(h *harness) {
	const size = 300_000
	p := testenv.NewPattern(11)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	x := c.transfer(f, p, 0, size)
	h.until("all bytes", func() bool { return x.over && c.drained() }, x.step,
		func() bool { n, _ := c.readSome(777); return n > 0 })
	if !x.complete() {
		h.Fatalf("status %d, %v", x.last.Status, x.err)
	}
}

// fileAbandoned does not go on where an attempt was blocked, but elsewhere in
// the file, in another file, and with fewer bytes than before: what a driver
// may have taken ahead must not be sent.
func fileAbandoned(h *harness) {
	const size = 2 << 20
	p, q := testenv.NewPattern(12), testenv.NewPattern(13)
	f, g := h.borrow(p.File(h, h.dir, size)), h.borrow(q.File(h, h.dir, size))
	c := h.open(smallBuffers)
	ready := func() {
		h.Helper()
		h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
	}
	off := c.fillFile(f, p, 0, size)
	ready()
	h.deliverAll(c.transfer(f, p, 5, 1000)) // elsewhere
	off = c.fillFile(f, p, off, size)
	ready()
	h.deliverAll(c.transfer(g, q, off, 1000)) // same offset of another file
	off = c.fillFile(f, p, off, size)
	ready()
	h.deliverAll(c.transfer(f, p, off, 10)) // only a few bytes more
	h.deliverAll(c.transfer(f, p, off+10, 10), c.transfer(f, p, off+10, 0))
	h.deliverAll(c.transfer(g, q, 0, 100_000))
	for i := range int64(20) { // again and again: nothing piles up
		c.fillFile(f, p, i*1000, size)
		ready()
	}
	if n := h.d.Stats().PipesOpen; n > 4 {
		h.Errorf("%d pipes are open for one connection", n)
	}
	h.checkBytes()
}

// fileInterrupted sends memory where a file was blocked, then goes on with it.
func fileInterrupted(h *harness) {
	const size = 2 << 20
	p, m := testenv.NewPattern(14), testenv.NewPattern(15)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	off := c.fillFile(f, p, 0, size)
	h.until("drained", func() bool { return c.blocked == aio.OK && c.drained() }, c.read)
	c.send(m, 0, 100, 0, false)
	h.until("memory", func() bool { return c.blocked == aio.OK && c.drained() }, c.read)
	h.deliverAll(c.transfer(f, p, off, size-off))
	h.checkBytes()
}

// fileMany answers a thousand connections at once from a few files.
func fileMany(h *harness) {
	const size, part = 1 << 20, 20_000
	n := min(1000, testenv.FDRoom(h)/4) // two ends, and perhaps a pipe
	conns := h.openMany(n, testenv.SockOptions{})
	xs := make([]*transfer, n)
	for i := range 4 {
		p := testenv.NewPattern(uint64(16 + i))
		f := h.borrow(p.File(h, h.dir, size))
		for k := i; k < n; k += 4 {
			xs[k] = conns[k].transfer(f, p, int64(k)*1009%(size-part), part)
		}
	}
	h.deliverAll(xs...)
	h.closeAll(conns...)
	h.checkBytes()
}

func fileReset(h *harness) {
	const size = 4 << 20
	p := testenv.NewPattern(20)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	off := c.fillFile(f, p, 0, size)
	h.quiet()
	c.peer.Reset()
	h.until("ready and reset", func() bool { return c.blocked == aio.OK && c.ended })
	if c.endErr != syscall.ECONNRESET {
		h.Errorf("end of stream with %v, want %v", c.endErr, syscall.ECONNRESET)
	}
	x := c.transfer(f, p, off, size-off)
	x.err = c.readyErr
	h.until("failure", func() bool { return x.over }, x.step)
	if x.err == 0 || x.off != off {
		h.Fatalf("%d bytes sent to a peer that is gone, %v", x.off-off, x.err)
	}
	h.closeAll(c)
}

// fileClosed closes connections while a file is blocked on the socket, and the
// file right after: another one gets its number.
func fileClosed(h *harness) {
	const size = 2 << 20
	for i := range 5 {
		p := testenv.NewPattern(uint64(21 + i))
		file := p.File(h, h.dir, size)
		c := h.open(smallBuffers)
		c.fillFile(h.borrow(file), p, 0, size)
		h.closeAll(c)
		mustBeClosed(h, c)
		file.Close()
	}
	if n := h.d.Stats().PipesOpen; n > 1 {
		h.Errorf("%d pipes are open although nothing is sent", n)
	}
	h.quiet()
}

func fileDestroyed(h *harness) {
	const size = 2 << 20
	p := testenv.NewPattern(26)
	f := h.borrow(p.File(h, h.dir, size))
	for range 20 {
		h.open(smallBuffers).fillFile(f, p, 0, size)
	}
	h.destroy()
}

// fileUnix sends to a Unix socket, whose buffer is small and counts otherwise.
func fileUnix(h *harness) {
	const size = 3<<20 + 1
	p := testenv.NewPattern(28)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.adopt(testenv.UnixPair(h))
	inbound(c, p)
	c.peer.MustSend(h, p.Bytes(0, 100))
	h.until("request", func() bool { return c.received == 100 })
	h.deliverAll(c.transfer(f, p, 0, size))
	c.fillFile(f, p, 0, size)
	c.peer.Close()
	h.until("ready and end", func() bool { return c.blocked == aio.OK && c.ended })
	h.closeAll(c)
	h.checkBytes()
}

// fileAllocs shows that a turn with a request, a head and a file allocates
// nothing.
func fileAllocs(h *harness) {
	const size = 64 << 10
	p := testenv.NewPattern(29)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(testenv.SockOptions{})
	request, head := []byte("request"), p.Bytes(0, 200)
	buf := make([]byte, size)
	wait := func(enough func() bool, note func(ev *aio.Event)) {
		for !enough() {
			n, err := h.d.Wait(h.ev, nap)
			if err != nil {
				h.Fatal(err)
			}
			for i := range h.ev[:n] {
				note(&h.ev[i])
			}
		}
	}
	var received, want, due, arrived int64
	blocked := false
	enough := func() bool { return received == want && !blocked }
	note := func(ev *aio.Event) {
		received += int64(len(ev.Data))
		blocked = blocked && ev.Op != aio.Ready
	}
	turn := func() {
		c.peer.MustSend(h, request)
		want += int64(len(request))
		wait(enough, note)
		if s := h.d.Send(c.tok, head, nil, true); s.Status != aio.OK {
			h.Fatalf("send: status %d, %v", s.Status, s.Err)
		}
		for off := int64(0); off < size; {
			s := h.d.SendFile(c.tok, f, off, size-off, false)
			if s.Status == aio.Failed || s.Status == aio.EOF {
				h.Fatalf("send file: status %d, %v", s.Status, s.Err)
			}
			off += s.N
			blocked = s.Blocked()
			wait(enough, note)
		}
		for due += int64(len(head)) + size; arrived < due; {
			n, _ := c.peer.Recv(buf)
			arrived += int64(n)
		}
	}
	for range 10 {
		turn() // pools and tables fill
	}
	if n := testing.AllocsPerRun(200, turn); n >= 1 {
		h.Errorf("%v allocations a turn", n)
	}
}
