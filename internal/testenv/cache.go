package testenv

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

// DropCache writes f back and drops it from the page cache. It reports false
// where the file system keeps its files in memory (tmpfs), or the kernel
// cannot tell (cachestat(2) is of Linux 6.5).
//
// A page that was sent to a socket by reference may stay for long after the
// peer has received it: the kernel frees packets in batches, on the core that
// made them. So drop files before they are sent, or be content with Evict.
func DropCache(t testing.TB, f *os.File) bool {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	// Pages that another core has just touched cannot be dropped at once.
	return Eventually(500*time.Millisecond, func() bool {
		Evict(t, f, 0, 0)
		n, known := CachedPages(t, f)
		return known && n == 0
	})
}

// TellsCached reports whether the kernel tells what of a file in dir is in memory: cachestat(2) does
// from Linux 6.5 on, and preadv2(2) for most file systems, of which tmpfs is one from 6.6 on.
func TellsCached(t testing.TB, dir string) bool {
	t.Helper()
	f, err := os.CreateTemp(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var cs sys.Cachestat
	if sys.CachestatRange(int32(f.Fd()), 0, 1, &cs) == 0 {
		return true
	}
	_, e := sys.PreadNowait(int32(f.Fd()), make([]byte, 1), 0)
	return aio.Classify(e) != aio.Unsupported
}

// Evict drops what can be dropped of n bytes of f from off; n 0 is to the end.
func Evict(t testing.TB, f *os.File, off, n int64) {
	t.Helper()
	if err := unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// NeedCold drops f from the page cache, and skips the test where that cannot
// be done.
func NeedCold(t testing.TB, f *os.File) {
	t.Helper()
	if !DropCache(t, f) {
		t.Skip("cannot drop files of this file system from the page cache")
	}
}

// Hold brings a file into memory and keeps it there until the end of the test, as far
// as the limit of locked memory (RLIMIT_MEMLOCK) allows. Otherwise the kernel may drop
// pages at any time once they are on the disk. A kernel that gives memory back to its
// host (DAMON, balloons) does so all the time.
func Hold(t testing.TB, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 {
		return
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(p); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mlock(p); err != nil {
		t.Logf("%s may leave memory: mlock: %v", name, err)
	}
}

// CachedPages returns how many pages of f are in the page cache; known is false
// where the kernel does not tell.
func CachedPages(t testing.TB, f *os.File) (n int64, known bool) {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var st sys.Cachestat
	if e := sys.CachestatRange(int32(f.Fd()), 0, info.Size(), &st); e != 0 {
		return 0, false
	}
	return int64(st.Cached), true
}

// Borrow returns f as the engine lends it to a driver.
func Borrow(t testing.TB, f *os.File) *aio.File {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := &aio.File{FD: int32(f.Fd()), Size: info.Size()}
	t.Cleanup(func() {
		if b.Reader > 0 {
			_ = sys.Close(b.Reader)
		}
	})
	return b
}

// ShmDir returns a new directory on tmpfs, which is removed at the end of the
// test, or false if there is no /dev/shm.
func ShmDir(t testing.TB) (string, bool) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fserve-test-")
	if err != nil {
		return "", false
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir, true
}
