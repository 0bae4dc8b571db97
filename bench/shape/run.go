package shape

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// longestWait is how long the loop sleeps at most when it does not poll.
	longestWait = 5 * time.Millisecond

	// paceStep is how many bytes a client that paces itself lets come together, and
	// paceEvery how long, in ns, it leaves its socket alone.
	paceStep  = 64 << 10
	paceEvery = 50_000

	settleTime = 10 * time.Second // for connections to be established
)

// conn is one downloading connection.
type conn struct {
	exchange
	index, group, client int
	once                 bool
	pace                 int64 // bytes per second; 0: not paced

	asked int64 // instant of the first request, 0: not yet
	total int64 // bytes so far
	tried int64 // instant at which a paced one last looked
	first int64 // bytes in the first second
	last  int64 // instant of the last bytes
	quiet int64 // longest time without any
	slots []uint32
	lost  bool
}

// receiver is one run. It belongs to one thread.
type receiver struct {
	Config
	ep     *sock.Epoll
	to     sock.Endpoint
	conns  []conn
	paced  []*conn
	probe  *prober
	buf    []byte
	res    Result
	now    int64
	begin  int64 // of the measurement
	finish int64 // and its end
	asking int   // connections that have asked
}

// Run measures and returns what it saw. It occupies the calling thread until it returns.
// began is called when the measurement begins, with Result.Began.
func Run(ctx context.Context, c Config, began func(int64) error) (*Result, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &receiver{Config: c, buf: make([]byte, maxHead)}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r.run(ctx, began)
}

func (r *receiver) close() {
	for i := range r.conns {
		if fd := r.conns[i].fd; fd >= 0 {
			sys.Close(fd)
		}
	}
	if r.probe != nil && r.probe.fd >= 0 {
		sys.Close(r.probe.fd)
	}
	if r.ep != nil {
		r.ep.Close()
	}
}

