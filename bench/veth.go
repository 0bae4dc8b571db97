package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
)

// A line between two namespaces: the servers are in that of this process, the load in another.
// What each end receives is handled by the core of its side (RPS), so that the core of the
// servers pays for what they do, and not for what the clients receive.
const (
	serverEnd, serverHost = "server0", "10.77.0.1"
	loadEnd, loadHost     = "load0", "10.77.0.2"
)

// line makes the two ends, once the namespace of this process is prepared, and returns the path
// of the other namespace, which lives as long as this process.
func line(congestion string, serverCPU, loadCPU int) (path string, err error) {
	done := make(chan error)
	var other int
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is in the other namespace
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("network namespace of the load: %w", err)
			}
			if other, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				return err
			}
			return enterNamespace(congestion)
		}()
	}()
	if err := <-done; err != nil {
		return "", err
	}
	path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), other)
	err = run("", fmt.Sprintf("ip link add %s type veth peer name %s netns %s", serverEnd, loadEnd, path))
	if err == nil {
		err = run("", setUp(serverEnd, serverHost, serverCPU))
	}
	if err == nil {
		err = run("nsenter --net="+path+" ", setUp(loadEnd, loadHost, loadCPU))
	}
	return path, err
}

// setUp is a script that gives an end its address, and its core.
func setUp(end, host string, cpu int) string {
	return fmt.Sprintf("ip addr add %s/24 dev %s && ip link set %s up && mount -t sysfs none /sys && echo %x > /sys/class/net/%s/queues/rx-0/rps_cpus",
		host, end, end, 1<<cpu, end)
}

// run runs a script in a mount namespace of its own: sysfs shows the network of who mounts it.
func run(enter, script string) error {
	args := append(strings.Fields(enter), "sh", "-c", script)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := proc.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("veth: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}
