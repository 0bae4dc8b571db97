package load

import (
	"context"
	"encoding/json"
	"io"
	"runtime/debug"
)

// Command is the load generator as a process of its own: args are read by
// ParseArgs, the Result is written to out as JSON. In mode Hold it is written
// when the connections stand, and they stay until in ends.
func Command(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	c, err := ParseArgs(args)
	if err != nil {
		return err
	}
	// The loop allocates nothing, so there is nothing to collect.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	enc := json.NewEncoder(out)
	if c.Mode == Hold {
		_, err = Run(ctx, c, func(res Result) error {
			if err := enc.Encode(res); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, in)
			return err
		})
		return err
	}
	res, err := Run(ctx, c, nil)
	if err != nil {
		return err
	}
	return enc.Encode(res)
}
