package server_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/server"
)

// brokenDisk is a mounted file system that lies in a file.
type brokenDisk struct{ image, dir string }

// newDisk mounts a file system with files of patterned bytes. The test is
// skipped where that cannot be done: it needs root, loop devices and mkfs.
func newDisk(t *testing.T, p testenv.Pattern, sizes map[string]int64) *brokenDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	tmp := t.TempDir()
	d := &brokenDisk{image: filepath.Join(tmp, "image"), dir: filepath.Join(tmp, "mnt")}
	content := filepath.Join(tmp, "content")
	for _, dir := range []string{content, d.dir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range sizes {
		f, err := os.Create(filepath.Join(content, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.WriteAt(f, 0, n), f.Close()); err != nil {
			t.Fatal(err)
		}
		age(t, filepath.Join(content, name))
	}
	// Files are laid out one behind the other, as they are found, behind the
	// file system's own blocks.
	for _, cmd := range [][]string{
		{"truncate", "-s", "64M", d.image},
		{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-d", content, d.image},
		{"mount", "-o", "loop,ro", d.image, d.dir},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no disk to break: %s: %v: %s", cmd[0], err, out)
		}
	}
	t.Cleanup(func() {
		// The kernel may still hold pages of a response that was cut off.
		if !testenv.Eventually(patience, func() bool { return unix.Unmount(d.dir, 0) == nil }) {
			t.Errorf("%s cannot be unmounted", d.dir)
			_ = unix.Unmount(d.dir, unix.MNT_DETACH)
		}
	})
	return d
}

// cut takes the disk away behind its first n bytes: reads there give EIO.
func (d *brokenDisk) cut(t *testing.T, n int64) {
	t.Helper()
	if err := os.Truncate(d.image, n); err != nil {
		t.Fatal(err)
	}
}

// A file that cannot be read to its end gives a reset connection, never a body
// that looks whole; it is counted, logged once, and harms nobody else.
func TestDiskError(t *testing.T) {
	onBoth(t, func(t *testing.T, driver engine.DriverKind) {
		const size = 40 << 20
		p := testenv.NewPattern(23)
		disk := newDisk(t, p, map[string]int64{"big.bin": size})
		g := start(t, driver, server.Config{Site: server.Site{Root: disk.dir}, Routes: []server.Route{{Prefix: "/echo", Handler: echo}}})
		other := g.dial()
		other.get("/echo").want(t, 200)

		disk.cut(t, 30<<20)
		for i := range 2 {
			c := g.dial()
			c.send(request("GET", "/big.bin"))
			r, err := readHead(c.r)
			if err != nil {
				t.Fatal(err)
			}
			r.want(t, 200)
			got, err := io.ReadAll(c.r)
			if !errors.Is(err, syscall.ECONNRESET) || len(got) >= size {
				t.Errorf("%d of %d bytes, then %v; want a reset", len(got), size, err)
			}
			if err := p.Check(got, 0); err != nil {
				t.Error(err)
			}
			g.wantEnds(engine.FileFailed, uint64(i+1))
			if n := g.logs.count("response cut off"); n != i+1 {
				t.Errorf("logged %d times for %d responses", n, i+1)
			}
		}
		other.get("/echo").want(t, 200)
		r := other.get("/big.bin", "Range: bytes=0-99999") // what is there is served
		r.want(t, 206)
		if err := p.Check(r.body, 0); err != nil {
			t.Error(err)
		}
		g.wantOpen(1)
		g.once(http.MethodGet, "/nothing").want(t, 404)
	})
}
