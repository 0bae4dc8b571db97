// Package proc reads what the kernel says about processes (proc(5)): CPU time,
// resident memory, descendants and the cores that threads may run on.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of /proc/stat. USER_HZ is 100 on every
// architecture that Go supports on Linux.
const ticksPerSecond = 100

var errFormat = errors.New("unexpected format")

// ParseParent returns the parent's process id out of the line of
// /proc/PID/stat. The command name may hold spaces and parentheses, so fields
// are counted from the last ")".
func ParseParent(line []byte) (int, error) {
	i := bytes.LastIndexByte(line, ')')
	if i < 0 {
		return 0, fmt.Errorf("stat: %w", errFormat)
	}
	f := bytes.Fields(line[i+1:]) // f[0] is field 3 of proc(5)
	if len(f) < 2 {
		return 0, fmt.Errorf("stat: %w", errFormat)
	}
	parent, err := strconv.Atoi(string(f[1]))
	if err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return parent, nil
}

// ParseRSS returns VmRSS of /proc/PID/status in bytes. Kernel threads and
// processes that have ended have none: 0.
func ParseRSS(status []byte) (int64, error) {
	v, ok := field(status, "VmRSS")
	if !ok {
		return 0, nil
	}
	kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("VmRSS: %w", err)
	}
	return kb << 10, nil
}

// field returns the value of a "Name:   value" line.
func field(text []byte, name string) (string, bool) {
	for line := range strings.Lines(string(text)) {
		k, v, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func path(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// CPUSeconds returns the CPU time that the processes have used so far, user
// and system, in seconds. Threads that have ended are included, and so are the
// kernel's own workers of a process (io-wq), which are threads of it. The sum
// is that of utime and stime in /proc/PID/stat, but in ns instead of 10 ms.
func CPUSeconds(pids []int) (float64, error) {
	var sum int64
	for _, pid := range pids {
		var ts unix.Timespec
		if err := unix.ClockGettime(cpuClock(pid), &ts); err != nil {
			return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		sum += ts.Nano()
	}
	return float64(sum) / 1e9, nil
}

// cpuClock returns the clock of a process's CPU time, as clock_getcpuclockid(3)
// does: the kernel's CPUCLOCK_SCHED of the whole thread group.
func cpuClock(pid int) int32 {
	const sched = 2
	return int32(^pid)<<3 | sched
}

// ParseCore returns how long a core has been busy, in ticks, out of
// /proc/stat: all but the idle columns, the time stolen by the hypervisor
// included, and without work that is nice: it makes way for others.
func ParseCore(stat []byte, core int) (uint64, error) {
	name := "cpu" + strconv.Itoa(core)
	for line := range strings.Lines(string(stat)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != name {
			continue
		}
		var busy uint64
		for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			if i != 1 && i != 3 && i != 4 {
				busy += n
			}
		}
		return busy, nil
	}
	return 0, fmt.Errorf("%s: %w", name, errFormat)
}

// CoreSeconds returns how long a core has been busy so far, in seconds.
func CoreSeconds(core int) (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	ticks, err := ParseCore(b, core)
	return float64(ticks) / ticksPerSecond, err
}

// RSS returns the resident memory of the processes together, in bytes. Pages
// that they share are counted once for each.
func RSS(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(path(pid, "status"))
		if err != nil {
			return 0, err
		}
		n, err := ParseRSS(b)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Threads returns how many threads the processes have together, the kernel's own
// workers of them included. Those that have ended have none.
func Threads(pids []int) (n int) {
	for _, pid := range pids {
		b, err := os.ReadFile(path(pid, "status"))
		if err != nil {
			continue
		}
		if v, ok := field(b, "Threads"); ok {
			threads, _ := strconv.Atoi(v) // the kernel writes a number
			n += threads
		}
	}
	return n
}

// Tree returns pid and all its descendants, ordered by depth.
func Tree(pid int) ([]int, error) {
	parents, err := parents()
	if err != nil {
		return nil, err
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		first := len(tree)
		for child, parent := range parents {
			if parent == tree[i] {
				tree = append(tree, child)
			}
		}
		slices.Sort(tree[first:])
	}
	return tree, nil
}

// parents maps every process to its parent.
func parents() (map[int]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	m := make(map[int]int, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(path(pid, "stat"))
		if err != nil {
			continue // it has ended meanwhile
		}
		if parent, err := ParseParent(b); err == nil {
			m[pid] = parent
		}
	}
	return m, nil
}

// Strays counts the threads of the processes that may run on cores other than
// cpu. io-wq threads, for example, do not inherit the affinity of the thread
// that made the ring.
func Strays(pids []int, cpu int) int {
	want := strconv.Itoa(cpu)
	n := 0
	for _, pid := range pids {
		tasks, _ := filepath.Glob(path(pid, "task/*/status")) // the pattern is valid
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			if err != nil {
				continue // the thread has ended meanwhile
			}
			if v, ok := field(b, "Cpus_allowed_list"); ok && v != want {
				n++
			}
		}
	}
	return n
}

// CPUModel returns the name of the processor out of /proc/cpuinfo, or
// "unknown" (not every architecture gives one).
func CPUModel(cpuinfo []byte) string {
	if v, ok := field(cpuinfo, "model name"); ok {
		return v
	}
	return "unknown"
}
