// Command embed measures what the engine does for servers of net/http that it
// is embedded in: pairs of runs, the server on one core, the load on another.
//
//	go run ./bench/embed [-pairs 5] [-measure 2s] [-cases files,limited,cold] [-gin PROGRAM]
//
// PROGRAM is examples/gin, which is a module of its own:
//
//	cd examples/gin && go build -o /tmp/gin . && cd - && go run ./bench/embed -cases gin -gin /tmp/gin
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/fserve/fserve/bench/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "serve" {
		return serve(args[1:])
	}
	if len(args) > 0 && args[0] == load.CommandName {
		return load.Command(ctx, os.Stdin, os.Stdout)
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.run(ctx)
}

// options are those of a comparison.
type options struct {
	pairs     int
	measure   time.Duration
	cases     []string
	gin       string
	dir       string
	coldFiles int
	coldSize  int64
	serverCPU int
	loadCPU   int
}

func parse(args []string) (*options, error) {
	o := new(options)
	fs := flag.NewFlagSet("embed", flag.ContinueOnError)
	fs.IntVar(&o.pairs, "pairs", 5, "interleaved `pairs` of runs")
	fs.DurationVar(&o.measure, "measure", 2*time.Second, "length of each run")
	cases := fs.String("cases", "files,limited,cold", "comma-separated `cases`: files, limited, gin, cold")
	fs.StringVar(&o.gin, "gin", "", "`program` of examples/gin, for the case gin")
	fs.StringVar(&o.dir, "dir", os.TempDir(), "`directory` for temporary files, on a disk")
	fs.IntVar(&o.coldFiles, "cold-files", 64, "downloads of the case cold, each of a file of its own")
	fs.Int64Var(&o.coldSize, "cold-size", 128<<20, "size of these files in `bytes`")
	fs.IntVar(&o.serverCPU, "server-cpu", 0, "`core` of the server")
	fs.IntVar(&o.loadCPU, "load-cpu", 1, "`core` of the load")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	o.cases = strings.Split(*cases, ",")
	if o.pairs < 1 || o.measure <= 0 || o.coldFiles < 1 || o.coldSize < 1 {
		return nil, errors.New("pairs, measure, cold-files and cold-size must be positive")
	}
	return o, nil
}
