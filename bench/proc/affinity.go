package proc

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Allowed returns the cores that this process may use, in ascending order.
func Allowed() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cpus []int
	for c := range len(set) * 64 {
		if set.IsSet(c) {
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}

// StartOn starts cmd with all its threads bound to one core: a child inherits
// the affinity of the thread that forks it. The child gets SIGTERM when this
// process dies, and is in a process group of its own, so that an interrupt
// from the terminal reaches only this process, which then stops the child.
func StartOn(cmd *exec.Cmd, cpu int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("core %d: sched_setaffinity: %w", cpu, err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err := cmd.Start()
	if e := unix.SchedSetaffinity(0, &before); e != nil {
		// The thread stays bound to one core: it must not run anything else.
		// Locked once more, it ends with this goroutine.
		runtime.LockOSThread()
	}
	return err
}
