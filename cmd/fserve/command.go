package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/server/config"
	"github.com/fserve/fserve/server/record"
)

// newCommand returns the command.
func newCommand(told *errorLog) *cobra.Command {
	cmd := withConfig(&cobra.Command{
		Use:               "fserve",
		Short:             "fserve serves directories over HTTP, without copying files through user space",
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}, func(_ *cobra.Command, sources *config.Sources) error { return serve(told, sources) })
	cmd.Args = unknownCommand
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetFlagErrorFunc(unknownFlag)
	cmd.SetHelpCommand(helpCommand())
	cmd.SetHelpFunc(func(c *cobra.Command, _ []string) {
		if c == cmd {
			mainHelp(c.OutOrStdout(), c)
			return
		}
		commandHelp(c.OutOrStdout(), c)
	})
	cmd.AddCommand(
		withConfig(&cobra.Command{Use: "check", Short: "say whether a server would start, and all mistakes"}, check),
		withConfig(&cobra.Command{Use: "config", Short: "print the configuration, and where each value comes from"}, printConfig),
		doctorCommand(),
		importCommand(),
		releaseCommand(),
		signCommand(),
		completionCommand(),
		&cobra.Command{
			Use: "version", Short: "print the version", Args: cobra.NoArgs,
			Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version()) },
		})
	return cmd
}

// withConfig gives a command the flags of the configuration and what it does with
// them.
func withConfig(cmd *cobra.Command, run func(*cobra.Command, *config.Sources) error) *cobra.Command {
	flags := &config.Flags{}
	flags.Register(cmd.Flags())
	completeValues(cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return run(cmd, &config.Sources{Flags: flags, Environ: os.Environ()})
	}
	return cmd
}

// checkLog reports whether the access log could be opened, without making it.
func checkLog(what, file string) error {
	if file == "" || file == config.LogOff || file == config.LogStdout || strings.HasPrefix(file, record.SyslogPrefix) {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = os.NewSyscallError("access", unix.Access(filepath.Dir(file), unix.W_OK|unix.X_OK))
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", what, file, err)
	}
	return nil
}

// check is the command that reports whether a server would start.
func check(cmd *cobra.Command, sources *config.Sources) error {
	for _, line := range sources.Unknown() {
		fmt.Fprintln(cmd.ErrOrStderr(), "fserve:", line)
	}
	c, err := sources.Load()
	if err == nil {
		err = errors.Join(checkMachine(c), checkAddresses(c, false))
	}
	if err != nil {
		return &exitError{exitConfig, err}
	}
	for _, line := range expiries(c, time.Now()) {
		fmt.Fprintln(cmd.ErrOrStderr(), "fserve:", line)
	}
	of := "the configuration"
	if len(c.Files) > 0 {
		of = strings.Join(c.Files, ", ")
	}
	fmt.Fprintf(cmd.OutOrStdout(), "fserve: %s: good\n", of)
	return nil
}

// printConfig is the command that shows the configuration in effect.
func printConfig(cmd *cobra.Command, sources *config.Sources) error {
	c, err := sources.Load()
	if err != nil {
		return err
	}
	out, err := config.Rendering{Origins: c.Origins}.Render(c.Config)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(out)
	return err
}

// version is the version that the build knows of itself.
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
