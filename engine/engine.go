package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/guest"
	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/fallback"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/uring"
)

// DriverKind selects how the engine talks to the kernel.
type DriverKind uint8

const (
	DriverAuto     DriverKind = iota // io_uring, or epoll where it cannot be used
	DriverUring                      // io_uring or fail
	DriverFallback                   // epoll
)

// ZeroCopy selects how file ranges are sent.
type ZeroCopy = aio.Mode

const (
	ZeroCopyAuto     = aio.Auto     // sendfile, stepping down to splice and copy
	ZeroCopySendfile = aio.Sendfile // sendfile or fail
	ZeroCopySplice   = aio.Splice   // file, pipe, socket
	ZeroCopyCopy     = aio.Copy     // through user memory
)

// Config configures an Engine. The zero value of every field is a good default:
// an engine without loops, for Listener and Send.
type Config struct {
	// Listeners are TCP addresses, host:port, or Unix sockets, unix:/path. They need
	// NewSession.
	Listeners []string
	// UnixMode is the mode of the Unix sockets. Default 0660.
	UnixMode fs.FileMode
	// Inherit are sockets that are listened on already, by their address in
	// Listeners, which is then not bound. They belong to the engine from the call
	// of New on, also if that fails.
	Inherit listen.Sockets
	// Paused makes New return without accepting anything: Engine.Accept begins.
	Paused bool

	// NewSession makes the session of a loop; it is called once for each, on
	// the loop's own goroutine, before any connection is accepted. nil: there
	// are no loops.
	NewSession func(*Loop) Session

	// Loops is the number of event loops. Default: GOMAXPROCS, 0 without NewSession.
	Loops int

	// Guests makes room in the Limits for Listener and Send beside the loops. An
	// engine without loops or without limits needs no such room.
	Guests bool

	// Pin binds each loop's thread to a core of those the process may use.
	Pin bool

	// Driver selects the driver. Default: io_uring if it can be used.
	Driver DriverKind

	// ZeroCopy selects how file ranges are sent. Default: ZeroCopyAuto.
	ZeroCopy ZeroCopy

	// HeaderTimeout is how long a request may take to arrive. Default 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may rest between requests. Default 60 s.
	IdleTimeout time.Duration
	// SendTimeout is how long a peer may take nothing of a response that
	// waits for it. Default 30 s.
	SendTimeout time.Duration
	// LingerTimeout is how long a peer may send nothing while its input is dropped,
	// after a response that closes the connection. It may go on for fifteen times
	// as long. Default 2 s.
	LingerTimeout time.Duration

	// Congestion is the TCP congestion control of the connections that Listeners
	// accept: the name of an algorithm that the kernel has, or CongestionSystem.
	// Default: that of the system, except that at loopback addresses Reno takes the
	// place of one that paces (BBR). Between processes of one machine there is no
	// network to spare, and the timers cost up to four times what the transfer does.
	Congestion string

	// TurnBudget is how many bytes one transfer may send before others get
	// their turn. Default 1 MiB, of which paced connections use half.
	TurnBudget int64

	// Limits are what responses are shaped by; see Engine.Limits. nil: nothing
	// is shaped or measured, ever. Loops and Changed are set by the engine.
	Limits *shape.Config

	// Adapt finds the rates of clients and path classes by what the kernel measures;
	// see Engine.Adaptation. It needs Limits, and holds for what the loops send. nil: no
	// rate is found, ever.
	Adapt *AdaptConfig
	// OnAdapt is told what adaptation wants an operator to know. It is called on the
	// loops and must not block.
	OnAdapt func(AdaptEvent)

	// Sample measures the throughput of each response once a second, for
	// LoopStats.Jitter and Engine.Connections. It costs one pass over the
	// connections. Default: false.
	Sample bool

	// MaxConns bounds the connections of one loop; more are closed at once.
	// Default 1,000,000.
	MaxConns int

	// MaxFiles bounds the open files that one loop's cache holds. Default:
	// 4096, or an eighth of the descriptor limit shared between the loops if
	// that is less.
	MaxFiles int
	// MaxBody is the size up to which files are sent by copying from memory,
	// in bytes. Default 8 KiB.
	MaxBody int64
	// BodyHeadroom is memory before each body, for a session's own use (see
	// File.Headed), in bytes. Default 0.
	BodyHeadroom int
	// MaxBodyBytes bounds the memory of such bodies, for each loop. Default 64 MiB.
	MaxBodyBytes int64
}

func (c Config) withDefaults() Config {
	if c.NewSession != nil {
		setDefault(&c.Loops, runtime.GOMAXPROCS(0))
	}
	setDefault(&c.UnixMode, 0o660)
	setDefault(&c.HeaderTimeout, 10*time.Second)
	setDefault(&c.IdleTimeout, 60*time.Second)
	setDefault(&c.SendTimeout, 30*time.Second)
	setDefault(&c.LingerTimeout, 2*time.Second)
	setDefault(&c.TurnBudget, 1<<20)
	setDefault(&c.MaxConns, 1_000_000)
	setDefault(&c.MaxFiles, min(4096, max(16, descriptorLimit()/8/max(c.Loops, 1))))
	setDefault(&c.MaxBody, 8<<10)
	setDefault(&c.MaxBodyBytes, 64<<20)
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func descriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<20))
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("engine: "+what))
		}
	}
	if c.NewSession != nil {
		check(c.Loops > 0 && c.Loops <= 1024, "Config.Loops must be from 1 to 1024")
	} else {
		check(c.Loops == 0 && len(c.Listeners) == 0, "Config.NewSession is missing")
	}
	check(c.HeaderTimeout > 0 && c.IdleTimeout > 0 && c.SendTimeout > 0 && c.LingerTimeout > 0,
		"timeouts must be positive")
	for addr := range c.Inherit {
		check(slices.Contains(c.Listeners, addr), "Config.Inherit has "+addr+", which is not in Config.Listeners")
	}
	check(c.Adapt == nil || c.Limits != nil, "Config.Adapt needs Config.Limits")
	check(c.TurnBudget > 0, "Config.TurnBudget must be positive")
	check(c.MaxConns > 0 && c.MaxConns < aio.MaxSlots-1024, "Config.MaxConns is out of range")
	check(c.MaxFiles > 0 && c.MaxBody > 0 && c.MaxBodyBytes > 0, "cache bounds must be positive")
	return errors.Join(errs...)
}

