package record

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fserve/fserve/server/admit"
)

const (
	// faultWindow is how long no further request for a path is logged that fails.
	faultWindow = time.Minute
	// maxFaults bounds the lines of a window.
	maxFaults = 100
	// maxFaultPath bounds the path in a line, in bytes.
	maxFaultPath = 1 << 10
)

// Faults tells the operator of requests that fail because of the files, or are refused: each
// path once a minute. Its methods are safe for concurrent use, and do not wait for the log.
type Faults struct {
	log *slog.Logger

	mu     sync.Mutex
	ends   time.Time // of the window
	paths  map[string]struct{}
	beyond int // requests for further paths
}

// NewFaults returns a Faults that writes to log.
func NewFaults(log *slog.Logger) *Faults { return &Faults{log: log, paths: make(map[string]struct{})} }

// Note tells that a request for a path has failed at now, with a status, because of e.
func (f *Faults) Note(now time.Time, path []byte, client netip.Addr, status int, e syscall.Errno) {
	f.note(now, "", path, "request failed", "reason", reason(e), "status", status, "client", client)
}

// Unused tells that an answer at now goes on without a file that is there, because of e.
func (f *Faults) Unused(now time.Time, path string, client netip.Addr, e syscall.Errno) {
	f.note(now, "", []byte(path), "file not used", "reason", reason(e), "client", client)
}

// Refused tells that a request for a path was refused at now, with a status, by a rule. One
// without a password is as browsers begin, and is no news.
func (f *Faults) Refused(now time.Time, path []byte, client netip.Addr, status int, v admit.Judgement) {
	if v == admit.NoPassword {
		return
	}
	f.note(now, v.String(), path, "request refused", "by", v, "status", status, "client", client)
}

// note logs a line about a path, unless there was one of the kind.
func (f *Faults) note(now time.Time, kind string, path []byte, text string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.After(f.ends) {
		if f.beyond > 0 {
			go f.log.Warn("more requests have failed or were refused, whose paths were not logged", "requests", f.beyond)
		}
		f.ends, f.beyond = now.Add(faultWindow), 0
		clear(f.paths)
	}
	path = path[:min(len(path), maxFaultPath)]
	key := kind + string(path)
	if _, known := f.paths[key]; known {
		return
	}
	if len(f.paths) >= maxFaults {
		f.beyond++
		return
	}
	name := strings.ToValidUTF8(string(path), "\uFFFD")
	f.paths[key] = struct{}{}
	args = append([]any{"path", name}, args...)
	if client, _ := args[len(args)-1].(netip.Addr); !client.IsValid() {
		args = args[:len(args)-2]
	}
	go f.log.Warn(text, args...) // the event loop cannot wait for it
}

// reason says what e is about a file that was asked for.
func reason(e syscall.Errno) string {
	switch e {
	case syscall.EISDIR:
		return "a directory without an index file, and listings are off"
	case syscall.EXDEV:
		return "a symbolic link leaves the root"
	case syscall.ELOOP:
		return "too many symbolic links"
	case syscall.ENXIO, syscall.ENODEV:
		return "not a regular file"
	}
	return e.Error()
}
