// Command fserve serves a directory over HTTP. Run it with --help.
package main

import (
	"errors"
	"os"
	"strings"

	"github.com/fserve/fserve/server/config"
)

// Exit codes, after sysexits.h.
const (
	exitUsage       = 2
	exitUnavailable = 69 // an address cannot be bound
	exitConfig      = 78
)

// exitError is an error with the code that the process exits with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	told := newErrorLog()
	err := newCommand(told).Execute()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			told.fatal(strings.TrimSuffix(line, "\n"))
		}
	}
	told.close()
	if err != nil {
		os.Exit(exitCode(err))
	}
}

// exitCode returns the code for an error. Without one of its own it is cobra's:
// an unknown flag or command.
func exitCode(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	var problems config.Problems
	if errors.As(err, &problems) && !problems.Form() {
		return exitConfig
	}
	return exitUsage
}
