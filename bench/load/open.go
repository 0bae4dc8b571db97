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

const connectTime = 10 * time.Second // for a connection to be established, or answered

// group is a group of connections at run time.
type group struct {
	Group
	index int   // in Config.Groups
	turn  int   // number of the next connection, for its source address
	most  int64 // bytes of a body that are taken at once
	meter meter
	sched schedule
	free  []*conn // of mode Timed: those without a request in flight
}

// source returns the number of the next source address, -1 for the kernel's choice.
func (g *group) source() int {
	if g.Clients == 0 {
		return -1
	}
	n := g.Source + g.turn%g.Clients
	g.turn++
	return n
}

func newGroup(c *Config, i int) group {
	g := group{Group: c.Groups[i], index: i, most: math.MaxInt64}
	if g.Turn > 0 {
		g.most = g.Turn
	}
	slotTime := int64(0)
	if g.Mode == Timed {
		g.sched = schedule{every: int64(g.Every), skip: g.Skip}
		slotTime = int64(min(c.Measure/8, 500*time.Millisecond))
	}
	g.meter = newMeter(slotTime)
	return g
}

func newLoop(c Config) (*loop, error) {
	to, err := sock.NewEndpoint(c.Addr)
	if err != nil {
		return nil, err
	}
	l := &loop{Config: c, to: to, buf: make([]byte, maxHead+copyMax), conns: make([]conn, 0, c.conns())}
	for i := range c.Groups {
		l.groups = append(l.groups, newGroup(&c, i))
	}
	l.downloads = c.count(Once)
	if c.Slots {
		l.slots = newSlots(&c)
	}
	l.ep, err = sock.NewEpoll()
	return l, err
}

func (l *loop) close() {
	for i := range l.conns {
		if l.conns[i].fd >= 0 {
			sys.Close(l.conns[i].fd)
		}
	}
	l.slow.close()
	l.ep.Close()
}

// open makes all connections but the trickling ones.
func (l *loop) open(ctx context.Context) error {
	for i := range l.groups {
		g := &l.groups[i]
		if g.Mode == Trickle {
			if err := l.openSlow(g); err != nil {
				return err
			}
			continue
		}
		t := newTarget(l.Addr, &g.Group)
		for j := range g.Conns {
			l.conns = append(l.conns, conn{
				t: t, group: g, fd: -1, id: int32(len(l.conns)), next: g.first(j),
			})
			if err := l.add(ctx, &l.conns[len(l.conns)-1]); err != nil {
				return fmt.Errorf("connection %d: %w", len(l.conns), err)
			}
		}
	}
	return nil
}

// first returns what the requests of the j-th connection begin with.
func (g *group) first(j int) uint32 {
	if g.Files > 0 {
		return uint32(j+1) * 0x9E3779B9 // odd, so that none is 0, and far apart
	}
	return uint32(j * rangeCount / g.Conns)
}

// add connects c and puts it where it belongs.
func (l *loop) add(ctx context.Context, c *conn) (err error) {
	g := c.group
	client := g.source()
	if c.fd, err = l.to.Connect(client); err != nil {
		return err
	}
	c.state = connecting
	if err := c.wait(ctx); err != nil {
		return err
	}
	c.state = idle
	if l.slots != nil && g.Mode == Closed {
		c.flow = l.slots.flow(g.index, client)
	}
	switch g.Mode {
	case Hold:
		err = l.greet(ctx, c)
	case Timed:
		g.free = append(g.free, c)
		err = l.greet(ctx, c)
	default:
		l.asking = append(l.asking, c)
	}
	if err != nil {
		return err
	}
	return l.watch(c)
}

// greet makes one request and waits for its answer.
func (l *loop) greet(ctx context.Context, c *conn) error {
	if err := c.send(0); err != nil {
		return err
	}
	for {
		_, done, err := c.receive(l.buf, math.MaxInt64)
		if done {
			c.state = idle
		}
		if done || err != nil {
			return err
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
}

// watch has events of c reported. One that paces itself is looked at by the clock.
func (l *loop) watch(c *conn) error {
	switch {
	case c.group.Pace > 0:
		l.paced = append(l.paced, c)
		return nil
	case c.group.Turn > 0:
		return l.ep.Add(c.fd, int(c.id), level)
	case c.state == connecting:
		return l.ep.Add(c.fd, int(c.id), edge|unix.EPOLLOUT)
	}
	return l.ep.Add(c.fd, int(c.id), edge)
}

// reopen connects c once more and sends its next request, as soon as it can be sent.
// Its latency counts from here.
func (l *loop) reopen(c *conn) (err error) {
	now := sys.Nanotime()
	if c.fd, err = l.to.Connect(c.group.source()); err != nil {
		return err
	}
	c.state, c.start = connecting, now
	if err := c.send(now); err != nil {
		return err
	}
	return l.watch(c)
}
