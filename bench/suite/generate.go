package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
)

// slack is what a run of the generator may take beside its measurement.
const slack = 20 * time.Second

// holdTimeout bounds the life of idle connections, the making of them included.
const holdTimeout = time.Minute

// config returns what all loads of a server have in common.
func (r *runner) config(s *peer.Server, mode load.Mode, f file) (load.Config, error) {
	pids, err := s.Pids()
	return load.Config{
		Mode: mode, Addr: s.Addr, Path: f.path(), BodyLen: f.size, Conns: r.Conns, Pids: pids, Core: r.ServerCPU, Spin: r.Spin,
		Measure: r.Measure, Warm: min(r.Measure/5, 500*time.Millisecond),
	}, err
}

// generate runs the load generator on its core.
func (r *runner) generate(ctx context.Context, c load.Config) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.MaxTime()+slack)
	defer cancel()
	cmd, out, errs := r.generator(ctx, c)
	if err := proc.StartOn(cmd, r.LoadCPU); err != nil {
		return load.Result{}, fmt.Errorf("load generator: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return load.Result{}, fmt.Errorf("load generator: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	var res load.Result
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		return load.Result{}, fmt.Errorf("load generator: %w", err)
	}
	r.others = append(r.others, max(0, res.CoreBusy-res.ServerCPU)/res.Seconds)
	return res, nil
}

// hold runs the load generator in mode Hold and calls held while all
// connections are idle.
func (r *runner) hold(ctx context.Context, c load.Config, held func() error) error {
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	cmd, _, errs := r.generator(ctx, c)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := proc.StartOn(cmd, r.LoadCPU); err != nil {
		return fmt.Errorf("load generator: %w", err)
	}
	var res load.Result
	heldErr := json.NewDecoder(out).Decode(&res)
	if heldErr == nil {
		heldErr = held()
	}
	in.Close() // the generator ends
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("load generator: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	return heldErr
}

// generator returns the command and what it will have printed.
func (r *runner) generator(ctx context.Context, c load.Config) (cmd *exec.Cmd, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.CommandContext(ctx, r.Self, append([]string{"load"}, c.Args()...)...)
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}
