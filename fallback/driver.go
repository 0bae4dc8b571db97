// Package fallback is the epoll driver of aio: it needs no io_uring and runs
// wherever Go does on Linux.
//
// One edge-triggered registration per connection lasts from Open to Close, so
// that a request costs no epoll_ctl. What the edges say is kept as flags in a
// table of slots, and a queue holds the slots that have something to deliver.
// A turn is: epoll_wait into the flags, then serve the queue into the caller's
// events. Receiving happens while serving, one buffer per slot and turn, so
// that a fast sender does not starve the others.
//
// Files go the ways of package mover. What is not in memory a bounded pool of
// goroutines fetches (see fetch.go).
package fallback

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// maxEvents bounds the events taken from epoll in one turn (6 KiB of memory).
	maxEvents = 512
	// acceptBatch bounds the connections taken from one listener in one turn.
	acceptBatch = 64
	// wakeSlot marks the events of the eventfd; no slot has this number.
	wakeSlot = -1
)

// Driver implements aio.Driver with epoll. It belongs to the goroutine that
// made it, except for Wake.
type Driver struct {
	cfg   aio.Config
	epfd  int32
	slots []slot
	queue queue // slots with something to deliver
	stats aio.Stats

	events   []unix.EpollEvent
	noPwait2 bool // epoll_pwait2 is not to be had: time-outs in milliseconds

	arena   []byte // cfg.RecvBuffers buffers of cfg.RecvBufferSize
	nextBuf int    // buffers below this one were given out since Wait began

	mover    *mover.Mover
	pool     *mover.Pool
	fetching int // fetches under way
	finished finished

	wakeFD int32
	woken  atomic.Bool // a wake-up is on its way; spares the system call
	wakeMu sync.Mutex  // guards the eventfd against its end
	ended  bool        // under wakeMu: Destroy has closed the eventfd
}

var _ aio.Driver = (*Driver)(nil)

// New makes a driver. The calling goroutine must be locked to its thread and
// is the only one that may use the driver.
func New(cfg aio.Config) (*Driver, error) {
	cfg = cfg.WithDefaults()
	d := &Driver{cfg: cfg, epfd: -1, wakeFD: -1, events: make([]unix.EpollEvent, maxEvents)}
	d.mover = mover.New(cfg, &d.stats)
	d.mover.Edge = true
	d.pool = mover.NewPool(cfg.ColdWorkers)
	if err := d.setUp(); err != nil {
		_ = d.free() // what went wrong is in err
		return nil, err
	}
	return d, nil
}

func (d *Driver) setUp() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	d.epfd = int32(ep)
	if d.wakeFD, err = sys.Eventfd(); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, int(d.wakeFD), &ev); err != nil {
		return fmt.Errorf("eventfd: epoll: %w", err)
	}
	if d.arena, err = sys.MmapAnon(d.cfg.RecvBuffers * d.cfg.RecvBufferSize); err != nil {
		return fmt.Errorf("receive buffers: %w", err)
	}
	return nil
}

// Name returns "fallback".
func (d *Driver) Name() string { return "fallback" }

// Now returns the monotonic time in nanoseconds.
func (d *Driver) Now() int64 {
	d.mover.Now = sys.Nanotime()
	return d.mover.Now
}

// Stats returns the counters; they go on changing.
func (d *Driver) Stats() *aio.Stats { return &d.stats }

// Open takes over a connected socket and starts to receive from it.
func (d *Driver) Open(t aio.Token, fd int) error {
	return d.register(t, fd, 0, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// Listen takes over a listening socket and starts to accept from it. All that share
// it are woken for each connection, and the first one gets it.
func (d *Driver) Listen(t aio.Token, fd int, _ bool) error {
	// Whoever had the socket before may have left it blocking, or make it so.
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = sys.SetAcceptPatience(int32(fd))
	}
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	// Level-triggered: a turn accepts a bounded number, the rest is reported again.
	return d.register(t, fd, listener, unix.EPOLLIN)
}

func (d *Driver) register(t aio.Token, fd int, kind flags, events uint32) error {
	sl, err := d.newSlot(t)
	if err != nil {
		return err
	}
	e := d.control(unix.EPOLL_CTL_ADD, t, int32(fd), events)
	if e == syscall.EEXIST {
		// This socket had this number before, and was closed here while a
		// duplicate kept it and its registration alive.
		e = d.control(unix.EPOLL_CTL_MOD, t, int32(fd), events)
	}
	if e != 0 {
		return fmt.Errorf("epoll: %w", e)
	}
	*sl = slot{fd: int32(fd), gen: t.Gen(), flags: inUse | kind, move: sl.move}
	return nil
}

// control changes the registration of a descriptor. Its events carry the token.
func (d *Driver) control(op int, t aio.Token, fd int32, events uint32) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(t.Slot()), Pad: int32(t.Gen())}
	if err := unix.EpollCtl(int(d.epfd), op, int(fd), &ev); err != nil {
		return err.(syscall.Errno) //nolint:errorlint // EpollCtl returns an Errno as it is
	}
	return 0
}

