package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/fserve/fserve/internal/testenv"
)

//go:generate env FSERVE_DOCS=write go test -count=1 -run ^TestMan$ .

// docs/man/fserve.1 says what the command's help says.
func TestMan(t *testing.T) {
	root := newCommand(nil)
	m := testenv.NewMan("fserve", 1, strings.TrimPrefix(root.Short, "fserve "))
	m.Section("Synopsis")
	m.Text("fserve -r DIR [-l HOST:PORT] | -c FILE\n\nfserve COMMAND [FLAGS]")
	m.Section("Description")
	m.Text("fserve is a static file server and download origin. It serves until SIGTERM, which lets running responses finish.\n\n" +
		rules + "\nfserve.yaml(5) has all of it in full.")
	m.Section("Commands")
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		text := c.Short + ".\n\n" + c.Long
		flagsOf(c, func(f *pflag.Flag) bool { return topicOf(f) == "" && f.Name != "help" }).VisitAll(func(f *pflag.Flag) {
			text += fmt.Sprintf("\n\n--%s: %s.", f.Name, f.Usage)
		})
		m.Item(strings.TrimPrefix(c.UseLine(), "fserve "), text)
		if c.Example != "" {
			m.Example(c.Example)
		}
	}
	m.Section("Options")
	for _, topic := range topics {
		m.Subsection(strings.ToUpper(topic.name[:1]) + topic.name[1:] + ": " + topic.about)
		flagsOf(root, func(f *pflag.Flag) bool { return topicOf(f) == topic.name }).VisitAll(func(f *pflag.Flag) {
			term := "--" + f.Name
			if f.Shorthand != "" {
				term = "-" + f.Shorthand + ", " + term
			}
			if f.NoOptDefVal == "" {
				term += " " + f.Value.Type()
			}
			m.Item(term, strings.ToUpper(f.Usage[:1])+f.Usage[1:]+".")
		})
		m.Example(strings.Join(topic.examples, "\n"))
	}
	m.Section("Signals")
	for _, s := range [][2]string{
		{"TERM, INT", "Accept nothing more, and let running responses finish for timeouts.drain. A second one ends at once."},
		{"HUP", "Reload the configuration."}, {"USR1", "Open the logs anew."},
		{"USR2", "Start the program anew and hand over to it without losing a connection."},
	} {
		m.Item(s[0], s[1])
	}
	m.Section("Exit status")
	for _, c := range []struct {
		code int
		text string
	}{{0, "It ended as it was asked to."}, {1, "An event loop failed; or there is something to mend, of doctor."}, {exitUsage, "The command line is wrong."},
		{exitUnavailable, "An address cannot be listened at."}, {exitConfig, "The configuration is wrong."}} {
		m.Item(fmt.Sprint(c.code), c.text)
	}
	m.Section("See also")
	m.Text("fserve.yaml(5)")
	m.Check(t, "../../docs/man/fserve.1")
}