// open makes all connections and waits until they are established.
func (r *receiver) open(ctx context.Context) (err error) {
	if r.to, err = sock.NewEndpoint(r.Addr, 0); err != nil {
		return err
	}
	if r.ep, err = sock.NewEpoll(); err != nil {
		return err
	}
	slots := make([]uint32, r.Config.conns()*r.Config.slots())
	for i, g := range r.Groups {
		for j := range g.Conns {
			c := conn{
				index: len(r.conns), group: i, client: g.Source + j%g.Clients, once: g.Once, pace: g.Pace,
				slots: slots[:r.Config.slots():r.Config.slots()],
			}
			slots = slots[r.Config.slots():]
			c.req = request(r.Addr, g.Path)
			if c.fd, err = r.connect(ctx, c.client); err != nil {
				return fmt.Errorf("%v: %w", &c, err)
			}
			r.conns = append(r.conns, c)
		}
	}
	if r.Probe.Path != "" {
		r.probe = &prober{every: int64(r.Probe.Every)}
		r.probe.req = request(r.Addr, r.Probe.Path)
		if r.probe.fd, err = r.connect(ctx, r.Probe.Source); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	return r.watch()
}

// connect returns an established connection.
func (r *receiver) connect(ctx context.Context, source int) (int32, error) {
	fd, err := r.to.ConnectFrom(source)
	if err != nil {
		return -1, err
	}
	p := []unix.PollFd{{Fd: fd, Events: unix.POLLOUT}}
	for end := sys.Nanotime() + int64(settleTime); ; {
		n, err := unix.Poll(p, int(longestWait.Milliseconds()))
		switch {
		case n > 0 && p[0].Revents == unix.POLLOUT:
			return fd, nil
		case n > 0:
			err = unix.ECONNREFUSED
		case err == nil || errors.Is(err, unix.EINTR):
			err = ctx.Err()
		}
		if err == nil && sys.Nanotime() > end {
			err = unix.ETIMEDOUT
		}
		if err != nil {
			sys.Close(fd)
			return -1, fmt.Errorf("connect: %w", err)
		}
	}
}

// watch adds the connections to the epoll instance, level-triggered: what is left by
// one receive is reported again. Those that pace themselves are looked at by the clock.
func (r *receiver) watch() error {
	for i := range r.conns {
		c := &r.conns[i]
		if c.pace > 0 {
			r.paced = append(r.paced, c)
			continue
		}
		if err := r.ep.Add(c.fd, i, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
			return err
		}
	}
	if r.probe != nil {
		return r.ep.Add(r.probe.fd, len(r.conns), unix.EPOLLIN|unix.EPOLLRDHUP)
	}
	return nil
}

// run asks on all connections, warms up and measures.
func (r *receiver) run(ctx context.Context, began func(int64) error) (*Result, error) {
	r.now = sys.Nanotime()
	start := r.now
	r.begin = start + int64(r.Spread+r.Warm)
	r.finish = r.begin + int64(r.Config.slots())*int64(Slot)
	r.res.Total = make([]int64, int64(r.Config.slots())*int64(Slot/Fine))
	if err := r.turns(ctx, start, r.begin); err != nil {
		return nil, err
	}
	server, core, err := r.clocks()
	if err != nil {
		return nil, err
	}
	r.res.Stall = 0
	r.res.Began = Clock() + r.begin - sys.Nanotime()
	if err := began(r.res.Began); err != nil {
		return nil, err
	}
	r.now = sys.Nanotime()
	if err := r.turns(ctx, start, r.finish); err != nil {
		return nil, err
	}
	if r.res.ServerCPU, r.res.CoreBusy, err = r.clocks(); err != nil {
		return nil, err
	}
	r.res.ServerCPU -= server
	r.res.CoreBusy -= core
	r.collect()
	return &r.res, nil
}

// clocks returns the CPU seconds of the server and of its core.
func (r *receiver) clocks() (server, core float64, err error) {
	if server, err = proc.CPUSeconds(r.Pids); err != nil {
		return 0, 0, fmt.Errorf("CPU time of the server: %w", err)
	}
	if core, err = proc.CoreSeconds(r.Core); err != nil {
		return 0, 0, fmt.Errorf("CPU time of the server's core: %w", err)
	}
	return server, core, nil
}

// turns serves the connections until the instant end.
func (r *receiver) turns(ctx context.Context, start, end int64) error {
	for r.now < end {
		wait := min(longestWait, time.Duration(end-r.now))
		if r.Spin || len(r.paced) > 0 || r.asking < len(r.conns) {
			wait = 0
		}
		events, err := r.ep.Wait(wait)
		if err != nil {
			return err
		}
		then := r.now
		r.now = sys.Nanotime()
		r.res.Stall = max(r.res.Stall, time.Duration(r.now-then)-wait)
		for i := range events {
			r.ready(int(events[i].Fd))
		}
		for _, c := range r.paced {
			r.takePaced(c)
		}
		r.ask(start)
		if r.probe != nil {
			r.lose(nil, r.probe.tick(r))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// ask makes the first requests that are due by now.
func (r *receiver) ask(start int64) {
	for r.asking < len(r.conns) {
		c := &r.conns[r.asking]
		if r.now < start+int64(r.Spread)*int64(r.asking)/int64(len(r.conns)) {
			return
		}
		r.asking++
		c.asked, c.last = r.now, r.now
		r.lose(c, c.ask())
	}
}

// ready takes what has come on a connection.
func (r *receiver) ready(i int) {
	if i == len(r.conns) {
		r.lose(nil, r.probe.receive(r))
		return
	}
	c := &r.conns[i]
	if !c.busy {
		r.lose(c, c.unasked(r.buf))
		return
	}
	r.receive(c, discardMost)
}

// takePaced takes what the pace of a connection allows for.
func (r *receiver) takePaced(c *conn) {
	if !c.busy || c.lost || r.now-c.tried < paceEvery {
		return
	}
	c.tried = r.now
	credit := (r.now-c.asked)/int64(time.Microsecond)*c.pace/1e6 - c.total
	if credit >= min(paceStep, c.left) {
		r.receive(c, credit)
	}
}

// receive takes at most so many bytes, counts them and asks again if that was all.
func (r *receiver) receive(c *conn, most int64) {
	n, done, err := c.take(most, r.buf)
	r.count(c, n)
	if done && !c.once && err == nil {
		err = c.ask()
	}
	r.lose(c, err)
}

// count books n bytes that have come now.
func (r *receiver) count(c *conn, n int64) {
	if n == 0 {
		return
	}
	c.total += n
	if r.now-c.asked < int64(time.Second) {
		c.first += n
	}
	if at := r.now - r.begin; at >= 0 && r.now < r.finish {
		c.slots[at/int64(Slot)] += uint32(n)
		r.res.Total[at/int64(Fine)] += n
		c.quiet = max(c.quiet, r.now-max(c.last, r.begin))
	}
	c.last = r.now
}

// lose ends a connection by an error, if there is one; nil is the probe's.
func (r *receiver) lose(c *conn, err error) {
	switch {
	case err == nil:
		return
	case c == nil:
		sys.Close(r.probe.fd)
		r.probe.fd, r.probe.every = -1, 0
		err = fmt.Errorf("probe: %w", err)
	case c.lost:
		return
	default:
		sys.Close(c.fd)
		c.fd, c.lost, c.busy = -1, true, false
		err = fmt.Errorf("%v: %w", c, err)
	}
	if r.res.Lost++; r.res.Lost == 1 {
		r.res.Cause = err.Error()
	}
}

// collect makes the result of what was counted.
func (r *receiver) collect() {
	r.res.Seconds = time.Duration(r.finish - r.begin).Seconds()
	perSecond := int(time.Second / Slot)
	for i := range r.conns {
		c := &r.conns[i]
		out := Conn{Group: c.group, Client: c.client, First: c.first, CoV: CoV(c.slots)}
		var seconds []int64
		for s, n := range c.slots {
			if s%perSecond == 0 && s+perSecond <= len(c.slots) {
				seconds = append(seconds, 0)
			}
			if len(seconds)*perSecond > s {
				seconds[len(seconds)-1] += int64(n)
			}
			out.Bytes += int64(n)
			if i == r.Config.Trace {
				r.res.Trace = append(r.res.Trace, int64(n))
			}
		}
		out.CoVSec = CoV(seconds)
		out.Silence = time.Duration(max(c.quiet, r.finish-max(c.last, r.begin)))
		r.res.Conns = append(r.res.Conns, out)
	}
	if r.probe != nil {
		r.res.Probes, r.res.Skipped = r.probe.latencies, r.probe.skipped
	}
}
