package shape

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Started is what Command writes when the measurement begins.
type Started struct {
	Began int64 // as in Result
}

// Command is the receiver as a process of its own: a Config is read from in as JSON;
// a Started, then the Result are written to out.
func Command(ctx context.Context, in io.Reader, out io.Writer) error {
	var c Config
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	// The loop allocates next to nothing, so there is nothing to collect.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	enc := json.NewEncoder(out)
	res, err := Run(ctx, c, func(began int64) error { return enc.Encode(Started{began}) })
	if err != nil {
		return err
	}
	return enc.Encode(res)
}

// Clock returns the time of CLOCK_MONOTONIC in ns, which is the same for all
// processes of a machine.
func Clock() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return ts.Nano()
}
