package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// options are the command line.
type options struct {
	root      string
	net       netOptions
	workers   int
	pin       bool
	driver    choice[engine.DriverKind]
	zeroCopy  choice[engine.ZeroCopy]
	accessLog string
	logFormat choice[server.LogFormat]
	files     fileOptions
	base      server.Config // what check has made of files

	headerTimeout, idleTimeout, sendTimeout, drainTimeout time.Duration
}

const envPrefix = "FSERVE_"

func newCommand() *cobra.Command {
	o := &options{
		driver: choice[engine.DriverKind]{names: []string{"auto", "uring", "fallback"},
			values: []engine.DriverKind{engine.DriverAuto, engine.DriverUring, engine.DriverFallback}},
		zeroCopy: choice[engine.ZeroCopy]{names: []string{"auto", "sendfile", "splice", "copy"},
			values: []engine.ZeroCopy{engine.ZeroCopyAuto, engine.ZeroCopySendfile, engine.ZeroCopySplice, engine.ZeroCopyCopy}},
		logFormat: choice[server.LogFormat]{names: []string{"combined", "json"},
			values: []server.LogFormat{server.LogCombined, server.LogJSON}},
	}
	cmd := &cobra.Command{
		Use:   "fserve --root DIR --listen HOST:PORT",
		Short: "fserve serves a directory over HTTP, without copying files through user space",
		Long: "fserve serves a directory over HTTP, without copying files through user space.\n\n" +
			"Each flag can be given as an environment variable: --send-timeout as FSERVE_SEND_TIMEOUT.\n" +
			"A flag wins over its variable.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		PreRunE:       func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
		RunE:          func(*cobra.Command, []string) error { return o.serve() },
	}
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "directory to serve (required)")
	o.net.register(f)
	f.IntVar(&o.workers, "workers", 0, "event loops (default: one for each core)")
	f.BoolVar(&o.pin, "pin", false, "bind each event loop to a core")
	f.Var(&o.driver, "driver", "how to talk to the kernel: auto, uring or fallback (epoll)")
	f.Var(&o.zeroCopy, "zero-copy", "how files are sent: auto, sendfile, splice or copy")
	f.StringVar(&o.accessLog, "access-log", "off", "access log: a file, - for standard output, or off; a file is opened anew on SIGUSR1")
	f.Var(&o.logFormat, "access-log-format", "format of the access log: combined or json")
	o.files.register(f)
	f.DurationVar(&o.headerTimeout, "header-timeout", 10*time.Second, "how long a request may take to arrive")
	f.DurationVar(&o.idleTimeout, "idle-timeout", 60*time.Second, "how long a connection may rest between requests")
	f.DurationVar(&o.sendTimeout, "send-timeout", 30*time.Second, "how long a client may take nothing of its response")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 30*time.Second, "how long running responses may go on after SIGTERM")
	cmd.AddCommand(&cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version()) },
	})
	return cmd
}

// fromEnvironment sets the flags that were not given from FSERVE_ variables.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil {
			return
		}
		if e := flags.Set(f.Name, v); e != nil {
			err = &exitError{exitUsage, fmt.Errorf("%s: %w", name, e)}
		}
	})
	return err
}

// choice is a flag with a few named values; the first is the default.
type choice[T any] struct {
	names  []string
	values []T
	index  int
}

func (c *choice[T]) value() T       { return c.values[c.index] }
func (c *choice[T]) String() string { return c.names[c.index] }
func (c *choice[T]) Type() string   { return strings.Join(c.names, "|") }

func (c *choice[T]) Set(s string) error {
	for i, n := range c.names {
		if n == s {
			c.index = i
			return nil
		}
	}
	return fmt.Errorf("%q is not one of %s", s, strings.Join(c.names, ", "))
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "fserve (unknown build)"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	return fmt.Sprintf("fserve %s%s%s %s", info.Main.Version, revision, modified, info.GoVersion)
}
