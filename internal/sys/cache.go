package sys

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpuCaches is where the kernel tells of the caches of the first processor.
const cpuCaches = "/sys/devices/system/cpu/cpu0/cache/index*"

// LastLevelCache returns the size of the processor's last cache, in bytes, and how many
// processors share one. 0: the kernel does not tell.
func LastLevelCache() (bytes int64, shared int) { return lastLevelCache(cpuCaches) }

func lastLevelCache(pattern string) (bytes int64, shared int) {
	level := 0
	dirs, _ := filepath.Glob(pattern) // of a pattern that is well formed
	for _, dir := range dirs {
		l, err := strconv.Atoi(line(dir, "level"))
		if err != nil || l <= level {
			continue
		}
		size, err := strconv.ParseInt(strings.TrimSuffix(line(dir, "size"), "K"), 10, 64)
		if err != nil {
			continue
		}
		level, bytes, shared = l, size<<10, countCPUs(line(dir, "shared_cpu_list"))
	}
	return bytes, shared
}

// line returns the one line of a file.
func line(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// countCPUs returns the number of processors in a list such as 0-3,8; at least 1.
func countCPUs(list string) (n int) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil || b < a {
				continue
			}
		}
		n += b - a + 1
	}
	return max(n, 1)
}
