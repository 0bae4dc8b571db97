package aiotest

import (
	"math/rand/v2"
	"os"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// smallChunks make a file consist of many fetches.
var smallChunks = aio.Config{ColdChunk: 128 << 10, ColdWorkers: 2}

// coldCases send files that are not in memory. They run in every mode, on the
// regular file system.
var coldCases = []testCase{
	{name: "cold/whole", run: coldWhole},
	{name: "cold/whole in small chunks", cfg: smallChunks, run: coldWhole},
	{name: "cold/random ranges", cfg: smallChunks, run: coldRanges},
	{name: "cold/in places", cfg: smallChunks, run: coldPlaces},
	{name: "cold/again and again", cfg: smallChunks, run: coldAgain},
	{name: "cold/to a slow reader", cfg: smallChunks, run: coldSlow},
	{name: "cold/beside hot ones", cfg: smallChunks, run: coldMany},
	{name: "cold/beyond its end", run: coldBeyondEnd},
	{name: "cold/truncated while fetched", run: coldTruncated},
	{name: "cold/not readable", run: coldUnreadable},
	{name: "cold/reset by the peer", run: coldReset},
	{name: "cold/closed while fetched", cfg: smallChunks, run: coldClosed},
	{name: "cold/closed while fetched ahead", cfg: smallChunks, run: coldClosedAhead},
	{name: "cold/destroyed while fetched", cfg: smallChunks, run: coldDestroyed},
	{name: "cold/read", run: coldReadAt},
}

// coldFile makes a file that is not in memory.
func (h *harness) coldFile(p testenv.Pattern, size int64) *os.File {
	h.Helper()
	f := p.File(h, h.dir, size)
	testenv.NeedCold(h, f)
	return f
}

// coldWhole sends a cold file. Its first attempt must not wait for the disk.
func coldWhole(h *harness) {
	const size = 5<<20 + 19
	p := testenv.NewPattern(80)
	f := h.borrow(h.coldFile(p, size))
	c := h.open(testenv.SockOptions{})
	x := c.transfer(f, p, 0, size)
	x.step()
	if c.blocked != aio.BlockedDisk {
		h.Fatal("the first attempt on a cold file was not blocked on the disk")
	}
	if s := h.d.SendFile(c.tok, f, 0, 10, false); s.Status != aio.Failed || s.Err != syscall.EALREADY {
		h.Errorf("attempt while blocked on the disk: status %d, %v", s.Status, s.Err)
	}
	h.deliverAll(x)
	if h.d.Stats().ColdReads == 0 {
		h.Error("no cold reads are counted")
	}
	h.checkBytes()
}

func coldRanges(h *harness) {
	const size = 4 << 20
	p := testenv.NewPattern(81)
	file := h.coldFile(p, size)
	c := h.open(testenv.SockOptions{})
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 40 {
		if i%10 == 0 {
			testenv.Evict(h, file, 0, 0)
		}
		off := rnd.Int64N(size)
		x := c.transfer(h.borrow(file), p, off, 1+rnd.Int64N(min(size-off, 500<<10)))
		x.chunk = 1 + rnd.Int64N(sendChunk)
		h.deliverAll(x)
	}
	h.checkBytes()
}

// coldPlaces sends a file of which only some pages are in memory.
func coldPlaces(h *harness) {
	const size, hole = 3 << 20, 96 << 10
	p := testenv.NewPattern(82)
	file := p.File(h, h.dir, size)
	if err := file.Sync(); err != nil {
		h.Fatal(err)
	}
	for off := int64(64 << 10); off < size; off += 3 * hole {
		testenv.Evict(h, file, off, hole)
	}
	c := h.open(testenv.SockOptions{})
	h.deliverAll(c.transfer(h.borrow(file), p, 0, size))
	h.checkBytes()
}

// coldAgain drops the file from memory each time that the transfer is blocked
// on its socket, so that what was fetched is gone again.
func coldAgain(h *harness) {
	const size = 2 << 20
	p := testenv.NewPattern(83)
	file := h.coldFile(p, size)
	c := h.open(smallBuffers)
	x := c.transfer(h.borrow(file), p, 0, size)
	drops := 0
	h.until("all bytes", func() bool { return x.over && c.drained() }, x.step, func() bool {
		if c.blocked == aio.BlockedSocket && drops < 20 && c.out.got > int64(drops)*size/20 {
			drops++
			testenv.Evict(h, file, 0, 0)
		}
		return c.read()
	})
	if !x.complete() {
		h.Fatalf("status %d, %v", x.last.Status, x.err)
	}
	h.checkBytes()
}

func coldSlow(h *harness) {
	const size = 1 << 20
	p := testenv.NewPattern(84)
	file := h.coldFile(p, size)
	c := h.open(smallBuffers)
	x := c.transfer(h.borrow(file), p, 0, size)
	h.until("all bytes", func() bool { return x.over && c.drained() }, x.step,
		func() bool { n, _ := c.readSome(3000); return n > 0 })
	if !x.complete() {
		h.Fatalf("status %d, %v", x.last.Status, x.err)
	}
}

// coldMany sends cold files, one of them to several, beside hot ones.
func coldMany(h *harness) {
	const size = 1 << 20
	var xs []*transfer
	for i := range 12 {
		p := testenv.NewPattern(uint64(85 + i))
		file := p.File(h, h.dir, size)
		if i%3 != 0 {
			testenv.NeedCold(h, file)
		}
		f := h.borrow(file)
		for range 1 + i%4 {
			xs = append(xs, h.open(testenv.SockOptions{}).transfer(f, p, int64(i)*1000, size-int64(i)*1000))
		}
	}
	h.deliverAll(xs...)
	h.checkBytes()
}

func coldBeyondEnd(h *harness) {
	const size = 100_003
	offs := []int64{size - 1000, size, size + 10<<20}
	xs := make([]*transfer, len(offs))
	for i, off := range offs {
		p := testenv.NewPattern(uint64(140 + i))
		xs[i] = h.open(testenv.SockOptions{}).transfer(h.borrow(h.coldFile(p, size)), p, off, 4<<20)
	}
	h.deliver(xs...)
	for i, off := range offs {
		if x, want := xs[i], max(size-off, 0); x.last.Status != aio.EOF || x.off-off != want {
			h.Errorf("from %d: %d sent, status %d, %v, want %d and EOF", off, x.off-off, x.last.Status, x.err, want)
		}
	}
}

// coldTruncated cuts the file while an attempt is blocked on the disk.
func coldTruncated(h *harness) {
	const size, cut = 4 << 20, 1000
	p := testenv.NewPattern(101)
	file := h.coldFile(p, size)
	c := h.open(testenv.SockOptions{})
	x := c.transfer(h.borrow(file), p, 0, size)
	c.out.cut = cut
	x.step()
	if err := file.Truncate(cut); err != nil {
		h.Fatal(err)
	}
	h.deliver(x)
	if x.last.Status != aio.EOF {
		h.Fatalf("status %d, %v after %d bytes, want EOF", x.last.Status, x.err, x.off)
	}
}

// coldUnreadable has the fetch itself fail.
func coldUnreadable(h *harness) {
	p := testenv.NewPattern(102)
	file, err := os.OpenFile(h.coldFile(p, 1<<20).Name(), os.O_WRONLY, 0)
	if err != nil {
		h.Fatal(err)
	}
	defer file.Close()
	c := h.open(testenv.SockOptions{})
	x := c.transfer(h.borrow(file), p, 0, 1<<20)
	h.until("failure", func() bool { return x.over }, x.step)
	if x.err != syscall.EBADF || x.off != 0 {
		h.Fatalf("%d bytes sent of an unreadable file, %v", x.off, x.err)
	}
	h.closeAll(c)
}

// coldReset has the peer go while an attempt is blocked on the disk.
func coldReset(h *harness) {
	const size = 2 << 20
	p := testenv.NewPattern(103)
	f := h.borrow(h.coldFile(p, size))
	c := h.open(testenv.SockOptions{})
	x := c.transfer(f, p, 0, size)
	h.quiet()
	x.step()
	c.peer.Reset()
	h.until("ready and reset", func() bool { return c.blocked == aio.OK && c.ended })
	h.until("failure", func() bool { return x.over }, x.step)
	if x.err == 0 {
		h.Fatalf("%d bytes sent to a peer that is gone", x.off)
	}
	h.closeAll(c)
}

// unpinned waits until the driver has let go of a file, which may be after the
// Closed event of its slot: the engine closes it then and not before.
func (h *harness) unpinned(f *aio.File) {
	h.Helper()
	h.until("the file let go", func() bool { return f.Pins == 0 })
}

// coldClosed closes connections that are blocked on the disk, and then the
// files, whose numbers the next ones get.
func coldClosed(h *harness) {
	for i := range 20 {
		p := testenv.NewPattern(uint64(104 + i))
		file := h.coldFile(p, 1<<20)
		f := h.borrow(file)
		c := h.open(testenv.SockOptions{})
		if s := c.sendFile(f, span{p: p, n: 256 << 10}, false); s.Status != aio.BlockedDisk {
			h.Fatalf("status %d, %v, want blocked on the disk", s.Status, s.Err)
		}
		if i%2 == 0 {
			h.wait(0)
		}
		h.closeAll(c)
		mustBeClosed(h, c)
		h.unpinned(f)
		file.Close()
	}
	h.quiet()
}

// coldClosedAhead closes files in the midst of cold transfers, when no attempt
// is blocked on the disk but the driver may be reading ahead.
func coldClosedAhead(h *harness) {
	const size = 1 << 20
	for i := range 10 {
		p := testenv.NewPattern(uint64(124 + i))
		file := h.coldFile(p, size)
		f := h.borrow(file)
		c := h.open(testenv.SockOptions{})
		x := c.transfer(f, p, 0, size)
		x.chunk = 32 << 10
		part := int64(i+1) * 50_000
		h.until("a part", func() bool { return x.off > part && c.blocked == aio.OK }, x.step, c.read)
		if i%2 == 0 { // the connection goes on with something else
			h.unpinned(f)
			file.Close()
			q := testenv.NewPattern(uint64(150 + i))
			h.deliverAll(c.transfer(h.borrow(h.coldFile(q, size)), q, 0, size))
		}
		h.closeAll(c)
		h.unpinned(f)
		file.Close()
	}
	h.quiet()
}

func coldDestroyed(h *harness) {
	p := testenv.NewPattern(134)
	for range 10 {
		file := h.coldFile(p, 2<<20)
		c := h.open(testenv.SockOptions{})
		c.sendFile(h.borrow(file), span{p: p, n: 256 << 10}, false)
		h.open(testenv.SockOptions{})
	}
	h.destroy()
}

// coldReadAt reads a cold file: not without a fetch, and correctly after one.
func coldReadAt(h *harness) {
	const size = 300_000
	p := testenv.NewPattern(135)
	buf := make([]byte, size)
	file, f := h.refused(p, buf)
	if _, err := file.ReadAt(buf, 0); err != nil {
		h.Fatal(err)
	}
	clear(buf)
	n, e := h.d.ReadAt(f, buf, 0)
	if e == syscall.EAGAIN {
		return // a file system that cannot tell
	}
	if e != 0 || n != size {
		h.Fatalf("read of a file in memory: %d bytes, %v", n, e)
	}
	if err := p.Check(buf, 0); err != nil {
		h.Fatal(err)
	}
}

// refused returns a cold file of which the driver reads nothing. The kernel starts
// the disk all the same, and one that is fast enough has read a file in before the
// call returns: then the bytes are right, and another file is tried.
func (h *harness) refused(p testenv.Pattern, buf []byte) (*os.File, *aio.File) {
	h.Helper()
	for range 50 {
		file := h.coldFile(p, int64(len(buf)))
		f := h.borrow(file)
		n, e := h.d.ReadAt(f, buf, 0)
		if e == syscall.EAGAIN && n == 0 {
			return file, f
		}
		if e != 0 || n <= 0 {
			h.Fatalf("read of a cold file: %d bytes, %v, want %v", n, e, syscall.EAGAIN)
		}
		if err := p.Check(buf[:n], 0); err != nil {
			h.Fatal(err)
		}
	}
	h.Fatalf("reads of cold files: bytes of all, want %v of one", syscall.EAGAIN)
	return nil, nil
}
