// Package load generates HTTP/1.1 load from one thread: an epoll loop with raw
// system calls that allocates nothing while it measures, so that it is cheaper
// than any server that it is pointed at.
//
// Every response is checked: its status, and its length to the byte. Contents
// are not: bodies are discarded in the kernel (MSG_TRUNC) because a receiver
// that copies costs more than the sender. Package suite reads and compares
// contents in a pass of its own.
package load

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/sock"
)

// Mode is a shape of load.
type Mode string

// The shapes of load.
const (
	// Closed: keep-alive connections with one request in flight on each.
	Closed Mode = "closed"
	// Reconnect: one request a connection ("Connection: close"); the next
	// connection is opened when the server has closed the last one.
	Reconnect Mode = "reconnect"
	// Mixed: requests at a fixed rate on keep-alive connections beside long
	// downloads, until the downloads are complete.
	Mixed Mode = "mixed"
	// Trickle: requests at a fixed rate on keep-alive connections beside others
	// that each send a byte a second of a head that never ends.
	Trickle Mode = "trickle"
	// Hold: keep-alive connections that made one request each and then stay
	// idle, until standard input ends.
	Hold Mode = "hold"
)

// Config describes one run. Addr, Path and BodyLen are needed always.
type Config struct {
	Mode    Mode
	Addr    string // IPv4 address and port of the server
	Path    string // target of the requests, with the leading slash
	Conns   int    // connections; default 64
	BodyLen int64  // Content-Length that each response must have, in bytes

	// RangeOf > 0 asks for ranges of BodyLen bytes at random multiples of
	// BodyLen below RangeOf, the length of the file in bytes.
	RangeOf int64

	// Parts > 1 asks for so many ranges of PartLen bytes in each request,
	// anywhere in [RangeFrom, RangeOf). A response then has the same length every
	// time, which is BodyLen, if all positions have the same number of digits.
	Parts     int
	PartLen   int64
	RangeFrom int64

	Warm    time.Duration // load before the measurement
	Measure time.Duration // measurement; see MaxTime for its upper bound
	Pids    []int         // processes of the server, whose CPU time is taken
	Core    int           // core of the server, whose busy time is taken

	// Sources is the number of source addresses (127.0.1.1 and up) over which
	// connections are spread; 0 leaves the choice to the kernel. One address
	// has some 28,000 ports.
	Sources int

	// Spin makes the generator poll instead of sleeping when nothing has come.
	// The server is then spared the wake-up of a sleeping peer on another
	// core, which no server with a network in between pays (10 % of nginx's
	// time at 1 KiB), and latencies lack the time that the peer takes to wake
	// up. It needs a core of its own.
	Spin bool

	// Limit > 0 ends the measurement after so many responses.
	Limit int64

	Rate float64 // modes Mixed and Trickle: requests a second over all connections

	// Mode Mixed only.
	Downloads   []string // paths, one connection each
	DownloadLen int64    // their length in bytes

	// Mode Trickle only.
	Slow int           // connections that trickle; 0: the requests alone
	Ramp time.Duration // over which they are opened, before the measurement
}

// MaxTime returns how long a run takes at most, unless the system is in the
// way: a measurement without any response goes on for a while, and one of mode
// Mixed ends early.
func (c *Config) MaxTime() time.Duration { return c.Warm + c.Ramp + patience*c.Measure }

// pause returns how long to wait for events when nothing is to be done before
// the given time has passed.
func (c *Config) pause(left time.Duration) time.Duration {
	if c.Spin {
		return 0
	}
	return min(tick, left)
}

// bind declares the command line of the load generator.
func (c *Config) bind(fs *flag.FlagSet) {
	fs.StringVar((*string)(&c.Mode), "mode", string(Closed), "closed, reconnect, mixed, trickle or hold")
	fs.StringVar(&c.Addr, "addr", "", "`address:port` of the server")
	fs.StringVar(&c.Path, "path", "/", "target of the requests")
	fs.IntVar(&c.Conns, "conns", 64, "connections")
	fs.Int64Var(&c.BodyLen, "body", 0, "Content-Length expected, in `bytes`")
	fs.Int64Var(&c.RangeOf, "range-of", 0, "ask for random ranges of a file of so many `bytes`")
	fs.IntVar(&c.Parts, "parts", 0, "ask for so many ranges at once")
	fs.Int64Var(&c.PartLen, "part-len", 0, "length of each in `bytes`")
	fs.Int64Var(&c.RangeFrom, "range-from", 0, "position in `bytes` below which none of them begins")
	fs.DurationVar(&c.Warm, "warm", 200*time.Millisecond, "load before the measurement")
	fs.DurationVar(&c.Measure, "measure", 2*time.Second, "length of the measurement")
	fs.IntVar(&c.Core, "core", 0, "core of the server")
	fs.IntVar(&c.Sources, "sources", 0, "number of source addresses")
	fs.BoolVar(&c.Spin, "spin", false, "poll instead of sleeping")
	fs.Int64Var(&c.Limit, "limit", 0, "end after so many responses")
	fs.Float64Var(&c.Rate, "rate", 0, "mixed, trickle: requests a second")
	fs.IntVar(&c.Slow, "slow", 0, "trickle: connections that send a byte a second")
	fs.DurationVar(&c.Ramp, "ramp", 0, "trickle: time over which they are opened")
	fs.Int64Var(&c.DownloadLen, "download-body", 0, "mixed: length of each download in `bytes`")
	fs.Func("download", "mixed: `path` to download; may be repeated", func(s string) error {
		c.Downloads = append(c.Downloads, s)
		return nil
	})
	fs.Func("pid", "`process` whose CPU time is taken; may be repeated", func(s string) error {
		pid, err := strconv.Atoi(s)
		c.Pids = append(c.Pids, pid)
		return err
	})
}

