// Package load generates HTTP/1.1 load from one thread: an epoll loop with raw
// system calls that allocates nothing while it measures, so that it is cheaper
// than any server that it is pointed at.
//
// A load is made of groups of connections that do the same. Every load of the
// benchmarks is a list of groups: one that asks again and again, downloads beside
// requests at fixed times, connections that rest or that send a byte a second.
//
// Every response is checked: its status, and its length to the byte. Contents
// are not: bodies are discarded in the kernel (MSG_TRUNC) because a receiver
// that copies costs more than the sender. Package suite reads and compares
// contents in a pass of its own.
package load

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/sock"
)

// Mode says what the connections of a group do.
type Mode string

// What the connections of a group do.
const (
	// Closed: each asks again whenever its response is complete.
	Closed Mode = "closed"
	// Reconnect: one request a connection ("Connection: close"); the next
	// connection is opened when the server has closed the last one.
	Reconnect Mode = "reconnect"
	// Timed: requests at fixed times, each on a connection that is free.
	Timed Mode = "timed"
	// Once: each asks once. The measurement ends when all responses are complete.
	Once Mode = "once"
	// Hold: each has asked once before the load begins, and is idle.
	Hold Mode = "hold"
	// Trickle: each sends a byte a second of a head that never ends. One that the server
	// ends is opened anew.
	Trickle Mode = "trickle"
)

// Config describes one run.
type Config struct {
	Addr   string // IPv4 address and port of the server
	Groups []Group

	TLS TLS // empty: none

	// Spread is the time over which the first requests are made and the trickling
	// connections opened: clients do not all come at the same instant.
	Spread time.Duration
	// Warm is how long after that the measurement begins. If both are 0 it begins with
	// the first requests.
	Warm time.Duration
	// Measure is the length of the measurement; see MaxTime for its upper bound. 0
	// holds the connections until the callback of Run returns: all groups have mode Hold then.
	Measure time.Duration

	Pids []int // processes of the server, whose CPU time is taken
	Core int   // core of the server, whose busy time is taken

	// Spin makes the generator poll instead of sleeping when nothing has come.
	// The server is then spared the wake-up of a sleeping peer on another
	// core, which no server with a network in between pays (10 % of nginx's
	// time at 1 KiB), and latencies lack the time that the peer takes to wake
	// up. It needs a core of its own.
	Spin bool

	// Netns is the path of a network namespace that the connections are made in; empty: that
	// of the process.
	Netns string

	// Slots counts the bytes of the connections of mode Closed in slots of time.
	Slots bool
	// Memory watches the server's resident memory.
	Memory bool
}

// Group is a number of connections that do the same.
type Group struct {
	Mode    Mode
	Conns   int
	Path    string // target of the requests, with the leading slash
	BodyLen int64  // Content-Length that each response must have, in bytes
	Ranges  Ranges // zero: whole files
	// Files > 0 asks for so many files of one size, drawn at random: see Name. Path is
	// what their targets begin with.
	Files int

	// Clients is the number of source addresses over which the connections are spread,
	// the first of which is Source: 127.0.1.1 has number 0. With Clients 0 the kernel
	// chooses the address. One address has some 28,000 ports.
	Source, Clients int

	// Every is the time between two requests of mode Timed. Skip leaves requests out that
	// fall due while no connection is free, but for the first; otherwise they are made up for.
	Every time.Duration
	Skip  bool

	// Turn bounds the bytes that are taken at once, so that other connections do not
	// wait; 0: all. Groups without a bound are served first.
	Turn int64
	// Pace is how fast each client takes what comes, in bytes per second; 0: at once.
	// It needs Config.Slots and mode Closed.
	Pace int64
}

// holdTime bounds the life of connections that are held, the making of them included.
const holdTime = time.Minute

// MaxTime returns how long a run takes at most, unless the system is in the
// way: a measurement without any response goes on for a while.
func (c *Config) MaxTime() time.Duration {
	switch {
	case c.Measure == 0:
		return holdTime
	case c.Slots:
		return c.Spread + c.Warm + c.Measure
	}
	return c.Spread + c.Warm + patience*c.Measure
}

// conns returns the number of connections.
func (c *Config) conns() (n int) {
	for i := range c.Groups {
		n += c.Groups[i].Conns
	}
	return n
}

// count returns the number of connections of a mode.
func (c *Config) count(mode Mode) (n int) {
	for i := range c.Groups {
		if c.Groups[i].Mode == mode {
			n += c.Groups[i].Conns
		}
	}
	return n
}

func (c *Config) validate() error {
	switch {
	case c.Addr == "":
		return errors.New("no address")
	case len(c.Groups) == 0:
		return errors.New("no connections")
	case c.Spread < 0 || c.Warm < 0 || c.Measure < 0:
		return errors.New("a time is negative")
	case c.Slots && c.count(Closed) == 0:
		return errors.New("no connections whose bytes are counted by slots")
	case c.Slots && c.slots() < 2:
		return fmt.Errorf("a measurement of %v is shorter than two slots of %v", c.Measure, Slot)
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	slow := 0
	for i := range c.Groups {
		if err := c.Groups[i].validate(c); err != nil {
			return fmt.Errorf("group %d: %w", i, err)
		}
		if c.Groups[i].Mode == Trickle {
			slow++
		}
	}
	if slow > 1 {
		return errors.New("more than one group trickles")
	}
	return nil
}

// validateTLS refuses what a load over TLS cannot be.
func (c *Config) validateTLS() error {
	switch g := &c.Groups[0]; {
	case c.TLS == "":
		return nil
	case c.TLS != NewSessions && c.TLS != Resumed:
		return fmt.Errorf("unknown way of TLS %q", c.TLS)
	case len(c.Groups) > 1 || g.Mode != Closed && g.Mode != Reconnect && g.Mode != Hold:
		return errors.New("a load over TLS is of one group, which asks again and again, connects anew or is held")
	case c.Slots || c.Memory || c.Netns != "" || g.Ranges.Of > 0 || g.Files > 0 || g.Turn > 0:
		return errors.New("over TLS whole files are asked for from this network, and counted as a whole")
	}
	return nil
}

func (g *Group) validate(c *Config) error {
	switch {
	case g.Conns < 1 || g.Conns > 1<<20:
		return fmt.Errorf("%d connections are out of range", g.Conns)
	case !strings.HasPrefix(g.Path, "/"):
		return fmt.Errorf("path %q: no leading slash", g.Path)
	case g.BodyLen < 1:
		return fmt.Errorf("body: %d bytes is out of range", g.BodyLen)
	case g.Files < 0 || g.Files > maxFiles || g.Files > 0 && g.Ranges.Of > 0:
		return errors.New("the number of files is out of range, or ranges of several are asked for")
	case g.Source < 0 || g.Clients < 0 || g.Source+g.Clients > sock.MaxSources:
		return errors.New("source addresses are out of range")
	case g.Turn < 0 || g.Pace < 0 || g.Pace > 0 && (!c.Slots || g.Mode != Closed):
		return errors.New("pace or turn is out of range")
	case c.Measure == 0 && g.Mode != Hold:
		return errors.New("no time for a measurement")
	}
	return errors.Join(g.Ranges.validate(g.BodyLen), g.validateMode())
}

func (g *Group) validateMode() error {
	switch g.Mode {
	case Closed, Reconnect, Once, Hold, Trickle:
		return nil
	case Timed:
		if g.Every <= 0 {
			return errors.New("timed requests need an interval")
		}
		return nil
	}
	return fmt.Errorf("unknown mode %q", g.Mode)
}
