// Package loop is one event loop: the connections that it serves, what they receive and
// what is sent to them. It knows no protocol (that is a Session's), opens no files
// (package openfile does) and binds no sockets (package listen does).
//
// A connection has streams, of which HTTP/1.1 uses one at a time. A Stream is a response
// on its way: it has one phase, one outcome, one place in the tree of limits, and one
// Body that is pulled as the socket takes it. On a connection with TLS the loop seals what it
// sends and opens what it receives (sealed.go); nothing above and below knows.
package loop

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/free"
)

// batch bounds the events of one turn, so that the run queue gets its share.
const batch = 256

// Config is what a Loop is made with. Package engine fills it in and checks it.
type Config struct {
	Index      int
	NewSession func(*Loop) Session // called once, on the loop's goroutine
	Addrs      []net.Addr          // of the listeners
	Shaper     *shape.Shaper       // nil: nothing is shaped
	Adaptation *measure.Adaptation // nil: nothing is adapted
	Files      openfile.Config     // the bounds
	Leases     Leases              // nil: there are none
	Expire     bool                // this loop forgets limits whose time is over, for all loops

	HeaderTimeout, IdleTimeout, SendTimeout, LingerTimeout time.Duration

	TurnBudget int64   // bytes
	Bounds     *Bounds // of all loops
	Sample     bool    // see Stats.Jitter
}

// Leases is where leases on files are taken, and what tells of breaks: a lease.Watch.
type Leases interface {
	openfile.Leases
	Subscribe(tell func(fd int32)) (cancel func())
}

// Loop is one event loop: a driver, the connections that it serves, and the
// files that it holds open. Everything about them happens on its goroutine, on which
// also its methods are to be called.
type Loop struct {
	// Files is the loop's cache of open files.
	Files *openfile.Files

	cfg     Config
	driver  aio.Driver
	session Session
	conns   conns
	serving *Conn // whose input is being handed to the session

	acceptor  acceptor
	sweeper   sweeper
	crowd     crowd
	flows     flows
	sampler   measure.Sampler
	buffers   inputPool
	reads     int // remoteReads in use
	freeReads free.List[remoteRead]
	streams   free.List[Stream]
	sealer    sealer
	recalls   recalls
	carriers  carriers

	now      int64 // monotonic ns at the beginning of the turn
	turns    uint32
	perTurn  uint32 // maxRequests, except in the simulation
	took     int64  // ns, of the turn before this one if it did not wait
	careAt   int64  // when what comes once in a while is due
	speedsAt int64  // when the throughput of responses is measured next

	runq, running []*Stream
	// backlog are connections with requests that wait for the next turn; see maxRequests.
	backlog, resumed []*Conn
	gathered         []byte // a response of small parts; made at first use
	tail             [tailBytes]byte
	events           [batch]aio.Event

	draining bool
	retiring bool // draining, with a successor: see Runner.Retire
	stats    Stats
	kernel   kernel

	posts   mailbox
	stopped atomic.Bool
	last    atomic.Pointer[Stats] // set before posts.over is
	gone    chan struct{}         // closed when destroy has returned
	unwatch func()                // of leases
}

func newLoop(cfg Config, d aio.Driver) *Loop {
	if cfg.Bounds == nil {
		cfg.Bounds = new(Bounds)
	}
	l := &Loop{cfg: cfg, driver: d, perTurn: maxRequests, kernel: realKernel, gone: make(chan struct{})}
	if cfg.Shaper != nil {
		l.flows.tree = cfg.Shaper.Tree(cfg.Index)
	}
	l.sampler.Init(cfg.Adaptation, l.flows.tree)
	l.posts.init()
	l.acceptor.loop = l
	shortest := min(cfg.IdleTimeout, cfg.HeaderTimeout, cfg.SendTimeout, cfg.LingerTimeout)
	l.sweeper = sweeper{loop: l, every: int64(min(max(shortest/8, 10*time.Millisecond), time.Second))}
	l.crowd.loop, l.buffers.held, l.sealer.pool.held = l, &cfg.Bounds.buffered, &cfg.Bounds.sealed
	files := cfg.Files
	files.Driver, files.Stats = d, &l.stats.Files
	files.Spent = l.crowd.outOfDescriptors
	files.CloseFD = func(fd int32) { l.kernel.closeFD(fd) }
	files.Wall = func() int64 { return l.kernel.wall() }
	l.unwatch = func() {}
	if w := cfg.Leases; w != nil {
		files.Leases = w
		l.unwatch = w.Subscribe(func(fd int32) { l.post(func(l *Loop) { l.Files.Broken(fd, l.recall) }) })
	}
	l.Files = openfile.NewFiles(files)
	l.begin()
	return l
}

