package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

// Probe reports why io_uring cannot be used here, or nil if it can. It sets up a
// ring and receives through it, since set-up alone does not tell whether this
// kernel receives multishot (Linux 6.0). The answer is found once.
func Probe() error { return probe() }

var probe = sync.OnceValue(func() error {
	done := make(chan error)
	go func() { // a ring belongs to the thread that made it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- tryReceive()
	}()
	return <-done
})

func tryReceive() error {
	d, err := newDriver(aio.Config{RecvBuffers: 4}.WithDefaults())
	if err != nil {
		return err
	}
	err = receiveOne(d)
	return errors.Join(err, d.Destroy())
}

func receiveOne(d *Driver) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(fds[1])
	if err := d.Open(aio.MakeToken(0, 1), fds[0]); err != nil {
		unix.Close(fds[0])
		return err
	}
	if _, err := unix.Write(fds[1], []byte{'!'}); err != nil {
		return fmt.Errorf("write to socketpair: %w", err)
	}
	var ev [4]aio.Event
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n, err := d.Wait(ev[:], time.Second)
		if err != nil {
			return err
		}
		for _, e := range ev[:n] {
			if e.Op != aio.Received {
				continue
			}
			if e.Err != 0 || len(e.Data) != 1 {
				return fmt.Errorf("io_uring cannot receive multishot (Linux 6.0 or newer is needed): %w", e.Err)
			}
			return nil
		}
	}
	return errors.New("io_uring does not deliver completions")
}

// explain adds the likely cause to a refused set-up.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSYS):
		return fmt.Errorf("%w (this kernel has no io_uring, or a seccomp profile hides it)", err)
	case errors.Is(err, syscall.EPERM):
		if b, e := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); e == nil && strings.TrimSpace(string(b)) != "0" {
			return fmt.Errorf("%w (kernel.io_uring_disabled=%s)", err, strings.TrimSpace(string(b)))
		}
		return fmt.Errorf("%w (a seccomp profile, as container engines set by default, forbids it)", err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w (Linux 6.0 or newer is needed)", err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("%w (RLIMIT_MEMLOCK or memory is too small)", err)
	}
	return err
}
