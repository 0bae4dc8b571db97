package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var shells = []string{"bash", "zsh", "fish"}

// completionCommand is the command that writes what a shell needs to complete commands, flags and
// their values.
func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion " + strings.Join(shells, "|"), Short: "write the completions for a shell",
		Example: "  fserve completion bash > /etc/bash_completion.d/fserve\n" +
			"  fserve completion zsh > /usr/share/zsh/site-functions/_fserve\n" +
			"  fserve completion fish > /etc/fish/completions/fserve.fish",
		ValidArgs: shells, Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root, w := cmd.Root(), cmd.OutOrStdout(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			default:
				return root.GenFishCompletion(w, true)
			}
		},
	}
}

// completeValues has the shell complete the values of flags by what their type names.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		var err error
		switch typ := f.Value.Type(); {
		case f.Name == "config":
			err = cmd.MarkFlagFilename(f.Name, "yaml")
		case typ == "dir":
			err = cmd.MarkFlagDirname(f.Name)
		case typ == "file":
			err = cmd.MarkFlagFilename(f.Name)
		default:
			complete := cobra.NoFileCompletions
			if strings.Contains(typ, "|") {
				complete = cobra.FixedCompletions(strings.Split(typ, "|"), cobra.ShellCompDirectiveNoFileComp)
			}
			err = cmd.RegisterFlagCompletionFunc(f.Name, complete)
		}
		if err != nil {
			panic(err) // the flag is there, and once
		}
	})
}
