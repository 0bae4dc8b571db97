package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/guest"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/fallback"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/lease"
	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/uring"
)

// Engine is a set of event loops, and guests beside them. Its methods are safe for
// concurrent use.
type Engine struct {
	cfg       Config
	driver    string
	why       string // the driver was chosen
	listening *listen.Set
	guests    *guest.Guests
	bounds    *loop.Bounds

	shaper     *shape.Shaper       // nil: nothing is shaped
	adaptation *measure.Adaptation // nil: nothing is adapted
	surveying  sync.Mutex
	surveys    []*shape.Survey // by loop: memory that LimitsReport uses again

	leases lease.Watch

	adopted atomic.Uint32 // connections; picks the loop
	done    chan struct{} // closed when every loop has ended

	mu    sync.Mutex
	loops []*loop.Runner // nil: not yet started
	errs  []error
}

// New binds the listeners and starts the loops. It returns when all accept.
func New(cfg Config) (_ *Engine, err error) {
	e := &Engine{cfg: cfg.withDefaults(), done: make(chan struct{})}
	inherited := maps.Clone(cfg.Inherit)
	defer inherited.Close() // what is left when it fails
	if err := errors.Join(cfg.withoutLoops(), e.cfg.validate()); err != nil {
		return nil, err
	}
	e.cfg.Inherit = nil
	limit := sys.DescriptorLimit()
	e.bounds = &loop.Bounds{
		Descriptors: limit - limit/8, Loops: e.cfg.Loops,
		Conns: e.cfg.MaxConns, ClientConns: e.cfg.MaxClientConns, Buffered: e.cfg.MaxBuffered,
		Counted: e.cfg.CountClient, Refusal: e.cfg.Refusal, OnShortage: e.cfg.OnShortage,
	}
	if err := e.openShaper(); err != nil {
		return nil, err
	}
	e.guests = guest.New(e.cfg.ZeroCopy, e.shaper, e.guestTree())
	if err := e.chooseDriver(); err != nil {
		return nil, err
	}
	e.listening, err = listen.Open(listen.Config{
		Addrs: e.cfg.Listeners, UnixMode: e.cfg.UnixMode, Inherit: inherited,
		Tuning: listen.Tuning{Congestion: e.cfg.Congestion, DeferAccept: e.cfg.DeferAccept, FastOpen: e.cfg.FastOpen},
	}, e.cfg.Loops)
	if err != nil {
		return nil, err
	}
	return e, e.start()
}

// chooseDriver settles on a driver and the reason for it.
func (e *Engine) chooseDriver() error {
	if e.cfg.Loops == 0 {
		e.driver, e.why = "none", "there are no loops"
		return nil
	}
	switch e.cfg.Driver {
	case DriverFallback:
		e.driver, e.why = "fallback", "as configured"
		return nil
	case DriverUring:
		e.driver, e.why = "uring", "as configured"
		if err := uring.Probe(); err != nil {
			return fmt.Errorf("io_uring cannot be used: %w", err)
		}
		return nil
	}
	if err := uring.Probe(); err != nil {
		e.driver, e.why = "fallback", "io_uring cannot be used: "+err.Error()
		return nil
	}
	e.driver, e.why = "uring", "available"
	return nil
}

// spareProcessors is how many of the runtime's processors must be left for
// goroutines when all loops keep theirs.
const spareProcessors = 4

// pipesFor returns how many pipes a loop may fill for slow receivers: all loops
// together a sixteenth of the descriptors, since clients to come need some, too.
func pipesFor(descriptors, loops int) int { return min(max(descriptors/32/loops, 1), 64) }

func (e *Engine) newDriver() (aio.Driver, error) {
	spare := runtime.GOMAXPROCS(0) - e.cfg.Loops
	cfg := aio.Config{Mode: e.cfg.ZeroCopy, HoldProcessor: spare >= spareProcessors, Pipes: pipesFor(sys.DescriptorLimit(), e.cfg.Loops)}
	if e.driver == "uring" {
		return uring.New(cfg)
	}
	return fallback.New(cfg)
}

