package load

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

// tick is how long a loop waits before it looks at the clock again.
const tick = 50 * time.Millisecond

// patience is how many times Measure a measurement lasts at most if no response
// is complete by its end.
const patience = 10

// edge: every change of a socket is reported once.
const edge = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

// Run generates the load of c and returns what it saw. The first response
// that is not as expected ends it with an error. It occupies the calling
// thread until it returns. held is called in mode Hold as soon as all
// connections are idle, and Run returns when it does; it is not used otherwise.
func Run(ctx context.Context, c Config, held func(Result) error) (Result, error) {
	if err := c.validate(); err != nil {
		return Result{}, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch c.Mode {
	case Hold:
		return runHold(ctx, c, held)
	case Mixed:
		return runMixed(ctx, c)
	case Trickle:
		return runTrickle(ctx, c)
	}
	l, err := newLoop(c)
	if err != nil {
		return Result{}, err
	}
	defer l.close()
	return l.run(ctx)
}

// loop drives the connections of the modes Closed and Reconnect.
type loop struct {
	Config
	rx    *receiver
	m     *meter
	to    sock.Endpoint
	ep    *sock.Epoll
	conns []conn
}

func newLoop(c Config) (*loop, error) {
	to, err := sock.NewEndpoint(c.Addr, c.Sources)
	if err != nil {
		return nil, err
	}
	p, err := sock.NewEpoll()
	if err != nil {
		return nil, err
	}
	l := &loop{Config: c, rx: newReceiver(math.MaxInt64), m: newMeter(&c), to: to, ep: p}
	t := newTarget(&c, c.Path, c.BodyLen)
	l.conns = make([]conn, c.Conns)
	for i := range l.conns {
		// Connections start at different places of the list of ranges.
		l.conns[i] = conn{t: t, fd: -1, next: uint32(i * rangeCount / c.Conns)}
	}
	return l, nil
}

func (l *loop) close() {
	for i := range l.conns {
		if l.conns[i].fd >= 0 {
			sys.Close(l.conns[i].fd)
		}
	}
	l.ep.Close()
}

// run opens the connections, warms up and measures.
func (l *loop) run(ctx context.Context) (Result, error) {
	for i := range l.conns {
		if err := l.open(i, sys.Nanotime()); err != nil {
			return Result{}, err
		}
	}
	if err := l.turns(ctx, sys.Nanotime()+int64(l.Warm), math.MaxInt64); err != nil {
		return Result{}, fmt.Errorf("warming up: %w", err)
	}
	now := sys.Nanotime()
	if err := l.m.start(now, l.rx.received); err != nil {
		return Result{}, err
	}
	limit := int64(math.MaxInt64)
	if l.Limit > 0 {
		limit = l.Limit
	}
	if err := l.turns(ctx, now+int64(l.Measure), limit); err != nil {
		return Result{}, err
	}
	// A rate needs a response at least: wait for it on a machine that is busy.
	if err := l.turns(ctx, now+patience*int64(l.Measure), 1); err != nil {
		return Result{}, err
	}
	return l.m.stop(sys.Nanotime(), l.rx.received)
}

// turns serves the connections until the instant end, or until limit
// responses are counted.
func (l *loop) turns(ctx context.Context, end, limit int64) error {
	for now := sys.Nanotime(); now < end && l.m.requests < limit; {
		events, err := l.ep.Wait(l.pause(time.Duration(end - now)))
		if err != nil {
			return err
		}
		for i := range events {
			if err := l.ready(&events[i]); err != nil {
				return err
			}
		}
		now = l.m.turn(now, len(events))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// open connects connection i and sends its first request.
func (l *loop) open(i int, now int64) error {
	c := &l.conns[i]
	fd, err := l.to.Connect()
	if err != nil {
		return err
	}
	c.fd, c.state = fd, connecting
	if err := c.send(now); err != nil {
		return err
	}
	c.start = now // of the connection, if it is still being made
	events := uint32(edge)
	if c.state == connecting {
		events |= unix.EPOLLOUT
	}
	return l.ep.Add(fd, i, events)
}

// ready handles an event of a connection.
func (l *loop) ready(ev *unix.EpollEvent) error {
	c := &l.conns[ev.Fd]
	switch c.state {
	case connecting:
		return c.send(c.start)
	case closing:
		return l.finish(int(ev.Fd))
	}
	done, err := l.rx.receive(c)
	if !done || err != nil {
		return err
	}
	now := sys.Nanotime()
	l.m.record(now - c.start)
	if l.Mode == Reconnect {
		c.state = closing
		return l.finish(int(ev.Fd))
	}
	return c.send(now)
}

// finish waits for the end of the stream of connection i and replaces the
// connection. The server closes first, as it was asked to, so that the
// connection lingers on its side as it would with real clients.
func (l *loop) finish(i int) error {
	c := &l.conns[i]
	n, e := sock.Discard(c.fd, math.MaxInt32)
	switch {
	case e == syscall.EAGAIN:
		return nil
	case e != 0:
		return fmt.Errorf("receive: %w", e)
	case n > 0:
		return errExcess
	}
	sys.Close(c.fd)
	c.fd = -1
	return l.open(i, sys.Nanotime())
}
