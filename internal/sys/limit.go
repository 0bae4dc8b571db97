package sys

import "golang.org/x/sys/unix"

// DescriptorLimit returns how many descriptors the process may have, 1<<20 at most.
func DescriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<20))
}
