// Package uring is the io_uring driver of the engine: one ring for each event
// loop, with multishot accept and receive into provided buffers, non-blocking
// sends and sendfile straight from the loop, and reads of uncached file ranges
// on the ring's worker threads. Linux 6.0 or newer; Probe tells.
//
// It builds on the syscall subpackage of github.com/iceber/iouring-go.
package uring

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// Driver implements aio.Driver. See there for the contract.
type Driver struct {
	ring    *ring
	buffers *buffers
	mover   *mover.Mover
	fetches fetches
	wakeFD  int32
	wakeBuf []byte // 8 bytes off the heap, for the read of wakeFD

	slots     []slot
	inflight  int         // operations that will still complete
	ready     []aio.Event // what happened without the kernel, for the next Wait
	unsettled []aio.Token // slots for which settle is to be called before the next wait
	starving  tokens      // slots that wait for receive buffers, in their order
	stopping  bool        // Destroy: nothing is armed any more
	stats     aio.Stats

	verifying verification // of receives, whether they have lost a reset
}

// slot is what the driver knows about one connection or listener.
type slot struct {
	fd    int32
	gen   uint32
	flags slotFlags
	ops   uint8  // operations under way that name fd
	err   uint16 // of a failed send: delivered in place of an end
	move  mover.State
}

type slotFlags uint16

const (
	isOpen slotFlags = 1 << iota
	isListener
	streaming  // the accept or receive operation is armed
	wantStream // it should be
	cancelling // a cancel of it is under way
	polling    // the poll for room in the socket is armed
	pollCancelling
	blockedSocket // an attempt waits for polling
	blockedDisk   // an attempt waits for a fetch
	closing       // Close was called
	ended         // the receive stream is over: the peer has finished or is gone
	reset         // close with RST
	unverified    // the receive operation has not been verified: see verify
	stale         // the stream is to be armed anew, it may have lost its end
	starved       // in starving: wants to receive when there are buffers
	isShared      // a listener at which other loops wait too
)

func (s *slot) is(f slotFlags) bool { return s.flags&f != 0 }

// New returns a driver for the calling goroutine, which must be locked to its
// thread. The error names what is missing: callers fall back to epoll on any.
func New(cfg aio.Config) (*Driver, error) {
	if err := Probe(); err != nil {
		return nil, err
	}
	d, err := newDriver(cfg.WithDefaults())
	if err != nil {
		return nil, err
	}
	if losesResets() {
		d.verifying = verifyAll
	}
	return d, nil
}

func newDriver(cfg aio.Config) (_ *Driver, err error) {
	d := &Driver{wakeFD: -1}
	defer func() {
		if err != nil {
			_ = d.free()
		}
	}()
	if d.ring, err = newRing(); err != nil {
		return nil, err
	}
	d.ring.hold = cfg.HoldProcessor
	if d.buffers, err = newBuffers(d.ring, cfg.RecvBuffers, cfg.RecvBufferSize); err != nil {
		return nil, err
	}
	// The default bound is the process limit: thousands of kernel threads.
	workers := [2]uint32{uint32(cfg.ColdWorkers), 1}
	if err = d.ring.register(registerIOWQWorkers, unsafe.Pointer(&workers), 2); err != nil {
		return nil, fmt.Errorf("bound io_uring workers: %w", err)
	}
	if err = d.ring.enable(); err != nil {
		return nil, err
	}
	if d.wakeBuf, err = sys.MmapAnon(wakeBytes); err != nil {
		return nil, fmt.Errorf("map wake buffer: %w", err)
	}
	// Not O_NONBLOCK: the ring would answer EAGAIN instead of waiting.
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	d.wakeFD = int32(wake)
	d.mover = mover.New(cfg, &d.stats)
	if err = d.fetches.init(); err != nil {
		return nil, err
	}
	if !d.armWake() {
		return nil, errors.New("io_uring takes no submissions")
	}
	return d, nil
}

