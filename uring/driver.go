// Package uring is the io_uring driver of the engine: one ring for each event
// loop, with multishot accept and receive into provided buffers, non-blocking
// sends and sendfile straight from the loop, and reads of uncached file ranges
// on the ring's worker threads. Linux 6.0 or newer; Probe tells.
//
// It builds on the syscall subpackage of github.com/iceber/iouring-go.
package uring

import (
	"errors"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/sys"
)

// Driver implements aio.Driver. See there for the contract.
type Driver struct {
	driver.Base[state]

	ring    *ring
	buffers *buffers
	fetches fetches

	waker   driver.Waker
	wake    phase  // of the read of the waker
	wakeBuf []byte // wakeBytes off the heap, for that read

	ready    driver.Queue[aio.Event] // what happened without the kernel, for the next Wait
	unarmed  driver.Queue[aio.Token] // slots that are to be armed before the next wait
	starving driver.Queue[aio.Token] // slots that wait for receive buffers, in their order
	stopping bool                    // Destroy: nothing is armed any more

	verifying verification // of receives, whether they have lost a reset
}

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

func newDriver(cfg aio.Config) (*Driver, error) {
	d := new(Driver)
	d.Init(cfg, driver.Waits[state]{Room: d.arm, Fetch: d.fetch})
	if err := d.setUp(cfg); err != nil {
		_ = d.tearDown() // what went wrong is in err
		return nil, err
	}
	return d, nil
}

func (d *Driver) setUp(cfg aio.Config) (err error) {
	if d.ring, err = newRing(cfg.HoldProcessor); err != nil {
		return err
	}
	if d.buffers, err = newBuffers(d.ring, cfg.RecvBuffers, cfg.RecvBufferSize); err != nil {
		return err
	}
	if err = d.ring.boundWorkers(cfg.ColdWorkers); err != nil {
		return err
	}
	if err = d.ring.enable(); err != nil {
		return err
	}
	if err = d.fetches.init(d.ring, cfg.ColdWorkers); err != nil {
		return err
	}
	return d.openWaker()
}

// tearDown undoes setUp, however far that came, in the order that the kernel needs: the ring
// first, so that nothing is under way, then the memory that it used.
func (d *Driver) tearDown() error {
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
	d.waker.Close()
	d.Mover.Close()
	return errors.Join(append(errs, d.fetches.free())...)
}

// Name implements aio.Driver.
func (d *Driver) Name() string { return "uring" }

// start makes t's slot own fd and starts its stream.
func (d *Driver) start(t aio.Token, fd int, kind flags) error {
	s, err := d.Adopt(t, fd)
	if err != nil {
		return err
	}
	s.Own.flags = kind
	d.arm(t, s)
	return nil
}

// Close implements aio.Driver.
func (d *Driver) Close(t aio.Token, rst bool) {
	s := d.Shut(t)
	if s == nil {
		return
	}
	if rst {
		s.Own.flags |= reset
	}
	d.arm(t, s)
}

// closeFD closes the descriptor of a closing slot: nothing names it any more.
func (d *Driver) closeFD(t aio.Token, s *slot) {
	if s.Own.is(reset) {
		sys.SetReset(s.FD)
	}
	sys.Close(s.FD)
	d.Free(s)
	d.ready.Push(aio.Event{Token: t, Op: aio.Closed})
}

// Destroy implements aio.Driver.
func (d *Driver) Destroy() error {
	for t := range d.All() {
		d.Close(t, false)
	}
	d.stopping = true
	d.Wake() // ends the read of the waker; fetches end by themselves
	ev := make([]aio.Event, 64)
	var err error
	for d.ring.inflight > 0 && err == nil {
		_, err = d.Wait(ev, -1)
	}
	if err != nil {
		return err // the kernel may still write to our memory: better to leak it
	}
	return d.tearDown()
}

var _ aio.Driver = (*Driver)(nil)
