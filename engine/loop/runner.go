package loop

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/aio"
)

// Runner runs a Loop for its engine. Post, Stop, Adopt, Stats and Ended may be called by
// any goroutine; all else on the loop's own, to which Post leads.
type Runner struct{ loop *Loop }

// NewRunner makes a loop and its session on the calling goroutine, which must be locked to
// its thread (see Lock) and call Run and then Close. The driver is the loop's from here on.
func NewRunner(cfg Config, d aio.Driver) *Runner {
	l := newLoop(cfg, d)
	l.session = cfg.NewSession(l)
	return &Runner{l}
}

// Lock binds the calling goroutine to its thread, and the thread to a core if
// one is given (not negative).
func Lock(core int) error {
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

// Loop returns the loop.
func (r *Runner) Loop() *Loop { return r.loop }

// Run serves until the loop is stopped, or drains to the last connection.
func (r *Runner) Run() error {
	for !r.loop.over() {
		if err := r.loop.turn(); err != nil {
			return err
		}
	}
	return nil
}

// Own gives listening sockets to the loop, which owns them from here on and
// accepts nothing before Accept.
func (r *Runner) Own(sockets []listen.Socket) { r.loop.acceptor.paused = sockets }

// Accept begins to accept at them.
func (r *Runner) Accept() error { return r.loop.acceptor.start() }

// Listening returns the sockets that are accepted from. They stay the loop's.
func (r *Runner) Listening() []listen.Socket { return r.loop.acceptor.sockets() }

// HandOver stops accepting in favour of a successor that has the same sockets.
func (r *Runner) HandOver() { r.loop.acceptor.handOver() }

// Drain stops accepting and closes what is idle; the rest closes as it ends.
func (r *Runner) Drain() { r.loop.drainBy(func(c *Conn) { c.close(false) }) }

// Retire is Drain for a loop with a successor: connections that rest between requests are
// closed not at once, but after two seconds, or by the next answer.
func (r *Runner) Retire() {
	r.loop.retiring = true
	r.loop.drainBy(r.loop.hurry)
}

// Post runs f on the loop soon. It reports false if the loop has ended.
func (r *Runner) Post(f func(*Loop)) bool { return r.loop.post(f) }

// Stop makes the loop end after its current turn.
func (r *Runner) Stop() {
	r.loop.stopped.Store(true)
	r.loop.post(func(*Loop) {})
}

// Ask runs f on the loop and waits for it, so that f may read what belongs to the loop. If
// the loop has ended f runs on the caller's goroutine.
func (r *Runner) Ask(f func(*Loop)) {
	done := make(chan struct{})
	if r.loop.post(func(l *Loop) { defer close(done); f(l) }) {
		<-done
		return
	}
	<-r.loop.gone
	f(r.loop)
}

// Stats returns the counters, which the loop is asked for: that costs it nothing when it
// is not done. A loop that has ended answers with its last counters, also while it is
// being closed.
func (r *Runner) Stats() Stats {
	got := make(chan Stats, 1)
	if r.loop.post(func(l *Loop) { got <- l.snapshot() }) {
		return <-got
	}
	return *r.loop.last.Load()
}

// Ended reports whether the loop handles no events any more.
func (r *Runner) Ended() bool { return r.loop.posts.ended() }

// Close ends the loop: connections are cut, tasks are waited for, memory and
// descriptors are freed.
func (r *Runner) Close() error { return r.loop.destroy() }

func (l *Loop) destroy() error {
	l.unwatch()
	l.each(func(c *Conn) { c.close(true) })
	l.recalls.close(l)
	l.Files.EndLeases() // what follows may take its time, which no writer is to wait for
	l.stats.Driver = *l.driver.Stats()
	l.keepStats()
	if s, ok := l.session.(Ender); ok {
		s.Ending()
	}
	l.finishTasks()
	l.stats.Driver = *l.driver.Stats()
	l.acceptor.close()
	err := l.driver.Destroy() // closes every descriptor, waits for the kernel
	l.each((*Conn).closed)
	l.Files.Close()
	l.keepStats()
	close(l.gone)
	return err
}
