// Package fallback is the epoll driver of aio: it needs no io_uring and runs
// wherever Go does on Linux.
//
// One edge-triggered registration per connection lasts until Close, so
// that a request costs no epoll_ctl. What the edges say is kept as flags in a
// table of slots, and a queue holds the slots that have something to deliver.
// A turn is: epoll_wait into the flags, then serve the queue into the caller's
// events. Receiving happens while serving, one buffer per slot and turn, so
// that a fast sender does not starve the others.
//
// Files go the ways of package mover. What is not in memory its pool of
// goroutines fetches (see fetch.go).
package fallback

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// maxEvents bounds the events taken from epoll in one turn (6 KiB of memory).
	maxEvents = 512
	// wakeSlot marks the events of the eventfd; no slot has this number.
	wakeSlot = -1
)

// Driver implements aio.Driver with epoll; see there for the contract of its
// methods. It belongs to the goroutine that made it, except for Wake.
type Driver struct {
	driver.Base[state]
	cfg   aio.Config
	epfd  int32
	waker driver.Waker
	queue driver.Queue[aio.Token] // slots with something to deliver
	fresh driver.Queue[aio.Token] // connections that were read from, and epoll does not know: see Open

	events   []unix.EpollEvent
	arrivals arrivals
	noPwait2 bool // epoll_pwait2 is not to be had: time-outs in milliseconds

	arena   []byte // cfg.RecvBuffers buffers of cfg.RecvBufferSize
	nextBuf int    // buffers below this one were given out since Wait began

	pool     *mover.Pool
	fetching int // fetches under way
	finished finished
}

var _ aio.Driver = (*Driver)(nil)

// New makes a driver. The calling goroutine must be locked to its thread and
// is the only one that may use the driver.
func New(cfg aio.Config) (*Driver, error) {
	cfg = cfg.WithDefaults()
	d := &Driver{cfg: cfg, epfd: -1, events: make([]unix.EpollEvent, maxEvents), pool: mover.NewPool(cfg.ColdWorkers)}
	d.Init(cfg, driver.Waits[state]{Fetch: d.fetch}) // for room it waits all the time: the edge comes
	d.Mover.Edge = true
	if err := d.setUp(); err != nil {
		_ = d.tearDown() // what went wrong is in err
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
	if err := d.waker.Open(unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, int(d.waker.FD), &ev); err != nil {
		return fmt.Errorf("eventfd: epoll: %w", err)
	}
	if d.arena, err = sys.MmapAnon(d.cfg.RecvBuffers * d.cfg.RecvBufferSize); err != nil {
		return fmt.Errorf("receive buffers: %w", err)
	}
	return nil
}

// Name returns "fallback".
func (d *Driver) Name() string { return "fallback" }

// register makes t's slot own fd and has epoll tell of its events.
func (d *Driver) register(t aio.Token, fd int, kind flags, events uint32) error {
	s, err := d.Adopt(t, fd)
	if err != nil {
		return err
	}
	s.Own.flags = kind
	if e := d.watch(t, s, events); e != 0 {
		d.Free(s)
		return fmt.Errorf("epoll: %w", e)
	}
	return nil
}

// watch has epoll tell of the events of a slot.
func (d *Driver) watch(t aio.Token, s *slot, events uint32) syscall.Errno {
	e := d.control(unix.EPOLL_CTL_ADD, t, s.FD, events)
	if e == syscall.EEXIST {
		// This socket had this number before, and was closed here while a
		// duplicate kept it and its registration alive.
		e = d.control(unix.EPOLL_CTL_MOD, t, s.FD, events)
	}
	return e
}

// control changes the registration of a descriptor. Its events carry the token.
func (d *Driver) control(op int, t aio.Token, fd int32, events uint32) syscall.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(t.Slot()), Pad: int32(t.Gen())}
	if err := unix.EpollCtl(int(d.epfd), op, int(fd), &ev); err != nil {
		return err.(syscall.Errno) //nolint:errorlint // EpollCtl returns an Errno as it is
	}
	return 0
}

// Close closes the descriptor at once. A fetch of the slot ends in its own time.
func (d *Driver) Close(t aio.Token, reset bool) {
	s := d.Shut(t)
	if s == nil {
		return
	}
	if reset {
		sys.SetReset(s.FD) // not a TCP socket: an orderly end is all there is
	}
	d.closeFD(t, s)
	d.enqueue(t, s)
}

// closeFD closes the descriptor of a slot.
func (d *Driver) closeFD(t aio.Token, s *slot) {
	if s.Own.flags&(isListener|stopped) == isListener {
		// The descriptor may have been duplicated (socket activation, hand-over
		// to a successor): then close does not end the registration, and a
		// level-triggered event would come back for ever.
		_ = d.control(unix.EPOLL_CTL_DEL, t, s.FD, 0)
	}
	sys.Close(s.FD)
	s.FD = -1
}

// Destroy closes every slot, waits for the pool and frees all.
func (d *Driver) Destroy() error {
	for t, s := range d.All() {
		d.Shut(t)
		d.closeFD(t, s)
	}
	return d.tearDown()
}

// tearDown undoes setUp, however far that came.
func (d *Driver) tearDown() error {
	d.pool.Stop()
	for _, f := range d.finished.popAll() {
		f.of.Unpin()
	}
	d.Mover.Close()
	d.waker.Close()
	if d.epfd >= 0 {
		sys.Close(d.epfd)
	}
	if d.arena == nil {
		return nil
	}
	if err := sys.Munmap(d.arena); err != nil {
		return fmt.Errorf("receive buffers: %w", err)
	}
	return nil
}
