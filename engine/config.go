package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/measure"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// DriverKind selects how the engine talks to the kernel.
type DriverKind uint8

const (
	DriverAuto     DriverKind = iota // io_uring, or epoll where it cannot be used
	DriverUring                      // io_uring or fail
	DriverFallback                   // epoll
)

// ZeroCopy selects how file ranges are sent.
type ZeroCopy = aio.Mode

const (
	ZeroCopyAuto     = aio.Auto     // sendfile, stepping down to splice and copy
	ZeroCopySendfile = aio.Sendfile // sendfile or fail
	ZeroCopySplice   = aio.Splice   // file, pipe, socket
	ZeroCopyCopy     = aio.Copy     // through user memory
)

// Config configures an Engine. The zero value of every field is a good default:
// an engine without loops, for Listener and Send. It uses Limits and ZeroCopy alone; New refuses a
// Config with other fields that have no effect.
type Config struct {
	// Listeners are TCP addresses, host:port, or Unix sockets, unix:/path. They need
	// NewSession.
	Listeners []string
	// UnixMode is the mode of the Unix sockets. Default 0660.
	UnixMode fs.FileMode
	// Inherit are sockets that are listened on already, by their address in
	// Listeners, which is then not bound. They belong to the engine from the call
	// of New on, also if that fails.
	Inherit listen.Sockets
	// Paused makes New return without accepting anything: Engine.Accept begins.
	Paused bool

	// NewSession makes the session of a loop; it is called once for each, on
	// the loop's own goroutine, before any connection is accepted. nil: there
	// are no loops.
	NewSession func(*loop.Loop) loop.Session

	// Loops is the number of event loops. Default: GOMAXPROCS, 0 without NewSession.
	Loops int

	// Guests makes room in the Limits for Listener and Send beside the loops. An
	// engine without loops or without limits needs no such room.
	Guests bool

	// Pin binds each loop's thread to a core of those the process may use.
	Pin bool

	// Driver selects the driver. Default: io_uring if it can be used.
	Driver DriverKind

	// ZeroCopy selects how file ranges are sent. Default: ZeroCopyAuto.
	ZeroCopy ZeroCopy

	// HeaderTimeout is how long a request may take to arrive. Default 10 s.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may rest between requests. Default 60 s.
	IdleTimeout time.Duration
	// SendTimeout is how long a peer may take nothing of a response that
	// waits for it. Default 30 s.
	SendTimeout time.Duration
	// LingerTimeout is how long a peer may send nothing while its input is dropped,
	// after a response that closes the connection. It may go on for fifteen times
	// as long. Default 2 s.
	LingerTimeout time.Duration

	// Congestion is the TCP congestion control of the connections that Listeners
	// accept: the name of an algorithm that the kernel has, or CongestionSystem.
	// Default: that of the system, except that at loopback addresses Reno takes the
	// place of one that paces (BBR). Between processes of one machine there is no
	// network to spare, and the timers cost up to four times what the transfer does.
	Congestion string
	// DeferAccept is how long the kernel keeps a connection of Listeners to itself until its
	// first bytes have come, in whole seconds, rounded up (TCP_DEFER_ACCEPT). Default 0: not at all.
	DeferAccept time.Duration
	// FastOpen is how many connections of each listener may bring their first bytes with their
	// SYN and wait to be acknowledged (TCP_FASTOPEN). Default 0: none.
	FastOpen int

	// TurnBudget is how many bytes one response may send before others get
	// their turn. Default 1 MiB, of which paced connections use half.
	TurnBudget int64

	// Limits are what responses are shaped by; see Engine.Limits. nil: nothing
	// is shaped or measured, ever. Loops and Changed are set by the engine.
	Limits *shape.Config

	// Adapt finds the rates of clients and path classes by what the kernel measures;
	// see Engine.Adaptation. It needs Limits, and holds for what the loops send. nil: no
	// rate is found, ever.
	Adapt *measure.Config
	// OnAdapt is told what adaptation wants an operator to know. It is called on the
	// loops and must not block.
	OnAdapt func(measure.Event)

	// Sample measures the throughput of each response once a second, for
	// loop.Stats.Jitter and Engine.Connections. It costs one pass over the
	// connections. Default: false.
	Sample bool

	// MaxConns bounds the connections of all loops together. For one more those end that
	// rest the longest, or it is refused itself. Default: three quarters of the descriptor
	// limit; the rest is for files.
	MaxConns int
	// MaxClientConns bounds those of one client: an address, of IPv6 the network of 64
	// bits. Default 0: it is not bounded.
	MaxClientConns int
	// CountClient reports whether a connection counts for MaxClientConns, as those of
	// proxies should not. It is called on the loops. nil: all do that have an address.
	CountClient func(*loop.Conn) bool
	// Refusal is sent to a connection that is refused. nil: nothing is.
	Refusal []byte
	// MaxBuffered bounds the memory of all loops together for what was received and waits
	// for more, or for its turn, in bytes; and half of that again bounds what sessions keep of
	// bodies (see loop.Loop.Buffer). Default 64 MiB.
	MaxBuffered int64
	// OnShortage is told when one of these bounds is met, or descriptors run out, first in ten
	// seconds. It is called on the loops and must not block.
	OnShortage func(loop.Shortage)

	// MaxFiles bounds the open files that one loop's cache holds. Default: half of the
	// descriptor limit (RLIMIT_NOFILE) shared between the loops, 65,536 at most. Where
	// connections need the descriptors, files are closed for them.
	MaxFiles int
	// MaxBody is the size up to which the content of files that are asked for often is kept
	// in memory, in bytes. Default 128 KiB.
	MaxBody int64
	// BodyHeadroom is memory before each body, for a session's own use (see
	// openfile.File.Headed), in bytes. Default 0.
	BodyHeadroom int
	// MaxBodyBytes bounds the memory of such bodies, for each loop, in bytes. Default 48 MiB. Of
	// bodies over 16 KiB it is a quarter of the processor's last cache, shared between the loops
	// that share it, if that is less: it costs less to send them without copying than to copy
	// them from main memory.
	MaxBodyBytes int64
}

