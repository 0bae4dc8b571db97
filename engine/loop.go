package engine

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// batch bounds the events of one turn, so that the run queue gets its share.
	batch = 256

	// acceptPause is how long accepting rests when descriptors have run out.
	acceptPause = 10 * time.Millisecond

	// maxUnread is how much input a connection may have waiting while a
	// response is sent, in bytes, before the engine stops reading from it.
	maxUnread = 64 << 10

	// maxExpired is how many connections are ended in one turn because their
	// time is over. Each costs some 10 us: an answer, its end, and in the next
	// turn what the peer makes of it.
	maxExpired = 2
	// expireEvery allows for more where turns take long: one in so many ns, so that a
	// loop with much to do ends thousands a second, too.
	expireEvery = 64_000

	// sweepPart is how many deadlines are looked at in one turn: some 10 µs of work,
	// where those of 10,000 connections would be 150.
	sweepPart = 1024

	// crowdedPart is how much sooner than usual deadlines are looked at while more
	// connections are late than that: a burst of ends is a burst of new connections.
	crowdedPart = 16
)

// Loop is one event loop: a driver, the connections that it serves, and the
// files that it holds open. Everything about them happens on its goroutine.
type Loop struct {
	// Files is the loop's cache of open files.
	Files *Files

	engine  *Engine
	index   int
	driver  aio.Driver
	session Session
	conns   conns
	serving *Conn // whose input is being handed to the session

	listeners []*listener
	held      []listen.Socket // listening sockets that are not accepted from yet: Config.Paused
	now       int64           // monotonic ns at the beginning of the turn
	took      int64           // ns, of the turn before this one if it did not wait
	sweepAt   int64
	careAt    int64 // as often as sweepAt, unless many connections are late
	crowded   bool  // more connections were late at once than is good
	sweepSlab int   // the next slab of the sweep under way; past the last: none is
	sweepSlot int   // and the next slot in it
	sampleAt  int64 // when the throughput of responses is measured next
	acceptAt  int64 // 0: all listeners accept

	idleTimeout, headerTimeout, sendTimeout, lingerTimeout int64 // ns
	sweepEvery                                             int64
	turnBudget                                             int64
	maxConns                                               int

	runq, running []*Conn
	flows         flows
	sampler       measure.Sampler
	buffers       inputPool
	gathered      []byte // a response of small parts; made at first use
	freeTransfers *transfer
	tail          [tailBytes]byte
	events        [batch]aio.Event

	draining bool
	retiring bool // draining, with a successor: see Engine.Retire
	stats    LoopStats

	// System calls on descriptors for the simulation to replace.
	closeFD     func(fd int32)
	wall        func() int64 // Unix ns
	limitUnsent func(fd, bytes int32)
	sendBuffer  func(fd int32, bytes int)
	askTCP      func(*Conn, *sys.TCPInfo) syscall.Errno
	paceTCP     func(c *Conn, rate int64)

	posts   posts
	closing atomic.Bool
	last    atomic.Pointer[LoopStats] // set before posts.over is
	gone    chan struct{}             // closed when destroy has returned
}

// posts are messages from other goroutines.
type posts struct {
	mu    sync.Mutex
	tasks []Task
	funcs []func(*Loop)
	over  bool // the loop has ended: nothing is taken any more
	busy  int  // tasks whose Run has not returned; guarded by mu
	idle  *sync.Cond
}

func newLoop(e *Engine, index int, d aio.Driver) *Loop {
	cfg := &e.cfg
	l := &Loop{
		engine: e, index: index, driver: d,
		idleTimeout: int64(cfg.IdleTimeout), headerTimeout: int64(cfg.HeaderTimeout),
		sendTimeout: int64(cfg.SendTimeout), lingerTimeout: int64(cfg.LingerTimeout),
		turnBudget: cfg.TurnBudget, maxConns: cfg.MaxConns,
		closeFD:     func(fd int32) { sys.Close(fd) },
		wall:        func() int64 { return time.Now().UnixNano() },
		limitUnsent: func(fd, n int32) { _ = sys.SetNotsentLowat(fd, n) }, // a Unix socket has none
		sendBuffer:  func(fd int32, n int) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n) },
		askTCP:      askTCP, paceTCP: paceTCP,
	}
	if e.shaper != nil {
		l.flows.tree = e.shaper.Tree(index)
	}
	l.sampler.Init(e.adaptation, l.flows.tree)
	l.gone = make(chan struct{})
	l.posts.idle = sync.NewCond(&l.posts.mu)
	shortest := min(cfg.IdleTimeout, cfg.HeaderTimeout, cfg.SendTimeout, cfg.LingerTimeout)
	l.sweepEvery = int64(min(max(shortest/8, 10*time.Millisecond), time.Second))
	l.now = d.Now()
	l.Files = openfile.NewFiles(openfile.Config{
		Max: cfg.MaxFiles, MaxBody: cfg.MaxBody, MaxBytes: cfg.MaxBodyBytes, Headroom: cfg.BodyHeadroom,
		Driver: d, CloseFD: func(fd int32) { l.closeFD(fd) }, Wall: func() int64 { return l.wall() }, Stats: &l.stats.Files,
	})
	l.Files.Turn(l.now)
	return l
}

