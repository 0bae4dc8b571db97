package mover

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// MinAdvice is what the kernel reads for one piece of advice at least,
	// where nobody has made the window smaller, in bytes.
	MinAdvice = 128 << 10
	maxAdvice = 2 << 20
)

// advices caches adviceOf by device.
var advices sync.Map // uint64 -> int64

// adviceOf returns how many bytes of a file one piece of advice can ask for:
// the kernel drops what exceeds the device's largest request and its read-ahead
// window, whichever is larger (force_page_cache_ra). Larger pieces mean fewer
// and larger requests. Each device is asked once.
func adviceOf(fd int32) int64 {
	var st unix.Stat_t
	if unix.Fstat(int(fd), &st) != nil {
		return MinAdvice
	}
	if n, ok := advices.Load(st.Dev); ok {
		return n.(int64)
	}
	n := min(max(queueKiB(st.Dev, "read_ahead_kb"), queueKiB(st.Dev, "max_sectors_kb"), MinAdvice), maxAdvice)
	n = n / MinAdvice * MinAdvice
	advices.Store(st.Dev, n)
	return n
}

// queueKiB returns an attribute of a disk's queue in bytes, 0 if there is none:
// the device is not a disk, or sysfs is not mounted. A partition has its disk's.
func queueKiB(dev uint64, name string) int64 {
	at := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(dev), unix.Minor(dev))
	for _, dir := range []string{"queue/", "../queue/"} {
		if n := number(at+dir+name, 0); n > 0 {
			return n << 10
		}
	}
	return 0
}
