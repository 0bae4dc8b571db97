package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Bounds that decide whether a finding is a warning.
const (
	uringKernel     = 600     // Linux 6.0: multishot receive
	cachestatKernel = 605     // Linux 6.5
	wantBacklog     = 4096    // what the engine asks for
	wantFiles       = 65_536  // two descriptors for each of some 30,000 downloads
	limitlessFiles  = 1 << 30 // "unlimited"
)

// read returns the content of a file below /proc or /sys without white space
// around it; empty: it cannot be read.
func read(root, name string) string {
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// version returns a release like 6.18.4-x as 618.
func version(release string) int {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return 0
	}
	return major*100 + minor
}

func (s System) release() string { return read(s.Proc, "sys/kernel/osrelease") }

func (s System) kernel() Finding {
	f := Finding{Name: "kernel", Status: OK, Found: "Linux " + s.release()}
	switch v := version(s.release()); {
	case v == 0:
		f.Status, f.Found, f.Lost = Warning, "version unknown", "nothing below can be told for certain"
		f.Mend = "mount /proc"
	case v < uringKernel:
		f.Status, f.Lost = Warning, "io_uring (6.0) and cachestat (6.5): epoll is used, with one system call more for each event"
		f.Mend = "boot Linux 6.6 or later"
	case v < cachestatKernel:
		f.Status, f.Lost = Note, "cachestat (6.5): what is in memory is asked page by page, and believed for 100 ms"
		f.Mend = "boot Linux 6.6 or later"
	}
	return f
}

func (s System) uring() Finding {
	f := Finding{Name: "io_uring", Status: OK, Found: "available"}
	err := s.Uring()
	if err == nil {
		return f
	}
	f.Status, f.Found = Warning, err.Error()
	f.Lost = "the faster driver: epoll is used, up to a third fewer small requests a second"
	switch disabled := read(s.Proc, "sys/kernel/io_uring_disabled"); {
	case disabled == "1" || disabled == "2":
		f.Found = "kernel.io_uring_disabled is " + disabled
		f.Mend = "sysctl -w kernel.io_uring_disabled=0"
	case errors.Is(err, syscall.EPERM) && s.filtered():
		f.Mend = "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile: " +
			"SystemCallFilter=@aio in systemd, --security-opt seccomp=PROFILE in Docker (deploy/README.md)"
	case version(s.release()) < uringKernel:
		f.Mend = "boot Linux 6.0 or later"
	case errors.Is(err, syscall.ENOMEM):
		f.Mend = "LimitMEMLOCK=infinity in systemd, or ulimit -l unlimited"
	default:
		f.Mend = "see the reason; --driver=uring makes it an error at start"
	}
	return f
}

// openat2 says whether paths are opened by one call, which need not wait for the disk.
func (s System) openat2() Finding {
	f := Finding{Name: "openat2", Status: OK, Found: "available"}
	if err := s.Openat2(); err != nil {
		f.Status, f.Found = Warning, err.Error()
		f.Lost = "opening on the loop: each open is work for a goroutine, with two system calls for each directory on the way"
		f.Mend = "allow openat2 in the seccomp profile: SystemCallFilter=@file-system in systemd, Docker 20.10 or later"
		if errors.Is(err, syscall.ENOSYS) && !s.filtered() {
			f.Mend = "boot Linux 5.12 or later"
		}
	}
	return f
}

// kernelTLS says whether tls.kernel can be had.
func (s System) kernelTLS() Finding {
	f := Finding{Name: "TLS in the kernel", Status: OK, Found: "available, if tls.kernel is set"}
	if err := s.KernelTLS(); err != nil {
		f.Status, f.Found = Note, err.Error()
		f.Lost = "tls.kernel: files over TLS are sealed by the loops, with a copy"
		f.Mend = "modprobe tls, where the kernel has it"
	}
	return f
}

// filtered reports whether a seccomp filter holds for this process.
func (s System) filtered() bool {
	for line := range strings.Lines(read(s.Proc, "self/status")) {
		if v, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(v) == "2"
		}
	}
	return false
}

