package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/loop"
)

// Ask runs f on each loop in turn and waits for it, so that f may read what
// belongs to the loop and write what belongs to the caller. For a loop that has
// ended f runs on the caller's goroutine. Ask must not be called on a loop.
func (e *Engine) Ask(f func(*loop.Loop)) { e.each(func(r *loop.Runner) { r.Ask(f) }) }

// Stats returns the counters of every loop. It asks each loop and waits for the
// answer, so it costs the loops nothing when it is not called. A loop that has
// ended answers with its last counters.
func (e *Engine) Stats() []loop.Stats {
	var out []loop.Stats
	e.each(func(r *loop.Runner) { out = append(out, r.Stats()) })
	return out
}

// Connections returns the first n connections of all loops in an order, and how
// many there are. It asks each loop, which passes once over its connections and
// looks closely at those that are returned.
func (e *Engine) Connections(order loop.ConnOrder, n int) (list []loop.ConnInfo, open int) {
	return loop.Connections(e.started(), order, n)
}

// Cut ends a connection with a reset, by Loop and ID of its ConnInfo, and returns what it was
// doing. Its response ends as Aborted. ok is false if there is no such connection any more.
func (e *Engine) Cut(index int, id uint64) (c loop.ConnInfo, ok bool) {
	if all := e.started(); index >= 0 && index < len(all) {
		return all[index].Cut(id)
	}
	return c, false
}

var errNoLoops = errors.New("engine: it has no loops")

// Adopt gives a connected stream socket to one of the loops, which serves it
// like an accepted one. The descriptor must be non-blocking; it is the engine's
// from here on, unless an error is returned. Conn.Listener is -1 for it.
func (e *Engine) Adopt(fd int, a loop.Adopted) error {
	if e.cfg.Loops == 0 {
		return errNoLoops
	}
	e.mu.Lock()
	r := e.loops[int(e.adopted.Add(1))%len(e.loops)]
	e.mu.Unlock()
	if r == nil || !r.Adopt(fd, a) {
		return ErrEnded
	}
	return nil
}

// Accept makes an engine that was made with Config.Paused accept connections. It
// returns when all loops do; on error some may.
func (e *Engine) Accept() error {
	return e.ask(func(r *loop.Runner) error { return r.Accept() })
}

// ask does f on each loop in turn and waits for it.
func (e *Engine) ask(f func(*loop.Runner) error) error {
	var errs []error
	e.each(func(r *loop.Runner) { r.Ask(func(*loop.Loop) { errs = append(errs, f(r)) }) })
	return errors.Join(errs...)
}

// Sockets returns duplicates of the listening sockets by their address in
// Config.Listeners, for the Config.Inherit of a successor. They are the caller's,
// and closed on exec. While they are open nothing that waits in the queues is
// lost, whatever becomes of this engine.
func (e *Engine) Sockets() (listen.Sockets, error) {
	out := make(listen.Sockets)
	err := e.ask(func(r *loop.Runner) error {
		var errs []error
		for _, s := range r.Listening() {
			errs = append(errs, e.listening.Duplicate(s, out))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// HandOver stops accepting in favour of a successor that has the same sockets: see
// Sockets. Nothing is lost: connections that this engine was about to accept are
// served, others wait for the successor, to which also the files of Unix sockets
// belong from here on. Retire or Shutdown is to follow.
func (e *Engine) HandOver() {
	e.listening.LeaveFiles()
	_ = e.ask(func(r *loop.Runner) error { r.HandOver(); return nil })
}

// Retire is Shutdown for an engine with a successor: connections that rest between
// requests are closed not at once, but after two seconds, or by the next answer.
func (e *Engine) Retire(ctx context.Context) error { return e.end(ctx, (*loop.Runner).Retire) }

// Turning waits until each loop has made a turn, and returns how late the slowest one was. The error
// names those that have not turned when ctx ends: they hang, in a handler or in the kernel.
func (e *Engine) Turning(ctx context.Context) (late time.Duration, err error) {
	posted, slowest := time.Now(), new(atomic.Int64)
	var turned []chan struct{}
	e.each(func(r *loop.Runner) {
		done := make(chan struct{})
		if !r.Post(func(*loop.Loop) {
			raise(slowest, int64(time.Since(posted)))
			close(done)
		}) {
			close(done) // it has ended
		}
		turned = append(turned, done)
	})
	var errs []error
	for i, done := range turned {
		select {
		case <-done:
		case <-ctx.Done():
			errs = append(errs, hangs(i, done, ctx.Err()))
		}
	}
	if err = errors.Join(errs...); err != nil {
		return time.Since(posted), err
	}
	return time.Duration(slowest.Load()), nil
}

// raise makes a number at least n.
func raise(to *atomic.Int64, n int64) {
	for was := to.Load(); was < n && !to.CompareAndSwap(was, n); was = to.Load() {
	}
}

// hangs reports on a loop when the time is over; it may have turned just then.
func hangs(loop int, done <-chan struct{}, cause error) error {
	select {
	case <-done:
		return nil
	default:
		return fmt.Errorf("event loop %d does not turn: %w", loop, cause)
	}
}