// Index returns the loop's number, from 0.
func (l *Loop) Index() int { return l.index }

// Addr returns the address of the i-th listener, as in Config.Listeners.
func (l *Loop) Addr(i int) net.Addr { return l.engine.listening.Addrs()[i] }

// Now returns the monotonic time of this turn of the loop, in nanoseconds.
func (l *Loop) Now() int64 { return l.now }

// Draining reports whether the engine is shutting down: responses should tell
// the client that the connection closes.
func (l *Loop) Draining() bool { return l.draining }

// run serves until the engine closes, or drains to the last connection.
func (l *Loop) run() error {
	for !l.over() {
		if err := l.turn(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) over() bool { return l.closing.Load() || l.draining && l.conns.open == 0 }

// turn is one turn of the loop: wait once, handle what happened, send what is
// ready to be sent.
func (l *Loop) turn() error {
	began, timeout := l.now, l.timeout()
	n, err := l.driver.Wait(l.events[:], timeout)
	if err != nil {
		return fmt.Errorf("%s driver: %w", l.driver.Name(), err)
	}
	l.now = l.driver.Now()
	l.Files.Turn(l.now)
	if l.took = 0; timeout == 0 {
		l.took = l.now - began
	}
	for i := range n {
		l.handle(&l.events[i])
	}
	l.runPosts()
	l.runFlows()
	l.runQueue()
	l.tick()
	return nil
}

// timeout returns how long the next wait may last.
func (l *Loop) timeout() time.Duration {
	if len(l.runq) > 0 || l.sweeping() {
		return 0
	}
	next := int64(-1)
	if l.conns.open > len(l.listeners) || l.Files.MustSweep() {
		next = l.sweepAt
	}
	if l.acceptAt != 0 && (next < 0 || l.acceptAt < next) {
		next = l.acceptAt
	}
	if l.flows.tree != nil {
		if due := l.flows.tree.Due(); due >= 0 && (next < 0 || due < next) {
			next = due
		}
	}
	if due := l.sampler.Due(); due != measure.Never && (next < 0 || due < next) {
		next = due
	}
	if next < 0 {
		return -1
	}
	return time.Duration(max(next-l.now, 0))
}

func (l *Loop) handle(e *aio.Event) {
	if e.Op == aio.Accepted {
		l.accepted(e)
		return
	}
	if ln := l.listenerOf(e.Token); ln != nil {
		l.listenerClosed(ln)
		return
	}
	c := l.conns.of(e.Token)
	if c == nil {
		return
	}
	switch e.Op {
	case aio.Received:
		l.received(c, e)
	case aio.Ready:
		l.unblocked(c, e)
	case aio.Closed:
		l.closed(c)
	}
}

// received handles input, the end of it, or a broken connection.
func (l *Loop) received(c *Conn, e *aio.Event) {
	switch {
	case c.state == connClosing:
	case len(e.Data) > 0:
		l.input(c, e.Data)
	case e.Err != 0:
		l.stats.Resets++
		l.broken(c, PeerGone, true)
	default:
		c.ended = true
		// A peer that has sent its requests and FIN still gets the answers.
		if c.state == connReading || c.state == connLingering {
			l.closeConn(c, false)
		}
	}
}

// unblocked goes on with a transfer after Ready.
func (l *Loop) unblocked(c *Conn, e *aio.Event) {
	if c.state != connSending || c.out.done {
		return
	}
	c.out.blocked = false
	if e.Err != 0 {
		l.end(c, outcome.OfErrno(e.Err))
	}
	c.deadline = l.now + l.sendTimeout
	l.wake(c) // not now: it might get its turn twice
}

// broken ends a connection from the engine's side.
func (l *Loop) broken(c *Conn, why End, reset bool) {
	if c.state == connSending && !c.out.done {
		l.end(c, why)
		l.finish(c, 0)
		return
	}
	l.closeConn(c, reset)
}

// wake puts a connection in the run queue.
func (l *Loop) wake(c *Conn) {
	if !c.queued {
		c.queued = true
		l.runq = append(l.runq, c)
	}
}

// runQueue gives each queued connection one turn. What it queues runs in the
// next turn of the loop.
func (l *Loop) runQueue() {
	l.running, l.runq = l.runq, l.running[:0]
	for i, c := range l.running {
		l.running[i] = nil
		c.queued = false
		l.advance(c)
	}
}

// advance moves a connection on as far as it goes in this turn.
func (l *Loop) advance(c *Conn) {
	if c.state != connSending {
		return
	}
	if !c.out.done && !c.out.blocked && !c.out.waiting {
		l.pump(c)
	}
	if !c.out.done {
		return
	}
	l.finish(c, len(c.in))
	if c.state == connReading && len(c.in) > 0 {
		l.serve(c, c.in, 0)
	}
}

// finish tells the session how the response ended and decides what becomes of
// the connection, which has unread bytes of input left.
func (l *Loop) finish(c *Conn, unread int) {
	t := c.out
	l.tell(c, t)
	if c.state != connSending {
		return // the session has closed it; Closed frees t
	}
	if t.outcome.End != Complete {
		l.closeConn(c, true) // a driver may still use the file until Closed
		return
	}
	c.out = nil
	c.state = connReading
	l.freeTransfer(t)
	switch {
	case c.closeNext && c.linger && !c.ended:
		l.startLinger(c)
	case c.closeNext, (c.ended || l.draining && !l.retiring) && unread == 0:
		l.closeConn(c, false)
	default:
		c.seen = false
		c.deadline = l.now + l.idleTimeout
		if l.retiring {
			l.hurry(c)
		}
		if c.paused {
			c.paused = false
			l.driver.Resume(c.token)
		}
	}
}

func (l *Loop) tell(c *Conn, t *transfer) {
	if t.told {
		return
	}
	t.told = true
	l.stats.Responses++
	l.stats.Ends[t.outcome.End]++
	l.session.Sent(c, &t.outcome)
}

// lingerTimes bounds how long the input of a closing connection is dropped, in time-outs:
// a peer that sends all the while must find time to read the answer, but not for ever.
const lingerTimes = 15

// startLinger sends FIN and drops what the peer still sends, for a while.
func (l *Loop) startLinger(c *Conn) {
	c.state = connLingering
	c.deadline = l.now + l.lingerTimeout
	c.lingers = l.now + lingerTimes*l.lingerTimeout
	l.buffers.put(&c.in)
	if c.paused {
		c.paused = false
		l.driver.Resume(c.token)
	}
	l.driver.CloseWrite(c.token)
}

// closeConn gives the connection to the driver to close.
func (l *Loop) closeConn(c *Conn, reset bool) {
	if c.state == connClosing || c.state == connFree {
		return
	}
	if c.state == connSending {
		if !c.out.done {
			l.end(c, Aborted)
		}
		reset = reset || c.out.outcome.End != Complete
	}
	if c.closeNext && !reset && c.state != connLingering {
		// With what is held back of the response: close alone drops it if input is unread.
		l.driver.CloseWrite(c.token)
	}
	l.sampler.End(&c.tap, false, l.now)
	c.state = connClosing
	c.deadline = 0
	l.buffers.put(&c.in)
	if c.adopted != nil {
		c.adopted.Ending(reset)
	}
	l.driver.Close(c.token, reset)
}

// closed frees a connection: the driver has closed its descriptor.
func (l *Loop) closed(c *Conn) {
	if t := c.out; t != nil {
		l.tell(c, t)
		c.out = nil
		l.freeTransfer(t)
	}
	l.session.Closed(c)
	l.sampler.End(&c.tap, true, l.now) // the descriptor may be another's by now
	l.leaveFlow(c)
	slot := c.token.Slot()
	*c = Conn{queued: c.queued} // the run queue may still name it
	l.conns.put(slot)
	l.stats.Closed++
}

// tick does what is due by time.
func (l *Loop) tick() {
	l.sampler.Run(l.now)
	if l.acceptAt != 0 && l.now >= l.acceptAt {
		l.acceptAt = 0
		for _, ln := range l.listeners {
			ln.resume(l)
		}
	}
	if l.now >= l.sweepAt && !l.sweeping() { // or those behind many that are late would never be looked at
		l.sweepAt = l.now + l.sweepEvery
		if l.crowded {
			l.sweepAt = l.now + l.sweepEvery/crowdedPart
		}
		l.crowded = false
		l.sweepSlab, l.sweepSlot = 0, 0
	}
	if l.now >= l.careAt {
		l.careAt = l.now + l.sweepEvery
		l.Files.Sweep()
		l.sample()
		l.forgetOverrides()
	}
	l.sweep()
}

// sweeping reports whether a sweep is under way.
func (l *Loop) sweeping() bool { return l.sweepSlab < len(l.conns.slabs) }

// sweep looks at every connection's deadline. One pass over a flat array costs
// less than keeping timers in order on every request.
//
// It stops after sweepPart connections, and after maxExpired that were due, and goes
// on in the next turn: others do not wait while all of many connections are looked
// at, or a thousand are told that they are late.
func (l *Loop) sweep() {
	most := int(min(max(l.took/expireEvery, maxExpired), 32*maxExpired))
	for looked, expired := 0, 0; l.sweeping(); l.sweepSlab, l.sweepSlot = l.sweepSlab+1, 0 {
		for s := l.conns.slabs[l.sweepSlab]; l.sweepSlot < len(s); l.sweepSlot++ {
			c := &s[l.sweepSlot]
			if looked++; looked > sweepPart {
				return
			}
			if c.deadline == 0 || l.now < c.deadline {
				continue
			}
			if expired == most {
				l.crowded = true
				return
			}
			l.expire(c)
			expired++
		}
	}
}

func (l *Loop) expire(c *Conn) {
	c.deadline = 0
	switch c.state {
	case connSending:
		l.stats.SendTimeouts++
		l.broken(c, TimedOut, true)
	case connReading:
		if len(c.in) == 0 && c.requests > 0 { // idle, between requests
			l.closeConn(c, false)
			return
		}
		l.stats.HeaderTimeouts++
		l.session.Timeout(c)
		if c.state == connReading {
			l.closeConn(c, false)
		}
	case connLingering:
		l.closeConn(c, false)
	}
}

// Go runs t.Run on a goroutine of its own, then t.Done on the loop.
func (l *Loop) Go(t Task) {
	l.posts.mu.Lock()
	l.posts.busy++
	l.posts.mu.Unlock()
	go func() {
		defer l.taskRan(t)
		t.Run()
	}()
}

func (l *Loop) taskRan(t Task) {
	p := &l.posts
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.tasks = append(p.tasks, t)
	if p.over {
		p.idle.Signal()
		return
	}
	l.driver.Wake()
}

// post runs f on the loop soon. It reports false if the loop has ended.
func (l *Loop) post(f func(*Loop)) bool {
	p := &l.posts
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.funcs = append(p.funcs, f)
	l.driver.Wake()
	return true
}

func (l *Loop) runPosts() {
	l.posts.mu.Lock()
	tasks, funcs := l.posts.tasks, l.posts.funcs
	l.posts.tasks, l.posts.funcs = nil, nil
	l.posts.mu.Unlock()
	for _, t := range tasks {
		t.Done(l)
	}
	for _, f := range funcs {
		f(l)
	}
}

// destroy ends the loop: connections are cut, tasks are waited for, memory and
// descriptors are freed.
func (l *Loop) destroy() error {
	for i := range l.conns.slabs {
		for j := range l.conns.slabs[i] {
			if c := &l.conns.slabs[i][j]; c.state != connFree {
				l.closeConn(c, true)
			}
		}
	}
	l.stats.Driver = *l.driver.Stats()
	l.keepStats()
	l.finishTasks()
	l.stats.Driver = *l.driver.Stats()
	l.closeListeners()
	err := l.driver.Destroy() // closes every descriptor, waits for the kernel
	for i := range l.conns.slabs {
		for j := range l.conns.slabs[i] {
			if c := &l.conns.slabs[i][j]; c.state != connFree {
				l.closed(c)
			}
		}
	}
	l.Files.Close()
	l.keepStats()
	close(l.gone)
	return err
}

// finishTasks takes no posts any more and waits for the tasks, and for those
// that they start when they are done.
func (l *Loop) finishTasks() {
	p := &l.posts
	p.mu.Lock()
	p.over = true
	for p.busy > 0 || len(p.tasks)+len(p.funcs) > 0 {
		for p.busy > 0 {
			p.idle.Wait()
		}
		p.mu.Unlock()
		l.runPosts()
		p.mu.Lock()
	}
	p.mu.Unlock()
}

// lock binds the calling goroutine to its thread, and the thread to a core if
// one is given.
func lock(core int) error {
	runtime.LockOSThread()
	if core < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to core %d: %w", core, err)
	}
	return nil
}
