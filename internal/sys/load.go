package sys

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const descriptors = "/proc/self/fd"

// OpenDescriptors returns how many descriptors the process has open; 0: that cannot be told.
func OpenDescriptors() int {
	// Since Linux 6.2 the size of the directory is their number (proc(5)).
	if info, err := os.Stat(descriptors); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	names, err := os.ReadDir(descriptors)
	if err != nil {
		return 0
	}
	return len(names)
}

// memoryGroup is the directory of the control group (version 2) of the process.
var memoryGroup = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		if path, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::")); ok {
			return filepath.Join("/sys/fs/cgroup", string(path))
		}
	}
	return ""
})

// MemoryGroupPart returns how much of the memory of its control group the process and its siblings
// use, apart from the pages of files, which the kernel can take back; 0: there is no limit.
func MemoryGroupPart() float64 {
	dir := memoryGroup()
	if dir == "" {
		return 0
	}
	most, used := readNumber(filepath.Join(dir, "memory.max")), readNumber(filepath.Join(dir, "memory.current"))
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if most == 0 || err != nil {
		return 0
	}
	for line := range bytes.Lines(stat) {
		if file, ok := bytes.CutPrefix(line, []byte("file ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(file)), 10, 64) // 0 is the safe side
			used -= n
		}
	}
	return float64(max(used, 0)) / float64(most)
}

// readNumber reads a file with a number; 0: it has none, as memory.max with max.
func readNumber(path string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
