package load

import (
	"context"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

// spareFiles is how many descriptors a process needs beside its connections.
const spareFiles = 64

// RaiseFiles raises the limit of descriptors (RLIMIT_NOFILE) of this process,
// and of those that it starts from now on, so that n connections fit. Only
// root may pass the hard limit.
func RaiseFiles(n int) error {
	want := uint64(n + spareFiles)
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if lim.Cur >= want {
		return nil
	}
	hard := lim.Max
	lim.Cur, lim.Max = max(want, lim.Max), max(want, lim.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("%d descriptors needed, the hard limit is %d: %w", want, hard, err)
	}
	return nil
}

// runHold opens the connections one after the other, each with one request,
// and keeps them while held runs.
func runHold(ctx context.Context, c Config, held func(Result) error) (Result, error) {
	if err := RaiseFiles(c.Conns); err != nil {
		return Result{}, err
	}
	to, err := sock.NewEndpoint(c.Addr, c.Sources)
	if err != nil {
		return Result{}, err
	}
	h := holder{receiver: newReceiver(math.MaxInt64), to: to, t: newTarget(&c, c.Path, c.BodyLen)}
	defer h.close()
	begin := sys.Nanotime()
	for range c.Conns {
		if err := h.open(ctx); err != nil {
			return Result{}, fmt.Errorf("connection %d: %w", len(h.fds)+1, err)
		}
	}
	res := Result{Requests: int64(c.Conns), Bytes: h.received, Seconds: float64(sys.Nanotime()-begin) / 1e9}
	return res, held(res)
}

// holder is the set of idle connections.
type holder struct {
	*receiver
	to  sock.Endpoint
	t   *target
	fds []int32
}

func (h *holder) close() {
	for _, fd := range h.fds {
		sys.Close(fd)
	}
}

// open makes one connection and one request on it.
func (h *holder) open(ctx context.Context) error {
	fd, err := h.to.Connect()
	if err != nil {
		return err
	}
	h.fds = append(h.fds, fd)
	c := conn{t: h.t, fd: fd, state: connecting}
	for {
		if c.state == connecting {
			err = c.send(0)
		} else if done, e := h.receive(&c); done || e != nil {
			return e
		}
		if err == nil {
			err = waitFor(ctx, &c)
		}
		if err != nil {
			return err
		}
	}
}

// waitFor waits until c can go on.
func waitFor(ctx context.Context, c *conn) error {
	p := []unix.PollFd{{Fd: c.fd, Events: unix.POLLIN}}
	if c.state == connecting {
		p[0].Events = unix.POLLOUT
	}
	for {
		n, err := unix.Poll(p, int(tick.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
