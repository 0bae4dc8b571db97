package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
)

const (
	// namespaceCommand before the flags says that this process is inside the
	// namespace that was made for it.
	namespaceCommand = "namespace"

	congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control" // of the reader's namespace

	// stopDelay is how long the inner process may take to stop what it started.
	stopDelay = 20 * time.Second
)

// inNamespace runs bench once more in a network namespace of its own, where
// -congestion can be set without touching the system. It matters: BBR, for
// example, paces by a timer on loopback, which can cost more than all that a
// server does for a large file.
func inNamespace(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{namespaceCommand}, args...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopDelay
	if err = proc.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return innerStatus(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("network namespace (needs root): %w", err)
	}
	return nil
}

// innerStatus is the exit status of bench inside the namespace. It is not 0.
type innerStatus int

func (s innerStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// enterNamespace prepares the namespace that this process was started in.
func enterNamespace(congestion string) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := os.WriteFile(congestionFile, []byte(congestion), 0); err != nil {
		// A namespace may use what tcp_allowed_congestion_control lists.
		return fmt.Errorf("congestion control %q: %w; allowed are: %s", congestion, err,
			text("/proc/sys/net/ipv4/tcp_allowed_congestion_control"))
	}
	return nil
}

// loopbackUp brings the loopback interface up, which is down in a new namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	return nil
}
