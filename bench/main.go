// Command bench measures fserve, with both of its drivers, beside nginx and
// other servers on this machine: the servers in turn on one core, the load on
// another, in interleaved rounds. It prints medians and the ratios of paired
// runs.
//
// Figures of a machine that does other work at the same time are marked as
// disturbed; the ratios suffer less than the figures, and CPU times less than
// rates.
//
//	go run ./bench                              everything but the groups shape and embed
//	go run ./bench -cases 1k,10m -pairs 9       two cases
//	go run ./bench -cases builds -compare ./old two builds of fserve
//	go run ./bench -cases shape -plot .         limited downloads
//	go run ./bench -cases embed                 the engine inside other servers
//	go run ./bench -congestion ""               with the system's congestion control (of root: Reno for all)
//	go run ./bench -veth                        over a line between two namespaces (root)
//	go run ./bench -record docs/measured.md     adds a dated section to a page
//
// The exit status is 0 if all that was asked for could be measured, 1 if a
// server failed, 2 for a wrong command line and 3 if nginx is not installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/bench/suite"
)

// Exit statuses.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitNoNginx
	exitInterrupted = 130
)

func main() {
	if ok, err := helper(os.Args[1:]); ok {
		os.Exit(status(context.Background(), err))
	}
	// SIGHUP comes when the terminal is gone: what was started must not stay.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := status(ctx, bench(ctx, os.Args[1:], os.Stdout))
	stop()
	os.Exit(code)
}

// helper runs what the suite starts this program for by itself: the load
// generator or a server. They end by SIGTERM.
func helper(args []string) (ok bool, err error) {
	if len(args) > 0 && args[0] == load.CommandName {
		return true, load.Command(context.Background(), os.Stdin, os.Stdout)
	}
	return peer.Main(args)
}

// status prints an error and returns the exit status.
func status(ctx context.Context, err error) int {
	var inner innerStatus
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &inner):
		return int(inner) // it has said why
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	switch {
	case errors.Is(err, peer.ErrNoNginx):
		return exitNoNginx
	case errors.Is(err, errUsage):
		return exitUsage
	}
	return exitFailed
}

// bench does what the command line says.
func bench(ctx context.Context, args []string, stdout io.Writer) error {
	inside := len(args) > 0 && args[0] == namespaceCommand
	if inside {
		args = args[1:]
	}
	f, err := parseFlags(args, os.Stderr)
	if err != nil {
		return err
	}
	switch {
	case f.list:
		_, err := fmt.Fprintln(stdout, strings.Join(suite.Names(), "\n"))
		return err
	case inside:
		if err := enterNamespace(f.congestion); err != nil {
			return err
		}
	case f.veth && f.congestion == "":
		return fmt.Errorf("%w: -veth needs -congestion", errUsage)
	case f.congestion != "":
		return inNamespace(ctx, args, stdout, os.Stderr)
	}
	tmp, err := os.MkdirTemp("", "fserve-bench-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	o, err := f.options(ctx, tmp)
	if err != nil {
		return err
	}
	if f.veth {
		if o.Netns, err = line(f.congestion, o.ServerCPU, o.LoadCPU); err != nil {
			return err
		}
		o.Host = serverHost
	}
	o.Progress = os.Stderr
	return f.run(ctx, o, stdout)
}

// run measures, and records what it finds if that was asked for.
func (f *flags) run(ctx context.Context, o suite.Options, stdout io.Writer) (err error) {
	if f.record == "" {
		return measure(ctx, o, f.format(), stdout)
	}
	page, err := os.OpenFile(f.record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	return measure(ctx, o, f.format().recording(page), stdout)
}

// measure runs the suite and writes what it finds.
func measure(ctx context.Context, o suite.Options, fm format, out io.Writer) error {
	rep := report.Report{Header: header(&o)}
	if err := fm.begin(out, &rep); err != nil {
		return err
	}
	runErr := suite.Run(ctx, o, func(c report.Case) error {
		rep.Cases = append(rep.Cases, c)
		return fm.add(out, &c)
	})
	return errors.Join(runErr, fm.end(out, &rep))
}
