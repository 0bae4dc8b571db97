package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
)

// CommandName is the first argument with which a program is to call Command.
const CommandName = "load"

// slack is what a run may take beside its measurement.
const slack = 20 * time.Second

// started is what Command writes when the measurement begins.
type started struct {
	Began int64 // as in Result
}

// Command is the load generator as a process of its own: a Config is read from in as
// JSON; when the measurement begins a word of that is written to out, and the Result
// at the end. Connections that are held stay until in ends.
func Command(ctx context.Context, in io.Reader, out io.Writer) error {
	var c Config
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if c.Netns != "" {
		runtime.LockOSThread() // never unlocked: the process ends with the run
		if err := enter(c.Netns); err != nil {
			return err
		}
	}
	if c.TLS == "" {
		// The loop allocates next to nothing, so there is nothing to collect.
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
	}
	enc := json.NewEncoder(out)
	res, err := Run(ctx, c, func(began int64) error {
		err := enc.Encode(started{began})
		if err == nil && c.Measure == 0 {
			_, err = io.Copy(io.Discard, in)
		}
		return err
	})
	if err != nil {
		return err
	}
	return enc.Encode(res)
}

// enter makes a network namespace that of this thread.
func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.Setns(fd, unix.CLONE_NEWNET)
	}
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	return nil
}

// Clock returns the time of CLOCK_MONOTONIC in ns, which is the same for all
// processes of a machine.
func Clock() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return ts.Nano()
}

// Process runs Command on a core of its own.
type Process struct {
	Self string // path of a program that hands CommandName to Command
	CPU  int
}

// Run generates the load of c. during, if it is not nil, is called when the measurement
// begins, with Result.Began; connections that are held stay until it returns, and the
// run ends early if it fails.
func (p Process) Run(ctx context.Context, c Config, during func(ctx context.Context, began int64) error) (*Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.MaxTime()+slack)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Self, CommandName)
	errs := &bytes.Buffer{}
	cmd.Stderr = errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := proc.StartOn(cmd, p.CPU); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	res, err := converse(ctx, in, out, c, during)
	if err != nil {
		cancel()
	}
	in.Close()
	switch ended := cmd.Wait(); {
	case errs.Len() > 0:
		return nil, fmt.Errorf("load generator: %s", strings.TrimSpace(errs.String()))
	case err != nil:
		return nil, fmt.Errorf("load generator: %w", err)
	case ended != nil:
		return nil, fmt.Errorf("load generator: %w", ended)
	}
	return res, nil
}

// converse is the other side of Command.
func converse(ctx context.Context, in io.WriteCloser, out io.Reader, c Config, during func(context.Context, int64) error) (*Result, error) {
	if err := json.NewEncoder(in).Encode(c); err != nil {
		return nil, err
	}
	d := json.NewDecoder(out)
	var s started
	if err := d.Decode(&s); err != nil {
		return nil, err
	}
	if during != nil {
		if err := during(ctx, s.Began); err != nil {
			return nil, err
		}
	}
	in.Close()
	res := new(Result)
	return res, d.Decode(res)
}
