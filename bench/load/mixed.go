package load

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// downloadTurn bounds what is discarded of one download before the other
	// connections are looked at, in bytes, so that the generator itself does
	// not delay the requests that it times.
	downloadTurn = 256 << 10

	level = unix.EPOLLIN | unix.EPOLLRDHUP // events repeat until all is taken
)

// mixed makes requests at a fixed rate beside downloads.
type mixed struct {
	Config
	to        sock.Endpoint
	ep        *sock.Epoll
	m         *meter
	small     *receiver
	large     *receiver
	conns     []conn // Conns for requests, then one for each download
	free      []int  // connections without a request in flight
	sched     schedule
	downloads int // under way
}

// runMixed warms the small path up, then starts the downloads and the clock.
func runMixed(ctx context.Context, c Config) (Result, error) {
	x, err := newMixed(c)
	if err != nil {
		return Result{}, err
	}
	defer x.close()
	if err := x.open(); err != nil {
		return Result{}, err
	}
	if err := x.warm(ctx); err != nil {
		return Result{}, fmt.Errorf("warming up: %w", err)
	}
	return x.measure(ctx)
}

func newMixed(c Config) (*mixed, error) {
	to, err := sock.NewEndpoint(c.Addr, c.Sources)
	if err != nil {
		return nil, err
	}
	ep, err := sock.NewEpoll()
	if err != nil {
		return nil, err
	}
	// Sleeps end when they should, not up to 50 µs later.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return &mixed{
		Config: c, to: to, ep: ep, m: newMeter(&c),
		small: newReceiver(math.MaxInt64), large: newReceiver(downloadTurn),
	}, nil
}

func (x *mixed) close() {
	for i := range x.conns {
		sys.Close(x.conns[i].fd)
	}
	x.ep.Close()
}

// open connects all connections.
func (x *mixed) open() error {
	hot := newTarget(&x.Config, x.Path, x.BodyLen)
	for range x.Conns {
		if err := x.add(hot); err != nil {
			return err
		}
	}
	for _, path := range x.Downloads {
		if err := x.add(newTarget(&x.Config, path, x.DownloadLen)); err != nil {
			return err
		}
	}
	return nil
}

func (x *mixed) add(t *target) error {
	fd, err := x.to.Connect()
	if err != nil {
		return err
	}
	x.conns = append(x.conns, conn{t: t, fd: fd})
	if err := waitFor(context.Background(), &conn{fd: fd, state: connecting}); err != nil {
		return err
	}
	return x.ep.Add(fd, len(x.conns)-1, level)
}

// warm makes one request on each connection for requests.
func (x *mixed) warm(ctx context.Context) error {
	for i := range x.Conns {
		if err := x.conns[i].send(0); err != nil {
			return err
		}
	}
	for len(x.free) < x.Conns {
		if _, err := x.turn(tick); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// measure runs until the downloads are complete, at most for Measure.
func (x *mixed) measure(ctx context.Context) (Result, error) {
	now := sys.Nanotime()
	if err := x.m.start(now, 0); err != nil {
		return Result{}, err
	}
	for i := x.Conns; i < len(x.conns); i++ {
		if err := x.conns[i].send(now); err != nil {
			return Result{}, err
		}
		x.downloads++
	}
	x.sched = schedule{next: float64(now), every: 1e9 / x.Rate}
	for end := now + int64(x.Measure); x.downloads > 0 && now < end; {
		if err := x.request(now); err != nil {
			return Result{}, err
		}
		n, err := x.turn(x.pause(x.sched.wait(now, len(x.free) > 0)))
		if err != nil {
			return Result{}, err
		}
		now = x.m.turn(now, n)
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
	}
	res, err := x.m.stop(now, x.large.received)
	res.Completed = len(x.Downloads) - x.downloads
	return res, err
}

// request sends what is due, as far as connections are free.
func (x *mixed) request(now int64) error {
	for {
		start, ok := x.sched.due(now, len(x.free) > 0)
		if !ok {
			return nil
		}
		i := x.free[len(x.free)-1]
		x.free = x.free[:len(x.free)-1]
		if err := x.conns[i].send(start); err != nil {
			return err
		}
	}
}

// turn waits for events and handles one batch, requests before downloads. It returns
// the number of events.
func (x *mixed) turn(timeout time.Duration) (int, error) {
	events, err := x.ep.Wait(timeout)
	if err != nil {
		return 0, err
	}
	for _, ev := range events {
		if i := int(ev.Fd); i < x.Conns {
			if err := x.response(i); err != nil {
				return 0, err
			}
		}
	}
	for _, ev := range events {
		if i := int(ev.Fd); i >= x.Conns {
			if err := x.download(i); err != nil {
				return 0, fmt.Errorf("download %s: %w", x.Downloads[i-x.Conns], err)
			}
		}
	}
	return len(events), nil
}

// response takes what has come of a timed response.
func (x *mixed) response(i int) error {
	c := &x.conns[i]
	if c.state == idle {
		return errExcess
	}
	done, err := x.small.receive(c)
	if !done || err != nil {
		return err
	}
	c.state = idle
	now := sys.Nanotime()
	x.m.recordAt(now, now-c.start)
	x.free = append(x.free, i)
	return nil
}

// download takes what has come of a download.
func (x *mixed) download(i int) error {
	c := &x.conns[i]
	if c.state == idle {
		return errExcess
	}
	done, err := x.large.receive(c)
	if !done || err != nil {
		return err
	}
	c.state = idle
	x.downloads--
	return nil
}

// schedule says when requests are due: at a fixed rate, whether or not earlier
// ones have been answered.
type schedule struct {
	next   float64 // instant at which the next request is due, in ns
	every  float64 // ns
	behind bool    // a request was due while no connection was free
}

// due takes the next request if its time has come and a connection is free.
// start is the instant from which its latency counts: the time at which it was
// due if it had to wait for a connection, which is the server's delay; now if
// the generator merely woke up late.
func (s *schedule) due(now int64, free bool) (start int64, ok bool) {
	if s.next > float64(now) {
		s.behind = false
		return 0, false
	}
	if !free {
		s.behind = true
		return 0, false
	}
	start = now
	if s.behind {
		start = int64(s.next)
	}
	s.next += s.every
	return start, true
}

// wait returns how long to wait for events before the next request is due.
func (s *schedule) wait(now int64, free bool) time.Duration {
	if !free {
		return tick
	}
	return time.Duration(s.next) - time.Duration(now)
}