// free gives everything back, in the order that the kernel needs: the ring
// first, so that nothing is under way, then the memory that it used.
func (d *Driver) free() error {
	var errs []error
	if d.ring != nil {
		errs = append(errs, d.ring.close())
	}
	if d.buffers != nil {
		errs = append(errs, d.buffers.free())
	}
	if d.wakeBuf != nil {
		errs = append(errs, sys.Munmap(d.wakeBuf))
	}
	if d.wakeFD >= 0 {
		sys.Close(d.wakeFD)
	}
	if d.mover != nil {
		d.mover.Close()
	}
	errs = append(errs, d.fetches.unmap())
	return errors.Join(errs...)
}

// Name implements aio.Driver.
func (d *Driver) Name() string { return "uring" }

// Now implements aio.Driver.
func (d *Driver) Now() int64 {
	d.mover.Now = sys.Nanotime()
	return d.mover.Now
}

// Stats implements aio.Driver.
func (d *Driver) Stats() *aio.Stats { return &d.stats }

// adopt makes t's slot own fd.
func (d *Driver) adopt(t aio.Token, fd int, f slotFlags) (*slot, error) {
	i := int(t.Slot())
	if i >= aio.MaxSlots {
		return nil, fmt.Errorf("slot %d: at most %d", i, aio.MaxSlots)
	}
	for i >= len(d.slots) {
		d.slots = append(d.slots, slot{})
	}
	s := &d.slots[i]
	if s.is(isOpen) {
		return nil, fmt.Errorf("slot %d is in use", i)
	}
	*s = slot{fd: int32(fd), gen: t.Gen(), flags: isOpen | f, move: mover.State{Epoch: s.move.Epoch + 1}}
	return s, nil
}

// slot returns the open slot of a token; nil if it is closed, closing, or used anew.
func (d *Driver) slot(t aio.Token) *slot {
	i := int(t.Slot())
	if i >= len(d.slots) {
		return nil
	}
	s := &d.slots[i]
	if s.gen != t.Gen() || !s.is(isOpen) || s.is(closing) {
		return nil
	}
	return s
}

// prepare queues an operation that will complete as name says.
func (d *Driver) prepare(name userData, code uint8, fd int32, addr uint64, n uint32, off uint64) *sqe {
	e := d.ring.next()
	if e == nil {
		return nil
	}
	e.PrepOperation(code, fd, addr, n, off)
	e.SetUserData(uint64(name))
	d.stats.Submissions++
	d.inflight++
	return e
}

// Close implements aio.Driver.
func (d *Driver) Close(t aio.Token, rst bool) {
	s := d.slot(t)
	if s == nil {
		return
	}
	s.flags |= closing
	if rst {
		s.flags |= reset
	}
	d.mover.Reset(&s.move)
	d.settle(t, s)
}

// finishClose closes the descriptor: nothing names it any more.
func (d *Driver) finishClose(t aio.Token, s *slot) {
	if s.is(reset) {
		sys.SetReset(s.fd)
	}
	sys.Close(s.fd)
	s.flags = 0
	d.ready = append(d.ready, aio.Event{Token: t & aio.TokenMask, Op: aio.Closed})
}

// CloseWrite implements aio.Driver.
func (d *Driver) CloseWrite(t aio.Token) {
	if s := d.slot(t); s != nil {
		sys.ShutdownWrite(s.fd)
	}
}

// Destroy implements aio.Driver.
func (d *Driver) Destroy() error {
	for i := range d.slots {
		if s := &d.slots[i]; s.is(isOpen) && !s.is(closing) {
			d.Close(aio.MakeToken(uint32(i), s.gen), false)
		}
	}
	d.stopping = true
	d.Wake() // ends the read of wakeFD; fetches end by themselves
	ev := make([]aio.Event, 64)
	var err error
	for d.inflight > 0 && err == nil {
		_, err = d.Wait(ev, -1)
	}
	if err != nil {
		return err // the kernel may still write to our memory: better to leak it
	}
	return d.free()
}

var _ aio.Driver = (*Driver)(nil)

// errnoOf turns a completion's result into an errno.
func errnoOf(res int32) syscall.Errno { return syscall.Errno(max(0, -res)) }
