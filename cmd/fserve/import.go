package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fserve/fserve/cmd/fserve/internal/nginxconf"
)

// importCommand is the command that writes what another server's configuration says as YAML.
func importCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import nginx FILE", Short: "write the configuration of nginx as YAML",
		Long: "import reads a configuration of nginx with all that it includes, and writes what fserve can do of it as YAML on\n" +
			"standard output. Directives without a counterpart are named on standard error and in comments, each with its line.\n" +
			"The exit code is 1 if there are any. What would guard files, and cannot here, closes them.",
		Example:   "  fserve import nginx /etc/nginx/nginx.conf > fserve.yaml\n  fserve check -c fserve.yaml",
		ValidArgs: []string{"nginx"}, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "nginx" {
				return fmt.Errorf("import %s: only configurations of nginx are read", args[0])
			}
			r, err := nginxconf.Import(args[1])
			if err != nil {
				return &exitError{exitConfig, err}
			}
			if _, err := cmd.OutOrStdout().Write(r.YAML); err != nil {
				return &exitError{1, err}
			}
			for _, n := range r.Remarks {
				fmt.Fprintln(cmd.ErrOrStderr(), "fserve: remark:", n)
			}
			if len(r.Left) == 0 {
				return nil
			}
			var left []error
			for _, n := range r.Left {
				left = append(left, errors.New(n.String()))
			}
			return &exitError{1, errors.Join(left...)}
		},
	}
}