func (c Config) withDefaults() Config {
	if c.NewSession != nil {
		c.Loops = cmp.Or(c.Loops, runtime.GOMAXPROCS(0))
	}
	c.UnixMode = cmp.Or(c.UnixMode, 0o660)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 60*time.Second)
	c.SendTimeout = cmp.Or(c.SendTimeout, 30*time.Second)
	c.LingerTimeout = cmp.Or(c.LingerTimeout, 2*time.Second)
	c.TurnBudget = cmp.Or(c.TurnBudget, 1<<20)
	c.MaxBuffered = cmp.Or(c.MaxBuffered, 64<<20)
	c.MaxConns = cmp.Or(c.MaxConns, max(16, sys.DescriptorLimit()*3/4))
	c.MaxFiles = cmp.Or(c.MaxFiles, min(1<<16, max(16, sys.DescriptorLimit()/2/max(c.Loops, 1))))
	c.MaxBody = cmp.Or(c.MaxBody, 128<<10)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 48<<20)
	return c
}

// largeShare is what Config.MaxBodyBytes is for bodies that are worth their copy only in the
// cache of the processor.
func largeShare(c *Config) int64 {
	cache, shared := sys.LastLevelCache()
	if cache == 0 {
		cache, shared = 16<<20, c.Loops // as processors of servers have
	}
	return min(cache/4/int64(max(min(c.Loops, shared), 1)), c.MaxBodyBytes)
}

// ofGuests are the fields that matter without loops, or that validate speaks of.
var ofGuests = []string{"NewSession", "Guests", "ZeroCopy", "Limits", "OnAdapt"}

// withoutLoops reports the fields that were set and have no effect, since there are no loops.
func (c *Config) withoutLoops() error {
	if c.NewSession != nil {
		return nil
	}
	var errs []error
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		empty := f.IsZero() || (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0
		if !empty && !slices.Contains(ofGuests, name) {
			errs = append(errs, fmt.Errorf("engine: Config.%s has no effect: Config.NewSession is missing, so there are no loops", name))
		}
	}
	return errors.Join(errs...)
}

// validate reports what is wrong with a Config that has its defaults.
func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("engine: "+what))
		}
	}
	check(c.NewSession == nil || c.Loops > 0 && c.Loops <= 1024, "Config.Loops must be from 1 to 1024")
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"HeaderTimeout", int64(c.HeaderTimeout)}, {"IdleTimeout", int64(c.IdleTimeout)}, {"SendTimeout", int64(c.SendTimeout)},
		{"LingerTimeout", int64(c.LingerTimeout)}, {"DeferAccept", int64(c.DeferAccept)}, {"FastOpen", int64(c.FastOpen)},
		{"TurnBudget", c.TurnBudget}, {"MaxClientConns", int64(c.MaxClientConns)}, {"MaxBuffered", c.MaxBuffered},
		{"MaxFiles", int64(c.MaxFiles)}, {"MaxBody", c.MaxBody}, {"BodyHeadroom", int64(c.BodyHeadroom)}, {"MaxBodyBytes", c.MaxBodyBytes},
	} {
		check(f.value >= 0, "Config."+f.name+" must not be negative")
	}
	for addr := range c.Inherit {
		check(slices.Contains(c.Listeners, addr), "Config.Inherit has "+addr+", which is not in Config.Listeners")
	}
	check(c.Adapt == nil || c.Limits != nil, "Config.Adapt needs Config.Limits")
	check(c.OnAdapt == nil || c.Adapt != nil, "Config.OnAdapt has no effect without Config.Adapt")
	check(c.Limits == nil || c.Limits.Loops == 0 && c.Limits.Changed == nil, "Config.Limits.Loops and Changed are set by the engine")
	check(c.MaxConns > 0 && c.MaxConns < aio.MaxSlots-1024, fmt.Sprintf("Config.MaxConns must be from 1 to %d", aio.MaxSlots-1025))
	return errors.Join(errs...)
}