// limit returns the soft limit of a row of /proc/self/limits; ok is false if there
// is no such row.
func (s System) limit(row string) (n int64, ok bool) {
	for line := range strings.Lines(read(s.Proc, "self/limits")) {
		rest, found := strings.CutPrefix(line, row)
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0, false
		}
		if fields[0] == "unlimited" {
			return limitlessFiles, true
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		return n, err == nil
	}
	return 0, false
}

// memlock checks the limit of locked memory. Since Linux 5.12 the rings count as memory of
// the control group instead, so a small limit costs nothing where io_uring works.
func (s System) memlock() Finding {
	f := Finding{Name: "locked memory", Status: OK}
	n, ok := s.limit("Max locked memory")
	switch {
	case !ok:
		f.Status, f.Found = Note, "unknown"
	case n == limitlessFiles:
		f.Found = "unlimited"
	default:
		f.Found = fmt.Sprintf("%d KiB; rings do not count (Linux 5.12)", n>>10)
	}
	if errors.Is(s.Uring(), syscall.ENOMEM) {
		f.Status, f.Lost, f.Mend = Warning, "io_uring", "LimitMEMLOCK=infinity in systemd, or ulimit -l unlimited"
	}
	return f
}

func (s System) openFiles() Finding {
	f := Finding{Name: "open files", Status: OK}
	n, ok := s.limit("Max open files")
	if !ok {
		f.Status, f.Found = Note, "unknown"
		return f
	}
	f.Found = fmt.Sprintf("at most %d", n)
	if n < wantFiles {
		f.Status = Warning
		f.Lost = fmt.Sprintf("connections beyond some %d wait to be accepted: each takes a descriptor, and each file", n*3/4)
		f.Mend = "LimitNOFILE=1048576 in systemd, or ulimit -n 1048576"
	}
	return f
}

// cores compares cores and quota. The number of loops follows the quota of the control
// group (Go 1.25).
func (s System) cores() Finding {
	f := Finding{Name: "cores", Status: OK, Found: strconv.Itoa(s.CPUs)}
	quota, period, _ := strings.Cut(read(s.Sys, "fs/cgroup/cpu.max"), " ")
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 == nil && err2 == nil && p > 0 && q/p < float64(s.CPUs) {
		f.Status = Note
		f.Found = fmt.Sprintf("%d, of which a quota allows %.1f", s.CPUs, q/p)
		f.Lost = "a loop that has used up the quota stops for up to a tenth of a second: latency"
		f.Mend = "CPUQuota= (empty) in systemd, or --cpuset-cpus instead of --cpus in Docker"
	}
	return f
}

func (s System) congestion() Finding {
	control := read(s.Proc, "sys/net/ipv4/tcp_congestion_control")
	qdisc := read(s.Proc, "sys/net/core/default_qdisc")
	f := Finding{Name: "congestion control", Status: OK, Found: control}
	switch {
	case control == "":
		f.Status, f.Found = Note, "unknown"
	case strings.HasPrefix(control, "bbr"):
		f.Found += ", default queue " + cmp.Or(qdisc, "unknown")
		if qdisc == "fq" {
			break
		}
		f.Status = Warning
		f.Lost = "up to two thirds of the CPU time for large files: without fq, BBR paces each connection by a timer of its own"
		f.Mend = "sysctl -w net.core.default_qdisc=fq, and for each interface that is up: tc qdisc replace dev eth0 root fq"
	}
	return f
}

func (s System) backlog() Finding {
	text := read(s.Proc, "sys/net/core/somaxconn")
	f := Finding{Name: "somaxconn", Status: OK, Found: text}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		f.Status, f.Found = Note, "unknown"
	case n < wantBacklog:
		f.Status = Warning
		f.Lost = fmt.Sprintf("connections, when more than %d come at once: they are dropped and come again a second later", n)
		f.Mend = fmt.Sprintf("sysctl -w net.core.somaxconn=%d", wantBacklog)
	}
	return f
}