// start runs the loops and waits until each accepts, or one has failed.
func (e *Engine) start() error {
	e.loops = make([]*loop.Runner, e.cfg.Loops)
	cores := []int{-1}
	if e.cfg.Pin {
		cores = allowedCores()
	}
	started := make(chan error, e.cfg.Loops)
	var running sync.WaitGroup
	for i := range e.loops {
		running.Go(func() {
			if err := e.runLoop(i, cores[i%len(cores)], started); err != nil {
				e.fail(err)
			}
		})
	}
	go func() {
		running.Wait()
		e.leases.Close()
		<-e.guests.Over()
		close(e.done)
	}()
	var errs []error
	for range e.loops {
		errs = append(errs, <-started)
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// runLoop is the life of one loop.
func (e *Engine) runLoop(i, core int, started chan<- error) error {
	r, err := e.openLoop(i, core)
	started <- err
	if err != nil {
		return nil // reported by start
	}
	err = r.Run()
	return errors.Join(err, r.Close())
}

func (e *Engine) openLoop(i, core int) (*loop.Runner, error) {
	sockets := e.listening.Row(i)
	err := loop.Lock(core)
	var d aio.Driver
	if err == nil {
		d, err = e.newDriver()
	}
	if err != nil {
		listen.CloseAll(sockets)
		return nil, fmt.Errorf("loop %d: %w", i, err)
	}
	r := loop.NewRunner(e.loopConfig(i), d)
	r.Own(sockets)
	if !e.cfg.Paused {
		if err := r.Accept(); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	e.mu.Lock()
	e.loops[i] = r
	e.mu.Unlock()
	return r, nil
}

func (e *Engine) loopConfig(i int) loop.Config {
	c := &e.cfg
	return loop.Config{
		Index: i, NewSession: c.NewSession, Addrs: e.Addrs(),
		Shaper: e.shaper, Adaptation: e.adaptation, Expire: i == 0, Leases: &e.leases,
		Files:         openfile.Config{Max: c.MaxFiles, MaxBody: c.MaxBody, MaxBytes: c.MaxBodyBytes, MaxLarge: largeShare(c), Headroom: c.BodyHeadroom},
		HeaderTimeout: c.HeaderTimeout, IdleTimeout: c.IdleTimeout, SendTimeout: c.SendTimeout, LingerTimeout: c.LingerTimeout,
		TurnBudget: c.TurnBudget, Bounds: e.bounds, Sample: c.Sample,
	}
}

func (e *Engine) fail(err error) {
	e.mu.Lock()
	e.errs = append(e.errs, err)
	e.mu.Unlock()
	e.each((*loop.Runner).Stop) // one loop's listener cannot be left to the others
	e.guests.Close()
}

// started returns the loops that have started.
func (e *Engine) started() (list []*loop.Runner) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.loops {
		if r != nil {
			list = append(list, r)
		}
	}
	return list
}

// each calls f for every loop that has started.
func (e *Engine) each(f func(*loop.Runner)) {
	for _, r := range e.started() {
		f(r)
	}
}

// Addrs returns the bound addresses, in the order of Config.Listeners.
func (e *Engine) Addrs() []net.Addr { return e.listening.Addrs() }

// Driver returns the driver's name and why it was chosen.
func (e *Engine) Driver() (name, why string) { return e.driver, e.why }

// Config returns the configuration with its defaults filled in.
func (e *Engine) Config() Config { return e.cfg }

// Loops returns the number of event loops.
func (e *Engine) Loops() int { return e.cfg.Loops }

// Done is closed when every loop has ended: after Shutdown or Close, or because
// a loop has failed. Err tells which.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err returns what made loops fail, or nil.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.errs...)
}

// Shutdown stops accepting, closes idle connections and waits for the others
// to finish the response that they are sending, and for each Send. If ctx ends first, the rest is
// cut and its error is returned.
func (e *Engine) Shutdown(ctx context.Context) error { return e.end(ctx, (*loop.Runner).Drain) }

// end makes each loop do what brings it to its end, and waits for that.
func (e *Engine) end(ctx context.Context, drain func(*loop.Runner)) error {
	e.listening.RemoveFiles()
	e.each(func(r *loop.Runner) { r.Post(func(*loop.Loop) { drain(r) }) })
	e.guests.Drain()
	select {
	case <-e.done:
		return e.Err()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), e.Close())
	}
}

// Close ends everything at once: responses under way are cut by a reset.
func (e *Engine) Close() error {
	e.listening.RemoveFiles()
	e.each((*loop.Runner).Stop)
	e.guests.Close()
	<-e.done
	return e.Err()
}

func allowedCores() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return []int{-1}
	}
	var cores []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores
}
