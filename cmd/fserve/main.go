// Command fserve serves a directory over HTTP. Run it with --help.
package main

import (
	"errors"
	"fmt"
	"os"
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
	err := newCommand().Execute()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "fserve:", err)
	var exit *exitError
	if errors.As(err, &exit) {
		os.Exit(exit.code)
	}
	os.Exit(exitUsage) // cobra's own: unknown flags and commands
}
