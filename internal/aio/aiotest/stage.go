package aiotest

import (
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// fileTaken takes ranges, then writes other content into the file after it was cut,
// as most programs do that write a file anew: what was taken is what is sent, all of
// it even where the socket takes little at a time.
func fileTaken(h *harness) {
	const size = 1<<20 + 7
	p, q := testenv.NewPattern(31), testenv.NewPattern(32)
	c := h.open(smallBuffers)
	for _, x := range []struct{ off, n int64 }{
		{0, 1}, {0, aio.StageMax}, {1, aio.StageMax}, {4095, aio.StageMax}, {700_000, 100_000}, {size - 5, 5},
	} {
		file := p.File(h, h.dir, size)
		f := h.borrow(file)
		if got := h.d.Stage(c.tok, f, x.off, x.n); got != h.takes {
			h.Fatalf("%d bytes from %d: taken: %v, want %v", x.n, x.off, got, h.takes)
		}
		want := p
		if err := os.WriteFile(file.Name(), q.Bytes(0, size), 0o600); err != nil {
			h.Fatal(err)
		}
		if !h.takes {
			want = q
		}
		h.deliverAll(c.transfer(f, want, x.off, x.n))
	}
	h.checkBytes()
}

// fileTakenInVain takes what there is not, while the slot is blocked, twice, and what
// is never sent. It harms nothing that follows.
func fileTakenInVain(h *harness) {
	const size = 1 << 20
	p := testenv.NewPattern(33)
	f := h.borrow(p.File(h, h.dir, size))
	c := h.open(smallBuffers)
	refused := func(what string, tok aio.Token, off, n int64) {
		h.Helper()
		if h.d.Stage(tok, f, off, n) {
			h.Errorf("%s: taken", what)
		}
	}
	refused("beyond the end", c.tok, size-10, 11)
	refused("after the end", c.tok, size, 1)
	refused("nothing", c.tok, 0, 0)
	refused("negative length", c.tok, 0, -1)
	refused("negative offset", c.tok, -1, 1)
	refused("overflow", c.tok, math.MaxInt64, 1)
	refused("too much", c.tok, 0, aio.StageMax+1)
	refused("another generation", aio.MakeToken(c.tok.Slot(), c.tok.Gen()+1), 0, 1)
	if h.d.Stage(c.tok, f, 1000, 5000) {
		refused("twice", c.tok, 1000, 5000)
	}
	h.deliverAll(c.transfer(f, p, 300_000, 100_000)) // elsewhere
	if h.d.Stage(c.tok, f, 1000, 5000) != h.takes {
		h.Errorf("what was dropped is in the way")
	}
	h.deliverAll(c.transfer(f, p, 1000, 200_000)) // more than was taken
	off := int64(0)
	c.jam(func() { off = c.fillFile(f, p, off, size) })
	refused("while blocked", c.tok, off, 1)
	h.until("ready", func() bool { return c.blocked == aio.OK }, c.read)
	h.deliverAll(c.transfer(f, p, off, size-off))
	h.d.Stage(c.tok, f, 0, 1000) // and is closed with it
	h.checkBytes()
}

// fileReadAt reads what was just written, and compares Stat with the truth.
func fileReadAt(h *harness) {
	const size = 100_000
	p := testenv.NewPattern(27)
	file := p.File(h, h.dir, size)
	f := h.borrow(file)
	buf := make([]byte, 10_000)
	for _, off := range []int64{0, 1, 4096, 50_000, size - 10, size, size + 10} {
		want := max(min(size-off, int64(len(buf))), 0)
		n, e := h.d.ReadAt(f, buf, off)
		if e == syscall.EAGAIN {
			continue // a file system that cannot tell
		}
		if e != 0 || int64(n) != want {
			h.Fatalf("read at %d: %d bytes, %v, want %d", off, n, e, want)
		}
		if err := p.Check(buf[:n], off); err != nil {
			h.Fatal(err)
		}
	}
	mtime := time.Unix(1_700_000_000, 123_456_789)
	if err := os.Chtimes(file.Name(), mtime, mtime); err != nil {
		h.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		h.Fatal(err)
	}
	got, e := h.d.Stat(f)
	if want := (aio.FileStat{Size: size, MtimeNs: st.Mtim.Nano(), CtimeNs: st.Ctim.Nano()}); e != 0 || got != want {
		h.Errorf("stat: %+v, %v, want %+v", got, e, want)
	}
	if _, e := h.d.Stat(&aio.File{FD: -1}); e != syscall.EBADF {
		h.Errorf("stat of no file: %v, want %v", e, syscall.EBADF)
	}
}
