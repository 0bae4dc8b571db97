package load

import (
	"context"
	"fmt"
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/sock"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// level repeats events until all is taken, edge reports every change once.
	level = unix.EPOLLIN | unix.EPOLLRDHUP
	edge  = level | unix.EPOLLET

	// buildWait is how long the loop sleeps at most while the load is built up.
	buildWait = time.Millisecond

	// paceStep is how many bytes a client that paces itself lets come together, and
	// paceEvery how long, in ns, it leaves its socket alone.
	paceStep  = 64 << 10
	paceEvery = 50_000
)

// loop drives all connections of a run. It belongs to one thread.
type loop struct {
	Config
	to     sock.Endpoint
	ep     *sock.Epoll
	groups []group
	conns  []conn
	buf    []byte // see conn.receive

	asking    []*conn // connections that ask when the load is built up
	asked     int     // of these, how many have
	downloads int     // of mode Once, under way or to come
	paced     []*conn
	slow      slow
	slots     *slots // nil without Config.Slots
	memory    memory

	now        int64 // instant of this turn
	start, end int64 // of the phase, in ns
	begun      int64 // beginning of the measurement in ns,
	clock      int64 // and of Clock
	looked     int64 // instant at which events were looked for
	stall      int64 // ns; see Result.Stall
	idle       int64 // ns spent in polls that brought nothing
}

// turns serves the connections for as long as on says.
func (l *loop) turns(ctx context.Context, on func() bool) error {
	for on() {
		if err := l.turn(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// turn sends what is due and handles one batch of events.
func (l *loop) turn() error {
	sent, err := l.due()
	if err != nil {
		return err
	}
	wait := l.pause()
	events, err := l.ep.Wait(wait)
	if err != nil {
		return err
	}
	then := l.now
	l.now = sys.Nanotime()
	l.stall = max(l.stall, l.now-l.looked-int64(wait))
	l.looked = l.now
	if len(events) == 0 {
		if !sent {
			l.idle += l.now - then
		}
		return nil
	}
	err = l.handle(events)
	l.now = sys.Nanotime()
	return err
}

// due sends what is due by now, and tells whether there was anything.
func (l *loop) due() (sent bool, err error) {
	if l.asked < len(l.asking) {
		if err := l.ask(); err != nil {
			return false, err
		}
	}
	for i := range l.groups {
		if g := &l.groups[i]; g.Mode == Timed {
			if err := l.request(g); err != nil {
				return false, err
			}
		}
	}
	for _, c := range l.paced {
		if err := l.takePaced(c); err != nil {
			return false, err
		}
	}
	if l.Memory && l.begun > 0 {
		if err := l.memory.look(l.now, l.Pids); err != nil {
			return false, err
		}
	}
	return l.slow.turn(l)
}

// building tells whether the load is not complete yet.
func (l *loop) building() bool { return l.asked < len(l.asking) || l.slow.missing() > 0 }

// part returns how many of n are to be there by now: they come evenly over Spread.
func (l *loop) part(n int) int {
	if passed := l.now - l.start; passed < int64(l.Spread) {
		return int(float64(n) * float64(passed) / float64(l.Spread))
	}
	return n
}

// ask makes the first requests that are due by now.
func (l *loop) ask() error {
	for ; l.asked < l.part(len(l.asking)); l.asked++ {
		c := l.asking[l.asked]
		if c.flow != nil {
			c.flow.asked, c.flow.last = l.now, l.now
		}
		if err := c.send(l.now); err != nil {
			return failed(c, err)
		}
	}
	return nil
}

// request sends the requests of a group that are due, as far as connections are free.
func (l *loop) request(g *group) error {
	for {
		start, ok := g.sched.due(l.now, len(g.free) > 0)
		if !ok {
			return nil
		}
		c := g.free[len(g.free)-1]
		g.free = g.free[:len(g.free)-1]
		if err := c.send(start); err != nil {
			return failed(c, err)
		}
	}
}

// pause returns how long to wait for events.
func (l *loop) pause() time.Duration {
	if l.Spin || len(l.paced) > 0 {
		return 0
	}
	until := min(l.now+int64(tick), l.end, l.slow.next())
	if l.building() {
		until = min(until, l.now+int64(buildWait))
	}
	for i := range l.groups {
		if g := &l.groups[i]; g.Mode == Timed {
			until = min(until, g.sched.at(len(g.free) > 0))
		}
	}
	return time.Duration(max(0, until-l.now))
}

// handle handles a batch of events: those of groups whose turns are bounded after all
// others, the trickling connections last.
func (l *loop) handle(events []unix.EpollEvent) error {
	slow, later := false, 0
	for _, ev := range events {
		if ev.Fd == slowID {
			slow = true
			continue
		}
		c := &l.conns[ev.Fd]
		if c.group.Turn > 0 {
			events[later] = ev
			later++
			continue
		}
		if err := l.ready(c); err != nil {
			return failed(c, err)
		}
	}
	for _, ev := range events[:later] {
		c := &l.conns[ev.Fd]
		if err := l.ready(c); err != nil {
			return failed(c, err)
		}
	}
	if slow {
		return l.slow.react(l)
	}
	return nil
}

// failed names the connection of an error.
func failed(c *conn, err error) error {
	return fmt.Errorf("connection %d, %s: %w", c.id, c.group.Path, err)
}

// ready handles an event of a connection.
func (l *loop) ready(c *conn) error {
	switch c.state {
	case connecting:
		return c.send(c.start)
	case closing:
		return l.finish(c)
	case idle:
		return c.unasked()
	}
	return l.receive(c, c.group.most)
}

// receive takes what has come of a response, at most so many bytes of its body.
func (l *loop) receive(c *conn, most int64) error {
	n, done, err := c.receive(l.buf, most)
	c.group.meter.bytes += n
	if c.flow != nil {
		l.slots.count(c.flow, n, l.now)
	}
	if !done || err != nil {
		return err
	}
	return l.answered(c)
}

// answered goes on after a response.
func (l *loop) answered(c *conn) error {
	now := sys.Nanotime()
	g := c.group
	g.meter.record(now, now-c.start)
	switch g.Mode {
	case Closed:
		return c.send(now)
	case Reconnect:
		c.state = closing
		return l.finish(c)
	case Timed:
		g.free = append(g.free, c)
	case Once:
		l.downloads--
	}
	c.state = idle
	return nil
}

// finish waits for the end of the stream of a connection and replaces the
// connection. The server closes first, as it was asked to, so that the
// connection lingers on its side as it would with real clients.
func (l *loop) finish(c *conn) error {
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
	return l.reopen(c)
}
