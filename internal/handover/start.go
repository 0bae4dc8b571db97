package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Successor is a process that is to take the place of this one.
type Successor struct {
	PID int

	process *os.Process
	conn    *os.File
	exited  chan struct{}    // closed when it has ended
	state   *os.ProcessState // how it has ended; nil: only its parent knows
}

// ofThisProcess are variables that mean this process and no other (sd_listen_fds(3),
// sd_watchdog_enabled(3)).
var ofThisProcess = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID", Variable}

// Start starts a program with duplicates of sockets, which stay the caller's, and
// with this process's standard streams, directory and environment. args begin with
// the program's name.
//
// If a service manager has started this process, the successor is not a child of this
// process but a sibling, another child of the manager: see managed.
//
// Start does not use os/exec. That would ask each os.File for its descriptor, which
// makes the sockets blocking for this process, too.
func Start(path string, args []string, sockets Sockets) (*Successor, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(ends[1])
	if err := unix.SetNonblock(ends[0], true); err != nil {
		unix.Close(ends[0])
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &Successor{conn: os.NewFile(uintptr(ends[0]), "successor"), exited: make(chan struct{})}
	files := []uintptr{0, 1, 2, uintptr(ends[1])}
	given := sockets.numbered(&files)
	env, err := environment(os.Environ(), given)
	attr := &syscall.ProcAttr{Env: env, Files: files}
	pidfd := -1
	if managed() {
		attr.Sys = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &pidfd}
	}
	if err == nil {
		s.PID, err = syscall.ForkExec(path, args, attr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), s.conn.Close())
	}
	if s.process, err = os.FindProcess(s.PID); err != nil { // never on Unix
		return nil, errors.Join(err, s.conn.Close())
	}
	go s.wait(pidfd)
	return s, nil
}

// managed reports whether the parent of this process is a service manager
// (sd_notify(3)). A manager learns at once when a child ends, but not when a
// grandchild does: if a successor failed while its predecessor still sends, systemd
// would restart the service only after WatchdogSec. The first process of a PID
// namespace can have no siblings (clone(2)), and a sibling can be waited for by its
// pidfd only (Linux 5.3).
func managed() bool {
	if os.Getenv("NOTIFY_SOCKET") == "" || os.Getpid() == 1 {
		return false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// wait waits for the end of a child, or of the sibling that pidfd is for.
func (s *Successor) wait(pidfd int) {
	defer close(s.exited)
	if pidfd < 0 {
		s.state, _ = s.process.Wait()
		return
	}
	defer unix.Close(pidfd)
	defer func() { _ = s.process.Release() }() // there is no Wait to do so
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(ended, -1); err != unix.EINTR {
			return
		}
	}
}

// end says how the successor has ended, if that is known.
func (s *Successor) end() string {
	if s.state == nil {
		return ""
	}
	return " (" + s.state.String() + ")"
}

// numbered adds the descriptors to files and returns the sockets with their numbers
// in the child.
func (s Sockets) numbered(files *[]uintptr) Sockets {
	out := slices.Clone(s)
	for i := range out {
		out[i].FDs = slices.Clone(out[i].FDs)
		for j, fd := range out[i].FDs {
			out[i].FDs[j] = len(*files)
			*files = append(*files, uintptr(fd))
		}
	}
	return out
}

// environment returns the environment of a successor.
func environment(environ []string, given Sockets) ([]string, error) {
	text, err := json.Marshal(letter{Sockets: given, States: true})
	if err != nil {
		return nil, err
	}
	env := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(ofThisProcess, name)
	})
	return append(env, Variable+"="+string(text)), nil
}

// Await sends the state of this process, JSON, and waits until the successor is ready. If
// the successor fails or is late, Await ends it and returns the reason.
func (s *Successor) Await(ctx context.Context, state []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	var m message
	var line []byte
	_, err := s.conn.Write(append(state, '\n'))
	if err == nil || !errors.Is(err, os.ErrClosed) { // why it has ended may be there to read
		line, err = bufio.NewReader(io.LimitReader(s.conn, maxMessage)).ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err == nil && m.Ready && stop() {
		return nil
	}
	return s.failed(ctx, m.Error)
}

// failed ends the successor and says why it is not ready.
func (s *Successor) failed(ctx context.Context, said string) error {
	_ = s.conn.Close()
	if said == "" { // it may still run; one that has sent its reason is about to end
		_ = s.process.Kill()
	}
	select {
	case <-s.exited:
	case <-ctx.Done():
		_ = s.process.Kill()
		<-s.exited
	}
	switch {
	case ctx.Err() != nil && said == "":
		return fmt.Errorf("process %d: %w: %w", s.PID, errSilent, context.Cause(ctx))
	case said == "":
		return fmt.Errorf("process %d: %w%s", s.PID, errSilent, s.end())
	}
	return fmt.Errorf("process %d: %s%s", s.PID, said, s.end())
}

// statePatience is how long a successor may take to read the last state.
const statePatience = 5 * time.Second

// HandOver sends the state of this process for the last time, and tells the successor that
// this process has stopped accepting.
func (s *Successor) HandOver(state []byte) error {
	err := s.conn.SetWriteDeadline(time.Now().Add(statePatience))
	if err == nil {
		_, err = s.conn.Write(append(state, '\n'))
	}
	return errors.Join(err, s.conn.Close())
}

// Terminate asks the successor to end, too (SIGTERM).
func (s *Successor) Terminate() error { return s.process.Signal(syscall.SIGTERM) }

// Exited is closed when the successor has ended.
func (s *Successor) Exited() <-chan struct{} { return s.exited }
