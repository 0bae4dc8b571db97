package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
)

const (
	// unsteady is how long the generator may have been kept from looking, as a part of a
	// slot, for what it says about slots to mean something.
	unsteady = 0.5

	// attempts is how often a run of an unsteady clock is made.
	attempts = 3
)

var errUnsteady = errors.New("this machine does not hold the clock steady")

// closed is the load of most cases: all connections ask for a file over and over.
func (r *runner) closed(f file) load.Group {
	return load.Group{Mode: load.Closed, Conns: r.Conns, Path: f.path(), BodyLen: f.size}
}

// load returns a measurement of the usual length.
func (r *runner) load(groups ...load.Group) load.Config {
	return load.Config{Groups: groups, Measure: r.Measure, Warm: min(r.Measure/5, 500*time.Millisecond)}
}

// during is a function that is called when a measurement begins, with the instant in
// ns of load.Clock. The measurement ends early if it fails.
type during = func(ctx context.Context, began int64) error

// generate puts a load on a server.
func (r *runner) generate(ctx context.Context, s *peer.Server, c load.Config) (*load.Result, error) {
	return r.during(ctx, s, c, nil)
}

// during is generate with something that happens meanwhile.
func (r *runner) during(ctx context.Context, s *peer.Server, c load.Config, f during) (*load.Result, error) {
	var err error
	if c.Pids, err = s.Pids(); err != nil {
		return nil, err
	}
	c.Addr, c.Core, c.Spin, c.Netns = s.Addr, r.ServerCPU, r.Spin, r.Netns
	if r.Netns != "" {
		for i := range c.Groups {
			c.Groups[i].Clients = 0 // which are addresses of loopback
		}
	}
	res, err := load.Process{Self: r.Self, CPU: r.LoadCPU}.Run(ctx, c, f)
	if err == nil && res.Seconds > 0 {
		r.others = append(r.others, max(0, res.CoreBusy-res.ServerCPU)/res.Seconds)
	}
	return res, err
}

// steady is during, and again if something kept the generator from looking.
func (r *runner) steady(ctx context.Context, s *peer.Server, c load.Config, f during) (*load.Result, error) {
	var longest time.Duration
	for range attempts {
		res, err := r.during(ctx, s, c, f)
		if err != nil {
			return nil, err
		}
		if float64(res.Stall) <= unsteady*float64(load.Slot) {
			return res, nil
		}
		longest = res.Stall
	}
	return nil, fmt.Errorf("%w: the generator was kept from its work for %v", errUnsteady, longest)
}
