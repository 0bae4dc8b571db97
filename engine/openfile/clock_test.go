package openfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

func TestResolution(t *testing.T) {
	for _, c := range []struct {
		name       string
		magic      uint32
		fraction   int64
		multigrain bool
		want       int64
	}{
		{"ext4", unix.EXT4_SUPER_MAGIC, 1, true, 0},
		{"ext4 before 6.13", unix.EXT4_SUPER_MAGIC, 1, false, tick},
		{"ext4 with inodes of 128 bytes", unix.EXT4_SUPER_MAGIC, 0, true, coarse},
		{"XFS", unix.XFS_SUPER_MAGIC, 1, true, 0},
		{"Btrfs", unix.BTRFS_SUPER_MAGIC, 1, true, 0},
		{"tmpfs", unix.TMPFS_MAGIC, 1, true, 0},
		{"overlayfs", unix.OVERLAYFS_SUPER_MAGIC, 1, true, tick},
		{"ZFS", magicZFS, 1, true, tick},
		{"FAT", unix.MSDOS_SUPER_MAGIC, 0, true, coarse},
		{"NFS", unix.NFS_SUPER_MAGIC, 1, true, coarse},
		{"FUSE", unix.FUSE_SUPER_MAGIC, 1, true, coarse},
		{"an unknown one", 0x12345678, 1, true, coarse},
	} {
		if got := resolution(c.magic, c.fraction, c.multigrain); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, time.Duration(got), time.Duration(c.want))
		}
	}
}

// The instant that counts is that of the last change of any kind. One that is far ahead was
// set by somebody.
func TestIndistinct(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	writeFile(t, path, []byte("x"))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	st.Ctim.Nsec = 0 // whole seconds
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {1999 * time.Millisecond, true}, {2 * time.Second, false}, {-time.Second, true}, {-time.Hour, false}} {
		if got := indistinct(int(f.Fd()), &st, st.Ctim.Nano()+int64(c.age)); got != c.want {
			t.Errorf("%v after the change: %v, want %v", c.age, got, c.want)
		}
	}
}

// What the kernel promises, on the file systems that tests run on: after Open says that a
// file is distinct, a change of it brings another time.
func TestDistinctMeansAnotherTime(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm"} {
		dir, err := os.MkdirTemp(dir, "clock")
		if err != nil {
			t.Logf("left out: %v", err)
			continue
		}
		defer os.RemoveAll(dir)
		r := openRoot(t, dir, SymlinksInside, false)
		told := 0
		for i := range 2000 {
			writeFile(t, filepath.Join(dir, "f"), []byte{byte(i)})
			before := r.Open("f", false)
			writeFile(t, filepath.Join(dir, "f"), []byte{byte(i + 1)})
			after := r.Open("f", false)
			unix.Close(int(before.FD))
			unix.Close(int(after.FD))
			if before.Indistinct {
				continue
			}
			if told++; before.Stat.Mtim == after.Stat.Mtim || before.Stat.Ctim == after.Stat.Ctim {
				t.Fatalf("%s: changed, and has the same time", dir)
			}
		}
		t.Logf("%s: %d of 2000 told apart, multigrain %v", dir, told, multigrain())
	}
}

// A version that may change without a trace is opened anew once another would have one.
func TestFilesOpenIndistinctAgain(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	c.write("f", "old")
	o := c.root.Open("f", false)
	o.Indistinct = true
	f, e := c.fs.Add("f", o, Policy{})
	if e != 0 || !f.Indistinct {
		t.Fatalf("indistinct %v, %v", f.Indistinct, e)
	}
	o = c.root.Open("f", false)
	o.Indistinct = false
	again, e := c.fs.Add("f", o, Policy{})
	if e != 0 || again == f || again.Indistinct {
		t.Errorf("the same file %v, indistinct %v, %v", again == f, again.Indistinct, e)
	}
	c.check()
}

// A time of modification that was set back hides no change.
func TestFilesSeeTimesSetBack(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	path, then := filepath.Join(c.dir, "f"), time.Unix(1, 0)
	for _, content := range []string{"old", "new"} {
		c.write("f", content)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		c.turn(time.Duration(fresh) + 1)
		if got := c.open("f").Content(); string(got) != content {
			t.Errorf("body %q, want %q", got, content)
		}
	}
	c.check()
}

// Reading moves the time of access.
func TestFilesMoveAtime(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	var fs unix.Statfs_t
	if err := unix.Statfs(c.dir, &fs); err != nil || fs.Flags&unix.ST_NOATIME != 0 {
		t.Skipf("mounted with noatime, or %v", err)
	}
	path, then := filepath.Join(c.dir, "f"), time.Now().Add(-48*time.Hour)
	c.write("f", "content")
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
	if f := c.open("f"); string(f.Content()) != "content" {
		t.Fatalf("body %q", f.Content())
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(time.Unix(0, st.Atim.Nano())); age > time.Hour {
		t.Errorf("read %v ago", age)
	}
}

type countingDriver struct {
	Driver
	reads int
}

func (d *countingDriver) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	d.reads++
	return d.Driver.ReadAt(f, p, off)
}

// What is sent from memory is read once a day, so that it is not taken for unused.
func TestFilesTouchBodies(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	d := &countingDriver{Driver: c.fs.driver}
	c.fs.driver = d
	c.write("f", "content")
	f := c.hot("f")
	for _, age := range []time.Duration{time.Hour, 25 * time.Hour} {
		o := c.root.Open("f", false)
		o.Stat.Atim = unix.NsecToTimespec(o.At - int64(age))
		reads := d.reads
		if g, e := c.fs.Add("f", o, Policy{}); e != 0 || g != f {
			t.Fatalf("another file, %v", e)
		}
		if d.reads > reads != (age > 24*time.Hour) {
			t.Errorf("read %v ago: %d reads", age, d.reads-reads)
		}
	}
}