// Pause stops receiving; what the kernel holds stays there.
func (d *Driver) Pause(t aio.Token) {
	if sl := d.lookup(t); sl != nil {
		sl.flags |= paused
	}
}

// Resume goes on receiving.
func (d *Driver) Resume(t aio.Token) {
	sl := d.lookup(t)
	if sl == nil || sl.flags&paused == 0 {
		return
	}
	sl.flags &^= paused
	if sl.flags&(readable|ended) == readable {
		d.enqueue(t.Slot())
	}
}

// CloseWrite sends FIN after what was sent.
func (d *Driver) CloseWrite(t aio.Token) {
	if sl := d.lookup(t); sl != nil {
		// ENOTCONN, the only failure, means that the peer has reset the
		// connection; the stream of Received events tells.
		_ = sys.ShutdownWrite(sl.fd)
	}
}

// Close closes the descriptor at once. A fetch of the slot ends in its own time.
func (d *Driver) Close(t aio.Token, reset bool) {
	sl := d.lookup(t)
	if sl == nil {
		return
	}
	d.shut(t, sl, reset)
	sl.flags = sl.flags&(inUse|queued) | closing
	d.enqueue(t.Slot())
}

// shut closes what a slot owns.
func (d *Driver) shut(t aio.Token, sl *slot, reset bool) {
	if reset {
		_ = sys.SetReset(sl.fd) // not a TCP socket: an orderly end is all there is
	}
	if sl.flags&(listener|stopped) == listener {
		// The descriptor may have been duplicated (socket activation, hand-over
		// to a successor): then close does not end the registration, and a
		// level-triggered event would come back for ever.
		_ = d.control(unix.EPOLL_CTL_DEL, t, sl.fd, 0)
	}
	d.mover.Reset(&sl.move)
	_ = sys.Close(sl.fd) // Linux releases the descriptor whatever it answers
	sl.fd = -1
}

// Wake makes the current or next Wait return. It may be called by any goroutine.
func (d *Driver) Wake() {
	// Swap, not Load: it orders what the caller has published before the
	// loop's own Swap, even when no system call is made.
	if d.woken.Swap(true) {
		return
	}
	d.wakeMu.Lock()
	defer d.wakeMu.Unlock()
	if !d.ended {
		sys.EventfdSignal(d.wakeFD)
	}
}

// Destroy closes every slot, waits for the workers and frees all.
func (d *Driver) Destroy() error {
	for i := range d.slots {
		if sl := &d.slots[i]; sl.flags&(inUse|closing) == inUse {
			d.shut(aio.MakeToken(uint32(i), sl.gen), sl, false)
		}
	}
	return d.free()
}

// free undoes setUp, however far that came.
func (d *Driver) free() error {
	d.pool.Stop()
	for _, j := range d.finished.take() {
		j.file.Pins--
	}
	d.mover.Close()
	d.wakeMu.Lock()
	d.ended = true
	if d.wakeFD >= 0 {
		_ = sys.Close(d.wakeFD)
	}
	d.wakeMu.Unlock()
	if d.epfd >= 0 {
		_ = sys.Close(d.epfd)
	}
	if d.arena == nil {
		return nil
	}
	if err := sys.Munmap(d.arena); err != nil {
		return fmt.Errorf("receive buffers: %w", err)
	}
	return nil
}

// Stat returns the file's size and modification time.
func (d *Driver) Stat(f *aio.File) (aio.FileStat, syscall.Errno) {
	size, mtime, e := sys.Fstat(f.FD)
	return aio.FileStat{Size: size, MtimeNs: mtime}, e
}

// ReadAt reads what is in memory.
func (d *Driver) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	return d.mover.ReadAt(f, p, off)
}