// Engine is a set of event loops. Its methods are safe for concurrent use.
type Engine struct {
	cfg    Config
	loops  []*Loop
	shaper *shape.Shaper // nil: nothing is shaped

	adaptation *Adaptation // nil: nothing is adapted
	driver     string
	why        string

	guests *guest.Guests

	surveying sync.Mutex
	surveys   []*shape.Survey // by loop: memory that LimitsReport uses again

	listening *listen.Set
	adopted   atomic.Uint32 // connections; picks the loop

	done chan struct{} // closed when every loop has ended
	mu   sync.Mutex
	errs []error
}

// New binds the listeners and starts the loops. It returns when all accept.
func New(cfg Config) (_ *Engine, err error) {
	e := &Engine{cfg: cfg.withDefaults(), done: make(chan struct{})}
	inherited := maps.Clone(cfg.Inherit)
	defer inherited.Close() // what is left when it fails
	if err := e.cfg.validate(); err != nil {
		return nil, err
	}
	e.cfg.Inherit = nil
	if err := e.openShaper(); err != nil {
		return nil, err
	}
	e.guests = guest.New(guest.Config{ZeroCopy: e.cfg.ZeroCopy, Shaper: e.shaper, Tree: e.guestTree()})
	if err := e.chooseDriver(); err != nil {
		return nil, err
	}
	e.listening, err = listen.Open(listen.Config{
		Addrs: e.cfg.Listeners, UnixMode: e.cfg.UnixMode, Congestion: e.cfg.Congestion, Inherit: inherited,
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
	cfg := aio.Config{Mode: e.cfg.ZeroCopy, HoldProcessor: spare >= spareProcessors, Pipes: pipesFor(descriptorLimit(), e.cfg.Loops)}
	if e.driver == "uring" {
		return uring.New(cfg)
	}
	return fallback.New(cfg)
}

// start runs the loops and waits until each accepts, or one has failed.
func (e *Engine) start() error {
	e.loops = make([]*Loop, e.cfg.Loops)
	cores := []int{-1}
	if e.cfg.Pin {
		cores = allowedCores()
	}
	started := make(chan error, e.cfg.Loops)
	var running sync.WaitGroup
	for i := range e.loops {
		running.Add(1)
		go func() {
			defer running.Done()
			if err := e.runLoop(i, cores[i%len(cores)], started); err != nil {
				e.fail(err)
			}
		}()
	}
	go func() {
		running.Wait()
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
	l, err := e.openLoop(i, core, e.listening.Row(i))
	started <- err
	if err != nil {
		return nil // reported by start
	}
	err = l.run()
	return errors.Join(err, l.destroy())
}

func (e *Engine) openLoop(i, core int, sockets []listen.Socket) (*Loop, error) {
	err := lock(core)
	var d aio.Driver
	if err == nil {
		d, err = e.newDriver()
	}
	if err != nil {
		listen.CloseAll(sockets)
		return nil, fmt.Errorf("loop %d: %w", i, err)
	}
	l := newLoop(e, i, d)
	l.session = e.cfg.NewSession(l)
	l.held = sockets
	if !e.cfg.Paused {
		if err := l.acceptHeld(); err != nil {
			return nil, errors.Join(err, l.destroy())
		}
	}
	e.mu.Lock()
	e.loops[i] = l
	e.mu.Unlock()
	return l, nil
}

func (e *Engine) fail(err error) {
	e.mu.Lock()
	e.errs = append(e.errs, err)
	e.mu.Unlock()
	e.each(func(l *Loop) { l.stop() }) // one loop's listener cannot be left to the others
	e.guests.Close()
}

// each calls f for every loop that has started.
func (e *Engine) each(f func(*Loop)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		if l != nil {
			f(l)
		}
	}
}

// Addrs returns the bound addresses, in the order of Config.Listeners.
func (e *Engine) Addrs() []net.Addr { return e.listening.Addrs() }

// Driver returns the driver's name and why it was chosen.
func (e *Engine) Driver() (name, why string) { return e.driver, e.why }

// Config returns the configuration with its defaults filled in.
func (e *Engine) Config() Config { return e.cfg }

// Loops returns the number of event loops.
func (e *Engine) Loops() int { return len(e.loops) }

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
func (e *Engine) Shutdown(ctx context.Context) error { return e.end(ctx, (*Loop).drain) }

// end makes each loop do what brings it to its end, and waits for that.
func (e *Engine) end(ctx context.Context, drain func(*Loop)) error {
	e.listening.RemoveFiles()
	e.each(func(l *Loop) { l.post(drain) })
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
	e.each(func(l *Loop) { l.stop() })
	e.guests.Close()
	<-e.done
	return e.Err()
}

// stop makes the loop end after its current turn. Any goroutine may call it.
func (l *Loop) stop() {
	l.closing.Store(true)
	l.post(func(*Loop) {})
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
