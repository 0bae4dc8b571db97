package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/shape"
)

const (
	// unsteady is how long the receiver may have been kept from looking, as a part of a
	// slot, for what it says about slots to mean something.
	unsteady = 0.5

	// attempts is how often a run of an unsteady clock is made.
	attempts = 3
)

var errUnsteady = errors.New("this machine does not hold the clock steady")

// receive runs the receiver on its core, and again if something kept it from looking.
// during, if it is not nil, is called when the measurement begins, with the instant
// in ns of shape.Clock; the run ends early if it fails.
func (r *runner) receive(ctx context.Context, s *peer.Server, c shape.Config, during func(ctx context.Context, began int64) error) (*shape.Result, error) {
	var stall time.Duration
	for range attempts {
		res, err := r.receiveOnce(ctx, s, c, during)
		if err != nil {
			return nil, err
		}
		if float64(res.Stall) <= unsteady*float64(shape.Slot) {
			return res, nil
		}
		stall = res.Stall
	}
	return nil, fmt.Errorf("%w: the receiver was kept from its work for %v", errUnsteady, stall)
}

func (r *runner) receiveOnce(ctx context.Context, s *peer.Server, c shape.Config, during func(ctx context.Context, began int64) error) (*shape.Result, error) {
	pids, err := s.Pids()
	if err != nil {
		return nil, err
	}
	c.Addr, c.Pids, c.Core, c.Spin = s.Addr, pids, r.ServerCPU, r.Spin
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.MaxTime()+slack)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Self, ShapeCommand)
	errs := &bytes.Buffer{}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(config), errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := proc.StartOn(cmd, r.LoadCPU); err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	d := json.NewDecoder(out)
	var started shape.Started
	failed := d.Decode(&started)
	if failed == nil && during != nil {
		if failed = during(ctx, started.Began); failed != nil {
			cancel()
		}
	}
	var res shape.Result
	if failed == nil {
		failed = d.Decode(&res)
	}
	if err := cmd.Wait(); err != nil && failed == nil || errs.Len() > 0 {
		failed = fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	if failed != nil {
		return nil, fmt.Errorf("receiver: %w", failed)
	}
	r.others = append(r.others, max(0, res.CoreBusy-res.ServerCPU)/res.Seconds)
	if res.Lost > 0 {
		return nil, fmt.Errorf("%d connections were lost; the first: %s", res.Lost, res.Cause)
	}
	return &res, nil
}
