// Command guest is the first process of a virtual machine that runs tests. It loads the modules
// of its image, runs the programs of Plan one after the other, says on the console how each
// ended, and turns the machine off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Plan is what the image has in PlanFile.
type Plan struct {
	Modules []string // paths, in the order in which they are loaded
	Tests   []Test
	Env     []string // NAME=value, of all
}

// Test is one program.
type Test struct {
	Name    string
	Command []string
	Dir     string
	Seconds int    // after which it is ended
	Env     string // NAME=value, of it alone
}

func main() {
	if err := run(); err != nil {
		fmt.Println("guest: FAILED:", err)
	}
	fmt.Println("guest: done")
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // nothing is left to tell it to
}

func run() error {
	for _, m := range []struct{ dir, kind string }{
		{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"}, {"/dev/shm", "tmpfs"},
	} {
		if err := errors.Join(os.MkdirAll(m.dir, 0o755), unix.Mount(m.kind, m.dir, m.kind, 0, "")); err != nil {
			return fmt.Errorf("%s: %w", m.dir, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	var p Plan
	text, err := os.ReadFile("/plan.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	for _, m := range p.Modules {
		if err := load(m); err != nil {
			fmt.Printf("guest: module %s: %v\n", m, err) // a test that needs it says so
		}
	}
	if err := mountDisk(); err != nil {
		return err
	}
	for i := range p.Tests {
		t := &p.Tests[i]
		began := time.Now()
		err := t.run(p.Env)
		fmt.Printf("guest: %s: %s in %.0f s\n", t.Name, outcome(err), time.Since(began).Seconds())
	}
	return nil
}

func outcome(err error) string {
	if err != nil {
		return "FAILED: " + err.Error()
	}
	return "passed"
}

// run runs the program, whose output goes to the console.
func (t *Test) run(env []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(t.Seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Command[0], t.Command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.Dir, os.Stdout, os.Stdout
	cmd.Env = append([]string{"PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp", t.Env}, env...)
	return cmd.Run()
}

// mountDisk mounts the disk, on which tests have their files: few serve from memory.
func mountDisk() error {
	if err := os.MkdirAll("/tmp", 0o755); err != nil {
		return err
	}
	var err error
	for range 100 { // it is found soon after its modules are loaded
		if err = unix.Mount("/dev/vda", "/tmp", "ext4", 0, ""); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("disk: %w", err)
}

// load loads a module.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// loopbackUp brings the network device up that Linux begins with.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
