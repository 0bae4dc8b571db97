package guest

import (
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// coldWorkers bounds the threads that wait for the disk on behalf of Send,
// however many downloads there are. A driver has as many for its loop.
const coldWorkers = 16

// coldFile is what the ranges of a file are fetched through: a description of
// our own, which stays open until the last fetch has ended, whatever becomes of
// the caller's.
type coldFile struct {
	fd     int32
	drains bool // has read-ahead of its own; else by advice
	refs   atomic.Int32
}

// openCold opens f, which the caller holds open, once more.
func openCold(f *aio.File) (*coldFile, error) {
	c := &coldFile{fd: mover.Reader(f), drains: true}
	if c.fd < 0 {
		fd, err := unix.FcntlInt(uintptr(f.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		c.fd, c.drains = int32(fd), false
	}
	c.refs.Store(1)
	return c, nil
}

func (c *coldFile) release() {
	if c.refs.Add(-1) == 0 {
		sys.Close(c.fd)
	}
}

// read brings a range into memory. It blocks.
func (c *coldFile) read(r mover.Range) syscall.Errno {
	if c.drains {
		return mover.Drain(c.fd, r)
	}
	for off := r.Off; off < r.End; off += mover.MinAdvice {
		_ = unix.Fadvise(int(c.fd), off, min(r.End-off, mover.MinAdvice), unix.FADV_WILLNEED) // only advice
	}
	var b [1]byte
	_, e := sys.Pread(c.fd, b[:], r.End-1) // there when the rest is; no byte if the file was cut
	return e
}

// coldRead is a range on its way into memory.
type coldRead struct {
	file *coldFile
	r    mover.Range
	err  syscall.Errno // valid once done is closed
	done chan struct{}

	// abandoned: nobody waits any more. A read that has not begun does nothing.
	abandoned atomic.Bool
}

// coldReads brings ranges in with a bounded number of goroutines, which start
// when they are needed and end when the queue is empty. It holds at most one range
// for each Send under way, and some that are abandoned.
type coldReads struct {
	mu      sync.Mutex
	queue   []*coldRead
	workers int
	begun   uint64
	ended   func() // called after each
}

// submit queues a range of a file, to which it takes a reference.
func (c *coldReads) submit(f *coldFile, r mover.Range) *coldRead {
	f.refs.Add(1)
	j := &coldRead{file: f, r: r, done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
	c.queue = append(c.queue, j)
	if c.workers < coldWorkers {
		c.workers++
		go c.work()
	}
	return j
}

func (c *coldReads) work() {
	for j := c.next(); j != nil; j = c.next() {
		if !j.abandoned.Load() {
			j.err = j.file.read(j.r)
		}
		close(j.done)
		j.file.release()
		c.ended()
	}
}

// next returns the oldest read, nil if there is none: the worker ends.
func (c *coldReads) next() *coldRead {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue = nil
		c.workers--
		return nil
	}
	j := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	return j
}