// begin begins a turn: the time is what the driver says.
func (l *Loop) begin() {
	l.now = l.driver.Now()
	l.turns++
	l.Files.Turn(l.now)
}

// Index returns the loop's number, from 0.
func (l *Loop) Index() int { return l.cfg.Index }

// Addr returns the address of the i-th listener.
func (l *Loop) Addr(i int) net.Addr { return l.cfg.Addrs[i] }

// Now returns the monotonic time of this turn of the loop, in nanoseconds.
func (l *Loop) Now() int64 { return l.now }

// Draining reports whether the engine is shutting down: responses should tell
// the client that the connection closes.
func (l *Loop) Draining() bool { return l.draining }

// Shaped reports whether responses are subject to limits, or may become so, so
// that a session has to say whose they are.
func (l *Loop) Shaped() bool { return l.flows.tree != nil }

// Limits returns the limits; nil: there are none, ever.
func (l *Loop) Limits() *shape.Shaper { return l.cfg.Shaper }

// over reports whether there is nothing more to do.
func (l *Loop) over() bool { return l.stopped.Load() || l.draining && l.conns.open == 0 }

// turn is one turn of the loop: wait once, handle what happened, send what is
// ready to be sent.
func (l *Loop) turn() error {
	began, timeout := l.now, l.timeout()
	n, err := l.driver.Wait(l.events[:], timeout)
	if err != nil {
		return fmt.Errorf("%s driver: %w", l.driver.Name(), err)
	}
	l.begin()
	if l.took = 0; timeout == 0 {
		l.took = l.now - began
	}
	l.runBacklog()
	for i := range n {
		l.handle(&l.events[i])
	}
	l.runPosts()
	l.runFlows()
	l.runQueue()
	l.recalls.run(l)
	l.tick()
	l.carriers.run()
	return nil
}

// timeout returns how long the next wait may last.
func (l *Loop) timeout() time.Duration {
	if len(l.runq)+len(l.backlog)+len(l.carriers.touched) > 0 || l.sweeper.busy() {
		return 0
	}
	next := measure.Never
	if l.conns.open > len(l.acceptor.listeners) || l.Files.MustSweep() {
		next = l.sweeper.at
	}
	if l.recalls.busy() {
		next = min(next, l.recalls.at)
	}
	if at := l.acceptor.resumeAt; at != 0 {
		next = min(next, at)
	}
	if l.flows.tree != nil {
		if due := l.flows.tree.Due(); due >= 0 {
			next = min(next, due)
		}
	}
	if next = min(next, l.sampler.Due()); next == measure.Never {
		return -1
	}
	return time.Duration(max(next-l.now, 0))
}

func (l *Loop) handle(e *aio.Event) {
	if l.acceptor.handle(e) {
		return
	}
	c := l.conns.of(e.Token)
	if c == nil {
		return
	}
	switch e.Op {
	case aio.Received:
		c.received(e)
	case aio.Ready:
		c.unblocked(e)
	case aio.Closed:
		c.closed()
	}
}

// runQueue gives each queued stream one turn. What it queues runs in the
// next turn of the loop.
func (l *Loop) runQueue() {
	l.running, l.runq = l.runq, l.running[:0]
	for i, s := range l.running {
		l.running[i] = nil
		s.queued = false
		s.advance()
	}
}

// tick does what is due by time.
func (l *Loop) tick() {
	l.sampler.Run(l.now)
	l.acceptor.tick()
	l.sweeper.begin()
	if l.now >= l.careAt {
		l.careAt = l.now + l.sweeper.every
		l.Files.Sweep()
		if b := l.cfg.Bounds; b.Descriptors > 0 {
			l.Files.Bound(b.files())
		}
		l.measureSpeeds()
		l.forgetOverrides()
	}
	l.sweeper.run()
}

// each calls f for every connection that is open.
func (l *Loop) each(f func(*Conn)) {
	for i := range l.conns.slabs {
		for j := range l.conns.slabs[i] {
			if c := &l.conns.slabs[i][j]; c.state != connFree {
				f(c)
			}
		}
	}
}
