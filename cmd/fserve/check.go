package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/listen"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/config"
)

// faults are those of a configuration that only this machine can tell.
type faults struct {
	*config.Loaded
	found config.Problems
}

// add notes what is wrong with the value with a path, once.
func (f *faults) add(path string, err error) {
	if err == nil {
		return
	}
	p := f.Problem(path, err)
	if !slices.ContainsFunc(f.found, func(q config.Problem) bool { return q.Text == p.Text }) {
		f.found = append(f.found, p)
	}
}

func (f *faults) orNil() error {
	if len(f.found) == 0 {
		return nil
	}
	return &exitError{exitConfig, f.found}
}

const accessLog = "access log"

// checkMachine finds the faults for which no server is asked, and nothing is bound.
func checkMachine(l *config.Loaded) error {
	f := &faults{Loaded: l}
	f.server(server.Check(l.Server()))
	f.add("access_log.file", checkLog(accessLog, l.AccessLog.File))
	f.add("log.file", checkLog("log", l.Log.File))
	f.add("pid_file", checkPID(l.PIDFile))
	_, err := l.Admin.Bearer()
	f.add("admin.token_file", err)
	f.add("congestion", listen.CheckCongestion(l.Server().Engine.Congestion))
	f.locations("", l.Root, l.Locations)
	for name, h := range l.Hosts {
		f.add("hosts["+name+"].access_log.file", checkLog(accessLog, h.AccessLog.File))
		root := cmp.Or(h.Root, l.Root)
		if h.Release != "" {
			root = "" // it has several
		}
		f.locations("hosts["+name+"].", root, h.Locations)
	}
	return f.orNil()
}

// server sorts the faults of server.Check by the values that they are about.
func (f *faults) server(err error) {
	if file, ok := err.(*server.Fault); ok { //nolint:errorlint // what it wraps is not looked for
		host, place := "", ""
		if file.Host != "" {
			host = "hosts[" + file.Host + "]."
		}
		if file.Match != "" {
			place = "locations[" + file.Match + "]."
		}
		key := file.Key
		if host+place == "" && strings.HasPrefix(key, "error_pages") {
			key = "files." + key
		}
		f.add(strings.TrimSuffix(host+place+key, "."), file.Err)
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok && errors.As(err, new(*server.Fault)) {
		for _, e := range many.Unwrap() {
			f.server(e)
		}
	} else if err != server.ErrConfig { //nolint:errorlint // alone it is what such a fault wraps
		f.add("", err)
	}
}

// locations finds logs that cannot be written, and rules of access that hold for nothing: a
// location is a directory.
func (f *faults) locations(host, root string, locations map[string]config.Location) {
	for prefix, l := range locations {
		f.add(host+"locations["+prefix+"].access_log.file", checkLog(accessLog, l.AccessLog.File))
		name := filepath.Join(root, prefix) // of what is no prefix it is not there
		info, err := os.Stat(name)
		if root == "" || err != nil || info.IsDir() {
			continue
		}
		for key, there := range map[string]bool{
			"allow": l.Allow != nil, "deny": l.Deny != nil, "password_file": l.PasswordFile != nil, "referers": l.Referers != nil,
			"allow_agents": l.AllowAgents != nil, "deny_agents": l.DenyAgents != nil,
		} {
			if there {
				f.add(host+"locations["+prefix+"]."+key, fmt.Errorf("%s is a file: the rule is for the paths below %s, and not for the file", name, prefix))
			}
		}
	}
}

// checkAddresses finds the addresses that could not be listened on. What another fserve listens at
// is among them if there is to be no successor of it.
func checkAddresses(l *config.Loaded, alone bool) error {
	f := &faults{Loaded: l}
	for path, addr := range l.Addresses() {
		err := listen.Check(addr)
		if errors.Is(err, unix.EADDRINUSE) {
			err = inUse(addr, err, alone)
		}
		if err != nil {
			f.add(path, fmt.Errorf("%s: %w", addr, err))
		}
	}
	return f.orNil()
}

// inUse says who listens at an address. That a running fserve does, or the service manager for
// it, is a fault for one alone only: else the configuration is for its successor.
func inUse(addr string, err error, alone bool) error {
	for _, l := range listeners(addr) {
		pid, name := holder("socket:[" + l.inode + "]")
		self, _ := os.ReadFile("/proc/self/comm")
		// The sandbox of a service hides processes: what is of its user is taken for its own.
		ours := name == "" && l.uid == os.Geteuid() && os.Getenv("INVOCATION_ID") != ""
		switch {
		case ours, name == "systemd", !alone && name != "" && name == strings.TrimSpace(string(self)):
			return nil
		case name != "":
			return fmt.Errorf("%w: by %s, process %d", err, name, pid)
		}
	}
	return fmt.Errorf("%w: by a process that this user cannot look at", err)
}

// listener is a socket that listens.
type listener struct {
	inode string
	uid   int // of its maker
}

// listeners returns the sockets that listen at the port or path of an address.
func listeners(addr string) (list []listener) {
	path, local := strings.CutPrefix(addr, listen.UnixPrefix)
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	suffix := fmt.Sprintf(":%04X", n)
	for _, table := range []string{"tcp", "tcp6", "unix"} {
		b, _ := os.ReadFile("/proc/net/" + table) // without it nobody is found
		for line := range strings.Lines(string(b)) {
			c := strings.Fields(line)
			switch {
			case local && table == "unix" && len(c) == 8 && c[7] == path:
				var st unix.Stat_t
				_ = unix.Stat(path, &st) // it may be gone
				list = append(list, listener{c[6], int(st.Uid)})
			case !local && table != "unix" && len(c) > 9 && c[3] == "0A" && strings.HasSuffix(c[1], suffix): // LISTEN
				uid, _ := strconv.Atoi(c[7])
				list = append(list, listener{c[9], uid})
			}
		}
	}
	return list
}

// holder returns a process that has a file, as /proc names it, open; no name: none that this
// user can look at.
func holder(file string) (pid int, name string) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != file {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(filepath.Join(process, "comm")) // it may have ended
		pid, _ = strconv.Atoi(filepath.Base(process))
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}
