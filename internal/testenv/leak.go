package testenv

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// leakPatience bounds how long a check waits for what is released with a
// delay: goroutines on their way out, descriptors that the kernel closes from
// a work queue. A leak stays, so it is as long as the tests' own patience.
const leakPatience = 30 * time.Second

// FDs returns the open descriptors of the process with what they refer to.
func FDs(t testing.TB) map[int]string {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	fds := make(map[int]string, len(names))
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd == int(dir.Fd()) {
			continue
		}
		// /dev/null is opened once for the process, when it is needed first.
		if target, err := os.Readlink("/proc/self/fd/" + name); err == nil && target != os.DevNull {
			fds[fd] = target
		}
	}
	return fds
}

// LeakCheck fails the test if it leaves descriptors or goroutines behind. The check
// runs when the test has ended and all clean-ups that were registered later have run.
// So call it first, and not in parallel tests.
func LeakCheck(t testing.TB) {
	t.Helper()
	warmPoller(t)
	fds, goroutines := FDs(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		checkFDs(t, fds)
		checkGoroutines(t, goroutines)
	})
}

// warmPoller makes the network poller of the runtime open its descriptors.
func warmPoller(t testing.TB) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
}

func checkFDs(t testing.TB, before map[int]string) {
	t.Helper()
	var leaked []string
	if Eventually(leakPatience, func() bool {
		leaked = newFDs(before, FDs(t))
		return len(leaked) == 0
	}) {
		return
	}
	more := ""
	if n := len(leaked); n > 20 {
		more = fmt.Sprintf("\n... and %d more", n-20)
		leaked = leaked[:20]
	}
	t.Errorf("descriptors leaked:\n%s%s", strings.Join(leaked, "\n"), more)
}

// newFDs names the descriptors that are new or refer to something else now.
func newFDs(before, after map[int]string) []string {
	var names []string
	for fd, target := range after {
		if before[fd] != target {
			names = append(names, fmt.Sprintf("%d -> %s", fd, target))
		}
	}
	sort.Strings(names)
	return names
}

func checkGoroutines(t testing.TB, before int) {
	t.Helper()
	if Eventually(leakPatience, func() bool { return runtime.NumGoroutine() <= before }) {
		return
	}
	buf := make([]byte, 64<<10)
	t.Errorf("goroutines leaked: %d, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// Eventually polls ok until it holds or patience has passed, and reports
// whether it did. It is for conditions of the kernel or the runtime that
// nothing announces; between the engine's own parts there is always an event.
func Eventually(patience time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(patience)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}
