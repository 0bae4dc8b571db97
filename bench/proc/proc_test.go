package proc

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseParent(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int
		ok   bool
	}{
		{"12 (nginx) S 7 12 12 0 -1", 7, true},
		{"12 (a b) S 7 12", 7, true},
		{"12 (a) R 9) S 8 12", 8, true}, // the name is "a) R 9"
		{"12 nginx S 7", 0, false},
		{"12 (nginx)", 0, false},
		{"12 (nginx) S x", 0, false},
		{"", 0, false},
	} {
		got, err := ParseParent([]byte(tc.in))
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q: %d, %v; want %d", tc.in, got, err, tc.want)
		}
	}
}

func TestParseRSS(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  728 kB\nThreads:\t1\n", 728 << 10, true},
		{"Name:\tkworker\nThreads:\t1\n", 0, true},
		{"VmRSS:\tmany kB\n", 0, false},
	} {
		got, err := ParseRSS([]byte(tc.in))
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q: %d, %v; want %d", tc.in, got, err, tc.want)
		}
	}
}

func TestParseCore(t *testing.T) {
	const stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 4 1000 2000 8 16 32 64 128\ncpu10 5 0 0 0 0 0 0 0 0 0\nintr 5\n"
	for _, tc := range []struct {
		in   string
		core int
		want uint64
		ok   bool
	}{
		{stat, 0, 61, true}, // guest time is part of user time, nice time left out
		{stat, 10, 5, true},
		{stat, 1, 0, false},
		{"cpu0 1 2 3\n", 0, 0, false},
		{"cpu0 x 2 4 1000 2000 8 16 32\n", 0, 0, false},
	} {
		got, err := ParseCore([]byte(tc.in), tc.core)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("core %d: %d, %v; want %d", tc.core, got, err, tc.want)
		}
	}
}

func TestCPUModel(t *testing.T) {
	for in, want := range map[string]string{
		"processor\t: 0\nmodel\t\t: 167\nmodel name\t: Some CPU @ 2 GHz\n": "Some CPU @ 2 GHz",
		"processor\t: 0\n": "unknown",
	} {
		if got := CPUModel([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The clock of a process says what its stat file says, to a tick or two, and
// goes on with the work that the process does.
func TestCPUSeconds(t *testing.T) {
	self := []int{os.Getpid()}
	start, err := CPUSeconds(self)
	if err != nil {
		t.Fatal(err)
	}
	for now := start; now < start+0.02; {
		if now, err = CPUSeconds(self); err != nil {
			t.Fatal(err)
		}
	}
	before, err := CPUSeconds(self)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	user, err1 := strconv.Atoi(f[12])
	system, err2 := strconv.Atoi(f[13])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	after, err := CPUSeconds(self)
	if err != nil {
		t.Fatal(err)
	}
	if ticks := float64(user+system) / ticksPerSecond; ticks < before-0.03 || ticks > after+0.03 {
		t.Errorf("stat: %g s, clock: %g to %g s", ticks, before, after)
	}
	if _, err := CPUSeconds([]int{1 << 22}); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestSelf(t *testing.T) {
	if n, err := RSS([]int{os.Getpid()}); err != nil || n < 1<<20 {
		t.Errorf("RSS %d, error %v", n, err)
	}
	if _, err := RSS([]int{1 << 22}); err == nil {
		t.Error("no error for a process that does not exist")
	}
	cpus, err := Allowed()
	if err != nil || len(cpus) == 0 {
		t.Fatalf("cores %v, error %v", cpus, err)
	}
	if n, err := CoreSeconds(cpus[0]); err != nil || n <= 0 {
		t.Errorf("core %d: %g s, error %v", cpus[0], n, err)
	}
}

// A child runs on its core only, its own child too, and both are found.
func TestStartOn(t *testing.T) {
	cpus, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	cpu := cpus[len(cpus)-1]
	cmd := exec.Command("sh", "-c", "sleep 60 & echo started; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := StartOn(cmd, cpu); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := io.ReadFull(out, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	tree, err := Tree(cmd.Process.Pid)
	if err != nil || len(tree) != 2 || tree[0] != cmd.Process.Pid {
		t.Fatalf("tree %v of %d, error %v", tree, cmd.Process.Pid, err)
	}
	defer func() {
		for _, pid := range tree {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	}()
	if n := Strays(tree, cpu); n != 0 {
		t.Errorf("%d strays", n)
	}
	if n := Strays(tree, cpu+1000); n != 2 {
		t.Errorf("%d strays of another core, want 2", n)
	}
	if now, err := Allowed(); err != nil || !slices.Equal(now, cpus) {
		t.Errorf("cores of this thread: %v, error %v; before: %v", now, err, cpus)
	}
}

func TestStartOnFails(t *testing.T) {
	begin := time.Now()
	if err := StartOn(exec.Command("sleep", "60"), 1<<9); err == nil || !strings.Contains(err.Error(), "core 512") {
		t.Errorf("error %v", err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestThreads(t *testing.T) {
	if n := Threads([]int{os.Getpid(), 1 << 22}); n < 2 {
		t.Errorf("%d threads", n)
	}
}
