package openfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFilesReadAgainWhenSettled: a writer that was under way when a young file
// was read may have left no trace in its time, so the file is read once more
// when it has come of age, and not again after that.
func TestFilesReadAgainWhenSettled(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	wall := time.Now().UnixNano()
	c.fs.wall = func() int64 { return wall }
	path := filepath.Join(c.dir, "f")
	mapped := mapFile(t, path, "old")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	wall = st.ModTime().UnixNano()
	if got := string(c.hot("f").Body); got != "old" {
		t.Fatalf("body %q", got)
	}
	copy(mapped, "new") // other bytes, the same times
	c.turn(time.Duration(fresh) + 1)
	if got := string(c.open("f").Body); got != "old" {
		t.Errorf("body %q of a young file that seems unchanged", got)
	}
	wall += settling
	c.turn(time.Duration(fresh) + 1)
	settled := c.open("f")
	if got := string(settled.Content()); got != "new" {
		t.Errorf("body %q after settling", got)
	}
	c.turn(time.Duration(fresh) + 1)
	if c.open("f") != settled {
		t.Error("a settled file was read again")
	}
	c.check()
}

// mapFile makes a file and maps it. The first bytes that are put into the mapping move its
// times, later ones do not.
func mapFile(t *testing.T, path, content string) []byte {
	t.Helper()
	writeFile(t, path, []byte(content))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(p) })
	copy(p, content)
	return p
}
