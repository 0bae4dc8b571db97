package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fserve/fserve/server/config"
)

// topic is a group of flags that help shows by its name.
type topic struct {
	name, about string
	paths       []string // of the values in a file, as sections or keys; nil: all that no other topic has
	examples    []string
}

var topics = []topic{
	{"server", "what is served and where, event loops, connections", nil, []string{
		"fserve -r /srv/downloads -l :8080,unix:/run/fserve.sock",
		"fserve -r /srv/downloads --workers 4 --pin --max-client-connections 64",
	}},
	{"files", "listings, index files, cache and other fields, media types", []string{"files"}, []string{
		"fserve -r . --listing",
		"fserve -r . --cache-control '/assets/=max-age=31536000, immutable' --cache-control '*.html=no-cache'",
		"fserve -r . --precompressed --error-page 404=/404.html",
	}},
	{"tls", "certificates", []string{"tls"}, []string{"fserve -r . --tls-listen :8443 --tls-cert cert.pem --tls-key key.pem"}},
	{"access", "who is answered; proxies in front", []string{"allow", "deny", "password_file", "satisfy", "realm", "require", "secure_link", "identity", "referers", "allow_agents", "deny_agents", "proxy_protocol", "trusted_proxies", "client_header"}, []string{
		"fserve -r . --allow 10.0.0.0/8 --deny 10.6.6.0/24",
		"fserve -r . --trusted-proxies 10.0.0.0/8 --client-header x-forwarded-for",
	}},
	{"limits", "rates of everything, paths, clients, connections", []string{"limits", "adapt", "profiles"}, []string{
		"fserve -r . --limit-client 10MiB/s --limit-path /nightly/=20MiB/s",
		"fserve -r . --adapt-min 1MiB/s --adapt-max 50MiB/s",
	}},
	{"timeouts", "how long clients may take; the end of the process", []string{"timeouts"}, []string{"fserve -r . --send-timeout 1m --drain-timeout 5m"}},
	{"logs", "access log and messages", []string{"access_log", "log"}, []string{"fserve -r . --access-log /var/log/fserve/access.log --access-log-format json"}},
	{"admin", "metrics, health, limits by HTTP; alerts", []string{"admin", "alerts"}, []string{"fserve -r . --admin 127.0.0.1:9090"}},
	{"sources", "files of the configuration, and which value wins", []string{"config", "config-watch", "config-fallback", "state-dir"}, []string{
		"fserve -c /etc/fserve/fserve.yaml",
		"FSERVE_LISTEN=:9000 fserve -c /etc/fserve/fserve.yaml",
	}},
}

// everything is the topic of all flags.
const everything = "all"

// first are the flags that the help of the command itself shows.
var first = []string{"root", "listen", "config", "listing", "limit-client", "access-log", "help", "version"}

// topicOf returns the name of the topic that a flag belongs to.
func topicOf(f *pflag.Flag) string {
	path := f.Annotations[config.FlagPath]
	if len(path) == 0 {
		return ""
	}
	for _, t := range topics {
		for _, p := range t.paths {
			if path[0] == p || strings.HasPrefix(path[0], p+".") {
				return t.name
			}
		}
	}
	return topics[0].name
}

// flagsOf returns the flags of a command that are wanted.
func flagsOf(cmd *cobra.Command, wanted func(*pflag.Flag) bool) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if wanted(f) {
			set.AddFlag(f)
		}
	})
	return set
}

// width is the columns of a screen.
const width = 100

// mainHelp writes what to know first, on one screen.
func mainHelp(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintf(w, "%s.\n\nUsage:\n  fserve -r DIR [-l HOST:PORT] | -c FILE | COMMAND\n\nCommands:\n", cmd.Short)
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-11s%s\n", c.Name(), c.Short)
		}
	}
	set := flagsOf(cmd, func(f *pflag.Flag) bool { return slices.Contains(first, f.Name) })
	fmt.Fprintf(w, "\nFlags:\n%s\nMore flags, by fserve help TOPIC:\n", set.FlagUsagesWrapped(width))
	for _, t := range topics {
		fmt.Fprintf(w, "  %-11s%s\n", t.name, t.about)
	}
	fmt.Fprintf(w, "  %-11severy flag\n\nExamples:\n", everything)
	fmt.Fprintln(w, "  fserve -r . -l :8080 --listing             # this directory, for everybody")
	fmt.Fprintln(w, "  fserve check -c /etc/fserve/fserve.yaml    # all mistakes, with file, line and column")
	fmt.Fprintln(w, "  fserve import nginx /etc/nginx/nginx.conf  # the same as YAML")
}

// commandHelp writes the help of a command inside the command. The flags of the configuration are
// those of all.
func commandHelp(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", cmp.Or(cmd.Long, strings.ToUpper(cmd.Short[:1])+cmd.Short[1:]+"."), cmd.UseLine())
	if set := flagsOf(cmd, func(f *pflag.Flag) bool { return topicOf(f) == "" }); set.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", set.FlagUsagesWrapped(width))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.Flags().Lookup("config") != nil {
		fmt.Fprintln(w, "\nIt takes the flags of the server, too: fserve help TOPIC.")
	}
}

// write writes the flags of a topic.
func (t *topic) write(w io.Writer, root *cobra.Command) {
	set := flagsOf(root, func(f *pflag.Flag) bool { return topicOf(f) == t.name })
	fmt.Fprintf(w, "%s: %s\n\n%s", t.name, t.about, set.FlagUsagesWrapped(width))
	fmt.Fprintf(w, "\n  %s\n", strings.Join(t.examples, "\n  "))
}

// rules are what all flags have in common.
const rules = `Each flag has a variable (--send-timeout: FSERVE_SEND_TIMEOUT) and a key in the file, which
fserve.yaml(5) and docs/configuration.md describe. A flag wins over its variable, and that over the file.
`

// helpCommand is the command that shows commands and topics.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | TOPIC]", Short: "say more of a command or a topic", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return helpNames(cmd.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			if len(args) == 0 {
				root.InitDefaultHelpFlag() // only the command that runs has them by itself
				root.InitDefaultVersionFlag()
				return root.Help()
			}
			for _, c := range root.Commands() {
				if c.Name() == args[0] && c.IsAvailableCommand() {
					return c.Help()
				}
			}
			found := false
			for _, t := range topics {
				if args[0] == t.name || args[0] == everything {
					found = true
					t.write(w, root)
					fmt.Fprintln(w)
				}
			}
			if !found {
				return fmt.Errorf("no help on %q%s", args[0], config.DidYouMean(args[0], helpNames(root)))
			}
			_, err := io.WriteString(w, rules)
			return err
		},
	}
}

// helpNames are the commands and topics that there is help on.
func helpNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	for _, t := range topics {
		names = append(names, t.name)
	}
	return append(names, everything)
}
