package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fserve/fserve/server/config"
)

// elsewhere are flags of other servers, and what does it here.
var elsewhere = map[string]string{
	"t": "fserve check", "T": "fserve config", "s": "a signal: HUP reloads, TERM drains, USR1 reopens logs, USR2 upgrades",
	"p": "--listen :PORT", "port": "--listen :PORT", "bind": "--listen HOST:PORT", "b": "--listen HOST:PORT", "host": "--listen HOST:PORT",
	"d": "--root DIR", "dir": "--root DIR", "directory": "--root DIR", "browse": "--listing", "V": "--version",
}

// unknownFlag says which flag was probably meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	var e *pflag.NotExistError
	if !errors.As(err, &e) {
		return err
	}
	name, dashes := e.GetSpecifiedName(), "--"
	if e.GetSpecifiedShortnames() != "" {
		dashes = "-"
	}
	hint := ""
	if there := elsewhere[name]; there != "" {
		hint = "; here it is " + there
	} else if dashes == "--" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		hint = config.DidYouMean("--"+name, names)
	}
	return fmt.Errorf("unknown flag: %s%s%s", dashes, name, hint)
}

// unknownCommand refuses what is no command, and says which was probably meant.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if info, err := os.Stat(args[0]); err == nil {
		flag := "--config"
		if info.IsDir() {
			flag = "--root"
		}
		return fmt.Errorf("unknown command %q; did you mean %s %s?", args[0], flag, args[0])
	}
	hint := config.DidYouMean(args[0], helpNames(cmd)[:len(cmd.Commands())])
	if strings.ContainsAny(args[0], "/.") {
		hint = "; a directory is given as --root DIR, a configuration as --config FILE"
	}
	return fmt.Errorf("unknown command %q%s", args[0], hint)
}
