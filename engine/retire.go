package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/internal/sys"
)

// retireGrace is how long connections that rest between requests are kept when
// the engine retires: a client that downloads one file after another asks for the
// next one meanwhile, and learns from its answer that the connection ends. Closing
// at once would meet requests that are on their way, which look failed to clients.
const retireGrace = 2 * time.Second

// Accept makes an engine that was made with Config.Paused accept connections. It
// returns when all loops do; on error some may.
func (e *Engine) Accept() error {
	var errs []error
	e.Ask(func(l *Loop) { errs = append(errs, l.acceptHeld()) })
	return errors.Join(errs...)
}

// acceptHeld gives the listening sockets that were held back to the driver.
func (l *Loop) acceptHeld() error {
	held := l.held
	l.held = nil
	for i, s := range held {
		if err := l.listen(s); err != nil {
			listen.CloseAll(held[i+1:])
			return fmt.Errorf("loop %d: %w", l.index, err)
		}
	}
	return nil
}

// Release stops accepting in favour of a successor that has the same sockets: see
// Sockets. Nothing is lost: connections that this engine was about to accept are
// served, others wait for the successor, to which also the files of Unix sockets
// belong from here on. Retire or Shutdown is to follow.
func (e *Engine) Release() {
	e.listening.LeaveFiles()
	e.Ask(func(l *Loop) { l.release() })
}

func (l *Loop) release() {
	l.acceptAt = 0
	for _, ln := range l.listeners {
		if ln.closing {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			ln.last = int32(fd)
		}
		l.closeListener(ln)
	}
}

// acceptLast takes what waits in the queue of a listener that the driver has let go
// of. A multishot accept on a ring is an exclusive waiter: one connection may have
// woken it while it was being cancelled, and nobody else will be woken for that one.
func (l *Loop) acceptLast(ln *listener) {
	if ln.last < 0 {
		return
	}
	for range listen.Backlog {
		if !sys.Readable(ln.last) {
			break
		}
		fd, e := sys.Accept4(ln.last) // never waits long: see sys.SetAcceptPatience
		if e != 0 {
			break
		}
		l.stats.Accepted++
		l.openFrom(ln, fd)
	}
	l.closeFD(ln.last)
}

// closeListeners closes what the driver does not own, when the loop ends.
func (l *Loop) closeListeners() {
	listen.CloseAll(l.held)
	for _, ln := range l.listeners {
		if ln.last >= 0 {
			l.closeFD(ln.last)
		}
		ln.last, ln.closing = -1, true // the driver closes ln.fd
	}
	l.held = nil
}

// Sockets returns duplicates of the listening sockets by their address in
// Config.Listeners, for the Config.Inherit of a successor. They are the caller's,
// and closed on exec. While they are open nothing that waits in the queues is
// lost, whatever becomes of this engine.
func (e *Engine) Sockets() (listen.Sockets, error) {
	out := make(listen.Sockets)
	var errs []error
	e.Ask(func(l *Loop) {
		for _, ln := range l.listeners {
			if !ln.closing {
				errs = append(errs, e.listening.Duplicate(listen.Socket{FD: ln.fd, Index: ln.index}, out))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// Retire is Shutdown for an engine with a successor: connections that rest between
// requests are closed not at once, but after two seconds, or by the next answer.
func (e *Engine) Retire(ctx context.Context) error { return e.end(ctx, (*Loop).retire) }

func (l *Loop) retire() {
	l.retiring = true
	l.drainBy(l.hurry)
}

// hurry bounds how long a connection may rest before its next request, the last.
// Those without any have their time for the first one.
func (l *Loop) hurry(c *Conn) {
	if c.requests > 0 {
		c.deadline = min(c.deadline, l.now+int64(retireGrace))
	}
}

// Turning waits until each loop has made a turn. The error names those that have
// not when ctx ends: they hang, in a handler or in the kernel.
func (e *Engine) Turning(ctx context.Context) error {
	turned := make([]chan struct{}, 0, e.Loops())
	e.each(func(l *Loop) {
		done := make(chan struct{})
		if !l.post(func(*Loop) { close(done) }) {
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
	return errors.Join(errs...)
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
