// Package shape measures shaped traffic where it arrives: one thread that takes
// what comes on many connections, discards it in the kernel (MSG_TRUNC) and
// counts bytes by connection and by slots of 100 ms of a monotonic clock. Figures are
// made of that alone: what a server believes to have sent does not count.
package shape

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/sock"
)

const (
	// Slot is the width of the slots that the variation is measured with.
	Slot = 100 * time.Millisecond

	// Fine is the width of the slots of Result.Total.
	Fine = 10 * time.Millisecond
)

// Config describes one run.
type Config struct {
	Addr   string // IPv4 address and port of the server
	Groups []Group
	Probe  Probe // zero: none

	// Spread is the time over which the first requests of all connections are made:
	// clients do not all come at the same instant.
	Spread time.Duration
	// Warm is how long after that the measurement begins.
	Warm    time.Duration
	Measure time.Duration // at least two slots

	Pids []int // processes of the server, whose CPU time is taken
	Core int   // core of the server, whose busy time is taken
	Spin bool  // poll instead of sleeping; needs a core of its own

	// Trace is the connection whose slots are in the result, counted over all groups.
	Trace int
}

// Group is a number of connections that do the same.
type Group struct {
	Conns int
	Path  string // with the leading slash

	// Clients is the number of source addresses over which the connections are spread,
	// the first of which is Source: 127.0.1.1 has number 0. At least 1.
	Source, Clients int

	// Once makes each connection ask once and then rest; otherwise it asks
	// again whenever a response is complete.
	Once bool

	// Pace is how fast the client takes what comes, in bytes per second; 0: at once.
	Pace int64
}

// Probe is a short request that is made again and again on a connection of its own.
type Probe struct {
	Path   string // empty: no probes
	Source int    // number of its source address
	Every  time.Duration
}

// conns returns the number of downloading connections.
func (c *Config) conns() (n int) {
	for _, g := range c.Groups {
		n += g.Conns
	}
	return n
}

// slots returns the number of whole slots in the measurement.
func (c *Config) slots() int { return int(c.Measure / Slot) }

// MaxTime returns how long a run takes, unless the system is in the way.
func (c *Config) MaxTime() time.Duration { return c.Spread + c.Warm + c.Measure }

func (c *Config) validate() error {
	switch {
	case c.Addr == "":
		return errors.New("no address")
	case c.slots() < 2:
		return fmt.Errorf("a measurement of %v is shorter than two slots of %v", c.Measure, Slot)
	case c.Spread < 0 || c.Warm < 0:
		return errors.New("a time is negative")
	case c.conns() == 0:
		return errors.New("no connections")
	case c.Trace < 0 || c.Trace >= c.conns():
		return fmt.Errorf("trace: there is no connection %d of %d", c.Trace, c.conns())
	case c.Probe.Path != "" && (c.Probe.Every <= 0 || c.Probe.Path[0] != '/'):
		return errors.New("the probe needs a path with a leading slash and an interval")
	}
	for i, g := range c.Groups {
		switch {
		case g.Conns < 1 || g.Conns > 1<<17:
			return fmt.Errorf("group %d: %d connections are out of range", i, g.Conns)
		case !strings.HasPrefix(g.Path, "/"):
			return fmt.Errorf("group %d: path %q has no leading slash", i, g.Path)
		case g.Clients < 1 || g.Source < 0 || g.Source+g.Clients > sock.MaxSources:
			return fmt.Errorf("group %d: source addresses are out of range", i)
		case g.Pace < 0:
			return fmt.Errorf("group %d: the pace is negative", i)
		}
	}
	return nil
}
