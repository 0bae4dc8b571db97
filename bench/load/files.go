package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles is how many descriptors a process needs beside its connections.
const spareFiles = 64

// RaiseFiles raises the limit of descriptors (RLIMIT_NOFILE) of this process,
// and of those that it starts from now on, so that n connections fit. Only
// root may pass the hard limit.
func RaiseFiles(n int) error {
	want := uint64(n + spareFiles)
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if lim.Cur >= want {
		return nil
	}
	hard := lim.Max
	lim.Cur, lim.Max = max(want, lim.Max), max(want, lim.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("%d descriptors needed, the hard limit is %d: %w", want, hard, err)
	}
	return nil
}
