package proc

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// schedIdle is SCHED_IDLE of sched(7): such a thread runs only where nothing else
// wants to, and makes way at once.
const schedIdle = 5

// KeepAwake keeps a core from going to sleep until stop is called: in a virtual
// machine it would have to wait for its host whenever it is woken.
func KeepAwake(core int) (stop func(), err error) {
	var over atomic.Bool
	ready, gone := make(chan error), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		err := beIdle(core)
		ready <- err
		if err != nil {
			return
		}
		for !over.Load() {
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("keep core %d awake: %w", core, err)
	}
	return func() {
		over.Store(true)
		<-gone
	}, nil
}

// beIdle moves the calling thread to a core and makes it the least important there.
func beIdle(core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	const nicest = 19 // by which CoreSeconds leaves it out
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nicest); err != nil {
		return err
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Policy: schedIdle}, 0)
}
