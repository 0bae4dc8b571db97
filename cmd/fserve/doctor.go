package main

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/fserve/fserve/server/config"
	"github.com/fserve/fserve/server/doctor"
)

// errUnhealthy is of a machine on which something is worth mending.
var errUnhealthy = errors.New("there is something to mend on this machine")

// doctorCommand is the command that looks at the machine. The configuration says
// which root; without one the machine alone is looked at.
func doctorCommand() *cobra.Command {
	var asJSON, sizing bool
	var peer, name string
	cmd := withConfig(&cobra.Command{
		Use: "doctor", Short: "say what costs speed on this machine, and what mends it",
		Long: "doctor looks at the kernel, io_uring, limits, cores, congestion control and the file system of the root.\n" +
			"For each it says what is lost and the command that mends it. It changes nothing.\n" +
			"With --sizing it says what connections, requests and files take at most, as configured, and whether this machine has it.\n" +
			"With --tls HOST:PORT it looks at a server of TLS as its clients see it: versions, suites, chain, expiry, resumption, ALPN, OCSP.\n" +
			"The exit code is 1 if something is worth mending.",
	}, func(cmd *cobra.Command, sources *config.Sources) error {
		if peer != "" {
			r, err := doctor.TLS(cmd.Context(), peer, name)
			if err != nil {
				return &exitError{1, err}
			}
			return report(cmd, r, asJSON)
		}
		root := ""
		c, err := sources.Load()
		switch {
		case sizing && err != nil:
			return &exitError{exitConfig, err}
		case sizing:
			return report(cmd, doctor.Sizing(doctor.Here(), doctor.Bounds{
				Loops: c.Loops(), Connections: c.MaxConnections, Buffers: int64(c.MaxBuffers), TLS: len(c.TLS.Listen) > 0,
			}), asJSON)
		case err == nil:
			root = c.Root
		}
		return report(cmd, doctor.Examine(doctor.Here(), root), asJSON)
	})
	cmd.Flags().BoolVar(&sizing, "sizing", false, "say what the configuration takes of memory and descriptors at most, in place of that")
	cmd.Flags().StringVar(&peer, "tls", "", "look at the server of TLS at HOST:PORT, in place of that")
	cmd.Flags().StringVar(&name, "tls-name", "", "whom --tls asks for; empty: HOST")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the findings as JSON")
	return cmd
}

// report prints what was found and sets the exit code.
func report(cmd *cobra.Command, r doctor.Report, asJSON bool) error {
	var err error
	if out := cmd.OutOrStdout(); asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(r)
	} else {
		err = r.WriteText(out)
	}
	if err == nil && !r.Healthy() {
		err = errUnhealthy
	}
	if err != nil {
		return &exitError{1, err}
	}
	return nil
}
