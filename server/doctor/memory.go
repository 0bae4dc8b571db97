package doctor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fserve/fserve/engine/rate"
)

// Memory returns how much memory the process may use, in bytes: that of the machine, or the limit of
// its control group if that is less. 0: it is not known.
func (s System) Memory() (most int64) {
	for line := range strings.Lines(read(s.Proc, "meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			most = kib << 10
		}
	}
	for line := range strings.Lines(read(s.Proc, "self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number:controllers:path
		if len(f) != 3 || f[1] != "" && f[1] != "memory" {
			continue
		}
		for _, path := range []string{f[2], "/"} { // within a container the group may be the root
			name := filepath.Join("fs/cgroup", path, "memory.max")
			if f[1] != "" {
				name = filepath.Join("fs/cgroup/memory", path, "memory.limit_in_bytes")
			}
			if n, err := strconv.ParseInt(read(s.Sys, name), 10, 64); err == nil && n > 0 && (most == 0 || n < most) {
				most = n
			}
		}
	}
	return most
}

// Bounds are what a server may take, as configured.
type Bounds struct {
	Loops       int
	Connections int   // 0: by the limit of descriptors
	Buffers     int64 // bytes
	TLS         bool
}

// What a state of a connection costs at most, and what a loop does, in bytes. docs/limits.md
// says the same.
const (
	costIdle     = 2 << 10  // its state, and the kernel's of the socket
	costAnswer   = 8 << 10  // the response and its head, and what was received with the request
	costTLS      = 50 << 10 // two goroutines, buffers
	costLoop     = 8 << 20  // rings, receive buffers, pools
	costBodies   = 64 << 20 // small files that are kept in memory, for each loop
	costProcess  = 32 << 20 // the program, and what collects garbage
	tlsMost      = 10_000   // connections
	leastReserve = 4        // a quarter of the descriptors, and of the memory, is for files and the kernel
)

// Sizing says what a server with these bounds takes at most, and whether the machine has it.
func Sizing(s System, b Bounds) Report {
	files, _ := s.limit("Max open files")
	files = min(files, 1<<20)
	conns, each := int64(b.Connections), int64(1)
	if b.TLS {
		each = 3
	}
	if conns == 0 {
		conns = max(16, (files-files/leastReserve)/each)
	}
	size := func(n int64) string { return rate.Size(n).String() }
	fixed := costProcess + int64(b.Loops)*(costLoop+costBodies) + b.Buffers + b.Buffers/2
	perConn := int64(costIdle + costAnswer)
	all := fixed + conns*perConn
	if b.TLS {
		all += min(conns, tlsMost) * costTLS
	}
	note := func(name, found string) Finding { return Finding{Name: name, Status: OK, Found: found} }
	r := Report{
		note("connections", fmt.Sprintf("%d: %s each while idle, %s with an answer under way", conns, size(costIdle), size(costIdle+costAnswer))),
		note("requests that wait", fmt.Sprintf("%s for input, %s for bodies", size(b.Buffers), size(b.Buffers/2))),
		note("loops", fmt.Sprintf("%d: %s each, and %s for small files", b.Loops, size(costLoop), size(costBodies))),
	}
	if b.TLS {
		r = append(r, note("TLS", fmt.Sprintf("%s for each of at most %d connections", size(costTLS), min(conns, tlsMost))))
	}
	return append(r, s.memoryFor(all, fixed, perConn), descriptorsFor(files, conns, each))
}

// mebi rounds bytes for a reader.
func mebi(n int64) rate.Size { return rate.Size(n &^ (1<<20 - 1)) }

// memoryFor says whether the machine has the memory.
func (s System) memoryFor(all, fixed, perConn int64) Finding {
	have := s.Memory()
	f := Finding{Name: "memory", Status: OK, Found: fmt.Sprintf("%v at most, of %v", mebi(all), mebi(have))}
	room := have - have/leastReserve
	switch {
	case have == 0:
		f.Status, f.Found = Note, fmt.Sprintf("%v at most; what there is cannot be told", mebi(all))
	case all > room && room > fixed+perConn:
		f.Status, f.Lost = Warning, "the process, if all bounds are met at once: the kernel ends it"
		f.Mend = fmt.Sprintf("--max-connections %d", (room-fixed)/perConn)
	case all > room:
		f.Status, f.Lost = Warning, "the process, if all bounds are met at once: the kernel ends it"
		f.Mend = "--max-buffers 8MiB and fewer --workers"
	}
	return f
}

// descriptorsFor says whether connections leave descriptors for files.
func descriptorsFor(files, conns, each int64) Finding {
	f := Finding{Name: "descriptors", Status: OK, Found: fmt.Sprintf("%d for connections, of %d", conns*each, files)}
	if conns*each > files-files/leastReserve {
		f.Status, f.Lost = Warning, "files: requests are answered 503 when connections have taken the descriptors"
		f.Mend = fmt.Sprintf("LimitNOFILE=%d in systemd, or --max-connections %d", conns*each*leastReserve/(leastReserve-1)+1, (files-files/leastReserve)/each)
	}
	return f
}
