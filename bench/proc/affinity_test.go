package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestChildOutlivesThread starts children from a thread that then ends, which
// is no death of the process.
func TestChildOutlivesThread(t *testing.T) {
	cores, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(*exec.Cmd) error{
		"Start":   Start,
		"StartOn": func(cmd *exec.Cmd) error { return StartOn(cmd, cores[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("cat")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := onDyingThread(func() error { return start(cmd) }); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintln(in, "alive"); err != nil {
				t.Errorf("write to the child: %v", err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "alive\n" {
				t.Errorf("the child says %q, %v", line, err)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("the child: %v", err)
			}
		})
	}
}

// onDyingThread runs f on a thread and returns when that has ended.
func onDyingThread(f func() error) error {
	done := make(chan error)
	var tid int
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		tid = unix.Gettid()
		if tid == os.Getpid() { // the first thread stays to the end
			done <- onDyingThread(f)
			return
		}
		done <- f()
	}()
	err := <-done
	if tid == os.Getpid() {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if e := unix.Tgkill(os.Getpid(), tid, 0); errors.Is(e, unix.ESRCH) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("thread %d does not end", tid)
		}
	}
}
