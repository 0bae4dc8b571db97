package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// machine makes a System of files, over a healthy one.
func machine(t *testing.T, files map[string]string) System {
	t.Helper()
	s := System{Proc: t.TempDir(), Sys: t.TempDir(), CPUs: 8, Uring: func() error { return nil }, Openat2: func() error { return nil },
		KernelTLS: func() error { return nil },
		Files:     func(string) (FileSystem, error) { return FileSystem{Name: "xfs", Cachestat: true, Nowait: true}, nil }}
	all := map[string]string{
		"proc/sys/kernel/osrelease": "6.18.1-x\n", "proc/sys/kernel/io_uring_disabled": "0\n",
		"proc/sys/net/ipv4/tcp_congestion_control": "cubic\n", "proc/sys/net/core/default_qdisc": "fq_codel\n",
		"proc/sys/net/core/somaxconn": "4096\n", "proc/self/status": "Name:\tx\nSeccomp:\t0\n",
		"proc/self/limits":      limits("1048576", "8388608"),
		"sys/fs/cgroup/cpu.max": "max 100000\n",
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		root, rest, _ := strings.Cut(name, "/")
		path := filepath.Join(map[string]string{"proc": s.Proc, "sys": s.Sys}[root], rest)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func limits(files, locked string) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		fmt.Sprintf("Max open files            %-20s 1048576              files     \n", files) +
		fmt.Sprintf("Max locked memory         %-20s unlimited            bytes     \n", locked)
}

func (r Report) find(name string) Finding {
	for _, f := range r {
		if f.Name == name {
			return f
		}
	}
	return Finding{}
}

func TestHealthy(t *testing.T) {
	r := Examine(machine(t, nil), "/srv")
	if !r.Healthy() || len(r) != 12 {
		t.Errorf("%+v", r)
	}
	for _, f := range r {
		if f.Status != OK || f.Lost != "" || f.Mend != "" || f.Found == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestFindings(t *testing.T) {
	denied := func() error { return fmt.Errorf("set up: %w", syscall.EPERM) }
	files := func(fs FileSystem) func(string) (FileSystem, error) {
		return func(string) (FileSystem, error) { return fs, nil }
	}
	for _, test := range []struct {
		name        string
		files       map[string]string
		change      func(*System)
		status      Status
		found, mend string
	}{
		{"kernel", map[string]string{"proc/sys/kernel/osrelease": "5.15.0"}, nil, Warning, "5.15", "6.6"},
		{"kernel", map[string]string{"proc/sys/kernel/osrelease": "6.1.0-18-amd64"}, nil, Note, "6.1", "6.6"},
		{"kernel", map[string]string{"proc/sys/kernel/osrelease": ""}, nil, Warning, "unknown", "/proc"},
		{"io_uring", map[string]string{"proc/sys/kernel/io_uring_disabled": "2"}, func(s *System) { s.Uring = denied }, Warning, "io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0"},
		{"io_uring", map[string]string{"proc/self/status": "Seccomp:\t2\n"}, func(s *System) { s.Uring = denied }, Warning, "not permitted", "SystemCallFilter=@aio"},
		{"io_uring", map[string]string{"proc/sys/kernel/osrelease": "5.10.1"}, func(s *System) { s.Uring = func() error { return syscall.EINVAL } }, Warning, "invalid", "Linux 6.0"},
		{"io_uring", nil, func(s *System) { s.Uring = func() error { return syscall.ENOMEM } }, Warning, "memory", "LimitMEMLOCK"},
		{"io_uring", nil, func(s *System) { s.Uring = func() error { return errors.New("odd") } }, Warning, "odd", "--driver=uring"},
		{"openat2", map[string]string{"proc/self/status": "Seccomp:\t2\n"}, func(s *System) { s.Openat2 = denied }, Warning, "not permitted", "@file-system"},
		{"openat2", nil, func(s *System) { s.Openat2 = func() error { return syscall.ENOSYS } }, Warning, "not implemented", "Linux 5.12"},
		{"TLS in the kernel", nil, nil, OK, "available", ""},
		{"TLS in the kernel", nil, func(s *System) { s.KernelTLS = func() error { return syscall.ENOENT } }, Note, "no such file", "modprobe tls"},
		{"locked memory", map[string]string{"proc/self/limits": limits("1048576", "65536")}, nil, OK, "64 KiB", ""},
		{"locked memory", map[string]string{"proc/self/limits": limits("1048576", "unlimited")}, nil, OK, "unlimited", ""},
		{"locked memory", nil, func(s *System) { s.Uring = func() error { return syscall.ENOMEM } }, Warning, "8192 KiB", "LimitMEMLOCK"},
		{"open files", map[string]string{"proc/self/limits": limits("1024", "1")}, nil, Warning, "1024", "LimitNOFILE=1048576"},
		{"open files", map[string]string{"proc/self/limits": ""}, nil, Note, "unknown", ""},
		{"cores", map[string]string{"sys/fs/cgroup/cpu.max": "150000 100000"}, nil, Note, "8, of which a quota allows 1.5", "CPUQuota="},
		{"congestion control", map[string]string{"proc/sys/net/ipv4/tcp_congestion_control": "bbr"}, nil, Warning, "bbr, default queue fq_codel", "tc qdisc replace dev eth0 root fq"},
		{"congestion control", map[string]string{"proc/sys/net/ipv4/tcp_congestion_control": "bbr", "proc/sys/net/core/default_qdisc": "fq"}, nil, OK, "bbr", ""},
		{"congestion control", map[string]string{"proc/sys/net/ipv4/tcp_congestion_control": ""}, nil, Note, "unknown", ""},
		{"somaxconn", map[string]string{"proc/sys/net/core/somaxconn": "128"}, nil, Warning, "128", "sysctl -w net.core.somaxconn=4096"},
		{"somaxconn", map[string]string{"proc/sys/net/core/somaxconn": "?"}, nil, Note, "unknown", ""},
		{"file system", nil, func(s *System) { s.Files = files(FileSystem{Name: "overlay"}) }, Note, "overlay", "--volume"},
		{"file system", nil, func(s *System) { s.Files = files(FileSystem{Name: "nfs"}) }, Note, "nfs", "local disk"},
		{"file system", map[string]string{"proc/sys/kernel/osrelease": "6.12.0"}, func(s *System) { s.Files = files(FileSystem{Name: "ext4"}) }, Note, "ext4", "xfs"},
		{"file system", nil, func(s *System) { s.Files = files(FileSystem{Name: "ext4"}) }, OK, "ext4", ""},
		{"file system", nil, func(s *System) { s.Files = lookAt }, Warning, "no such file", "ls -ld"},
		{"residency", nil, func(s *System) { s.Files = files(FileSystem{Name: "ext4", Nowait: true}) }, Note, "RWF_NOWAIT", "owner"},
		{"residency", nil, func(s *System) { s.Files = files(FileSystem{Name: "zfs"}) }, Warning, "unknown", "ext4"},
		{"consistency", nil, func(s *System) { s.Files = files(FileSystem{Name: "ext4"}) }, OK, "read leases", ""},
		{"consistency", nil, func(s *System) { s.Files = files(FileSystem{Name: "ext4", Lease: syscall.EACCES}) }, Note, "looking", "CAP_LEASE"},
		{"consistency", nil, func(s *System) { s.Files = files(FileSystem{Name: "nfs"}) }, Note, "looking", "copy"},
	} {
		s := machine(t, test.files)
		if test.change != nil {
			test.change(&s)
		}
		r := Examine(s, "/not/there")
		f := r.find(test.name)
		if f.Status != test.status || !strings.Contains(f.Found, test.found) || !strings.Contains(f.Mend, test.mend) ||
			(f.Mend == "") != (test.mend == "") || (f.Lost == "") != (test.mend == "") {
			t.Errorf("%s of %v: %+v", test.name, test.files, f)
		}
		if r.Healthy() && test.status == Warning {
			t.Errorf("%s of %v: healthy", test.name, test.files)
		}
	}
}

// This machine is as it is; what is said of it must be whole.
func TestHere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Examine(Here(), dir)
	for _, f := range r {
		if f.Name == "" || f.Found == "" || f.Status == "" || f.Status == Warning && (f.Lost == "" || f.Mend == "") {
			t.Errorf("%+v", f)
		}
	}
	if f := r.find("residency"); f.Status == Warning {
		t.Errorf("%+v", f)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || strings.Count(text.String(), "\n") < len(r) {
		t.Errorf("%v %s", err, text.String())
	}
	t.Logf("\n%s", text.String())
}
