// Package kernels runs tests on another kernel than that of the machine: Debian's, in a virtual
// machine that qemu emulates.
//
// It needs FSERVE_KERNELS=1 (make kernels), or the name of one of the suites, and the programs qemu-system-x86_64, apt-get, dpkg-deb and mkfs.ext4:
// an emulated processor is some twenty times slower than the real one.
package kernels

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	bootTime = 3 * time.Minute // of the machine, beside its tests
	testTime = 15 * time.Minute

	diskBytes = 2 << 30
)

// plan is guest.Plan.
type plan struct {
	Modules []string
	Tests   []guestTest
	Env     []string
}

type guestTest struct {
	Name    string
	Command []string
	Dir     string
	Seconds int
	Env     string
}

// suites are the packages whose tests run there, and which.
var suites = []struct{ name, pkg, run, env string }{
	{name: "tlsrec", pkg: "./internal/tlsrec"},
	{name: "uring", pkg: "./uring"},
	{name: "fallback", pkg: "./fallback"},
	{name: "tls", pkg: "./server", run: "TLS|Certificate", env: "FSERVE_REQUIRE_KERNEL_TLS=1"},
}

// needed are modules: what the kernel would fetch by itself if it had a system around it.
var needed = []string{
	"virtio_pci", "virtio_blk", "crc32c_generic", "ext4",
	"tls", "gcm", "ctr", "ghash_generic", "aesni_intel", "chacha20poly1305", "veth", "tun", "fuse",
}

func TestKernel(t *testing.T) {
	if os.Getenv("FSERVE_KERNELS") == "" {
		t.Skip("FSERVE_KERNELS is not set: see make kernels")
	}
	for _, p := range []string{"qemu-system-x86_64", "apt-get", "dpkg-deb", "mkfs.ext4"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is not installed", p)
		}
	}
	kernel, tree := debianKernel(t)
	var m image
	p := plan{Env: []string{"FSERVE_REQUIRE_URING=1", "FSERVE_SLOW=10"}}
	var err error
	if p.Modules, err = m.modules(tree, needed...); err != nil {
		t.Fatal(err)
	}
	m.add("init", 0o755, built(t, "build", "./test/kernels/guest"))
	for _, s := range suites {
		if only := os.Getenv("FSERVE_KERNELS"); only != "1" && only != s.name {
			continue
		}
		program := "/tests/" + s.name
		m.add(program, 0o755, built(t, "test", s.pkg, "-c"))
		m.add("/tests/"+s.name+".d/x", 0o644, nil)
		p.Tests = append(p.Tests, guestTest{
			Name: s.name, Dir: "/tests/" + s.name + ".d", Seconds: int(testTime.Seconds()),
			Command: []string{program, "-test.short", "-test.timeout=30m", "-test.v", "-test.run=" + s.run}, Env: s.env,
		})
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	m.add("plan.json", 0o644, text)
	boot(t, kernel, m.end(), p)
}

// boot runs the machine, and reports how its tests ended.
func boot(t *testing.T, kernel string, ram []byte, p plan) {
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, ram, 0o600); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, diskBytes)); err != nil {
		t.Fatal(err)
	}
	command(t, ".", "mkfs.ext4", "-q", "-F", disk)
	ctx, cancel := context.WithTimeout(t.Context(), bootTime+time.Duration(len(p.Tests))*testTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
		"-drive", "file="+disk+",format=raw,if=virtio,cache=unsafe", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", kernel, "-initrd", file, "-append", "console=ttyS0 quiet panic=-1 rdinit=/init")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	passed, done := 0, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Println(line) // at once: it takes minutes
		done = done || line == "guest: done"
		if guestPassed.MatchString(line) {
			passed++
		}
	}
	if err := cmd.Wait(); err != nil || !done || passed != len(p.Tests) {
		t.Errorf("%d of %d programs passed, the machine came to its end: %v (%v)\n%s", passed, len(p.Tests), done, err, errs.String())
	}
}

var guestPassed = regexp.MustCompile(`^guest: \w+: passed in`)

// debianKernel returns the kernel of this release of Debian, and the tree of its modules.
func debianKernel(t *testing.T) (kernel, tree string) {
	dir := t.TempDir()
	command(t, dir, "apt-get", "-q", "update")
	depends := string(command(t, dir, "apt-cache", "depends", "linux-image-amd64"))
	m := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindStringSubmatch(depends)
	if m == nil {
		t.Fatalf("which kernel is it? %s", depends)
	}
	command(t, dir, "apt-get", "-q", "download", m[1])
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(files) != 1 {
		t.Fatalf("packages %v, error %v", files, err)
	}
	command(t, dir, "dpkg-deb", "-x", files[0], "x")
	found, err := filepath.Glob(filepath.Join(dir, "x/boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("kernels %v, error %v", found, err)
	}
	t.Log("kernel:", filepath.Base(found[0]))
	return found[0], filepath.Join(dir, "x/lib/modules")
}

// built returns a program of this module that needs no library of the system.
func built(t *testing.T, verb, pkg string, args ...string) []byte {
	out := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", append(append([]string{verb}, args...), "-o", out, pkg)...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", pkg, err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func command(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}