// Args returns the command line that ParseArgs reads back.
func (c Config) Args() []string {
	a := []string{
		"-mode=" + string(c.Mode), "-addr=" + c.Addr, "-path=" + c.Path,
		fmt.Sprint("-conns=", c.Conns), fmt.Sprint("-body=", c.BodyLen), fmt.Sprint("-range-of=", c.RangeOf),
		fmt.Sprint("-warm=", c.Warm), fmt.Sprint("-measure=", c.Measure), fmt.Sprint("-sources=", c.Sources), fmt.Sprint("-core=", c.Core),
		fmt.Sprint("-spin=", c.Spin), fmt.Sprint("-limit=", c.Limit), fmt.Sprint("-rate=", c.Rate), fmt.Sprint("-download-body=", c.DownloadLen),
		fmt.Sprint("-parts=", c.Parts), fmt.Sprint("-part-len=", c.PartLen), fmt.Sprint("-range-from=", c.RangeFrom),
		fmt.Sprint("-slow=", c.Slow), fmt.Sprint("-ramp=", c.Ramp),
	}
	for _, d := range c.Downloads {
		a = append(a, "-download="+d)
	}
	for _, p := range c.Pids {
		a = append(a, fmt.Sprint("-pid=", p))
	}
	return a
}

// ParseArgs reads a command line.
func ParseArgs(args []string) (Config, error) {
	var c Config
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	c.bind(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	switch {
	case c.Addr == "":
		return errors.New("no address")
	case !strings.HasPrefix(c.Path, "/"):
		return fmt.Errorf("path %q: no leading slash", c.Path)
	case c.Conns < 1 || c.Conns > 1<<20:
		return fmt.Errorf("connections: %d is out of range", c.Conns)
	case c.BodyLen < 1:
		return fmt.Errorf("body: %d bytes is out of range", c.BodyLen)
	case c.Parts > 1 && (c.PartLen < 1 || c.RangeFrom < 0 || c.RangeOf-c.RangeFrom < c.partsSpan()):
		return fmt.Errorf("%d ranges of %d bytes do not fit between %d and %d", c.Parts, c.PartLen, c.RangeFrom, c.RangeOf)
	case c.Parts <= 1 && c.RangeOf != 0 && c.RangeOf < c.BodyLen:
		return fmt.Errorf("ranges of %d bytes do not fit into %d", c.BodyLen, c.RangeOf)
	case c.Sources < 0 || c.Sources > sock.MaxSources:
		return fmt.Errorf("sources: %d is out of range", c.Sources)
	}
	switch c.Mode {
	case Closed, Reconnect, Hold:
		return nil
	case Mixed:
		if c.Rate <= 0 || len(c.Downloads) == 0 || c.DownloadLen < 1 {
			return errors.New("mixed load needs a rate, downloads and their length")
		}
		return nil
	case Trickle:
		if c.Rate <= 0 || c.Slow < 0 {
			return errors.New("trickling load needs a rate, and no negative number of connections")
		}
		return nil
	}
	return fmt.Errorf("unknown mode %q", c.Mode)
}

// Result is what one run saw. Times are in nanoseconds where the type is
// time.Duration.
type Result struct {
	Requests  int64         // responses completed
	Bytes     int64         // bytes received, heads included, partial responses too
	Seconds   float64       // length of the measurement
	ServerCPU float64       // CPU seconds of Config.Pids meanwhile
	CoreBusy  float64       // seconds for which the server's core was busy with whatever
	LoadBusy  float64       // seconds for which the generator had something to do
	Mean      time.Duration // latency: request sent to last byte received
	P50       time.Duration
	P99       time.Duration
	Max       time.Duration

	// Modes Mixed and Trickle: the median of the p99 of slots of half a second at most. What
	// stops the machine for some ms now and then is not in it.
	SlotP99 time.Duration

	// Mode Mixed: Bytes and Seconds are those of the downloads.
	Completed int // downloads that came to their end

	// Mode Trickle, while the slow connections stood:
	ServerRSS int64 // resident memory of Config.Pids in bytes, the most that was seen
	Cut       int64 // slow connections that the server ended, each of which was opened anew
}
