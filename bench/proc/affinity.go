package proc

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
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

// starter takes functions to run on the one thread that starts children. A child gets the
// signal of its parent's death (PR_SET_PDEATHSIG) when the thread that forked it ends. The
// Go runtime ends a thread whenever a goroutine ends that was locked to it. So this thread
// belongs to a goroutine that never ends.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts cmd as cmd.Start does. The child gets SIGTERM when this process
// dies, and is in a process group of its own, so that an interrupt from the
// terminal reaches only this process, which then stops the child.
func Start(cmd *exec.Cmd) error {
	return onStarter(func() error { return start(cmd) })
}

// StartOn is Start with all threads of the child bound to one core: a child
// inherits the affinity of the thread that forks it.
func StartOn(cmd *exec.Cmd, cpu int) error {
	return onStarter(func() error { return startOn(cmd, cpu) })
}

func onStarter(f func() error) error {
	done := make(chan error)
	starter() <- func() { done <- f() }
	return <-done
}

func start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	return cmd.Start()
}

func startOn(cmd *exec.Cmd, cpu int) error {
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("core %d: sched_setaffinity: %w", cpu, err)
	}
	err := start(cmd)
	if e := unix.SchedSetaffinity(0, &before); e != nil && err == nil {
		// Later children would be bound too.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("core %d: sched_setaffinity back: %w", cpu, e)
	}
	return err
}
