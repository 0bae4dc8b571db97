package openfile

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/fallback"
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/uring"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// eachDriver runs a test on every driver that there is here.
func eachDriver(t *testing.T, test func(*testing.T, makeDriver)) {
	t.Run("fallback", func(t *testing.T) { test(t, onFallback) })
	t.Run("uring", func(t *testing.T) {
		testenv.NeedUring(t)
		test(t, func() (aio.Driver, error) { return uring.New(aio.Config{}) })
	})
}

type makeDriver func() (aio.Driver, error)

func onFallback() (aio.Driver, error) { return fallback.New(aio.Config{}) }

// cacheTest is a cache over a directory, whose time stands still.
type cacheTest struct {
	*testing.T
	now  int64
	fs   *Files
	root *Root
	dir  string

	policy Policy
}

func newCacheTest(t *testing.T, driver makeDriver, cfg Config) *cacheTest {
	t.Helper()
	dir := t.TempDir()
	root, err := OpenRoot(dir, SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	d, err := driver()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Max, cfg.MaxBody, cfg.MaxBytes = cmp.Or(cfg.Max, 4096), cmp.Or(cfg.MaxBody, 8<<10), cmp.Or(cfg.MaxBytes, 64<<20)
	cfg.MaxLarge = cmp.Or(cfg.MaxLarge, cfg.MaxBytes)
	cfg.Driver, cfg.Stats = d, new(Stats)
	cfg.CloseFD = func(fd int32) { unix.Close(int(fd)) }
	cfg.Wall = func() int64 { return time.Now().UnixNano() }
	c := &cacheTest{T: t, now: d.Now(), fs: NewFiles(cfg), root: root, dir: dir}
	c.fs.Turn(c.now)
	t.Cleanup(func() {
		if err := d.Destroy(); err != nil {
			t.Errorf("destroy: %v", err)
		}
		c.fs.Close()
		if s := c.fs.stats; s.Open != 0 || s.Bytes != 0 {
			t.Errorf("the cache is not empty: %+v", *s)
		}
	})
	return c
}

func writeFile(t *testing.T, path string, p []byte) {
	t.Helper()
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

// write makes a file and reads it into the page cache.
func (c *cacheTest) write(name, content string) {
	c.Helper()
	writeFile(c.T, filepath.Join(c.dir, name), []byte(content))
}

// turn is a turn of the loop that begins d after the last one.
func (c *cacheTest) turn(d time.Duration) {
	c.now += int64(d)
	c.fs.Turn(c.now)
}

// open looks a file up as a session does, in a turn of its own.
func (c *cacheTest) open(name string) *File {
	c.Helper()
	c.turn(1)
	if f := c.fs.Get([]byte(name)); f != nil {
		return f
	}
	f, e := c.lookup(name)
	if e != 0 {
		c.Fatalf("open %s: %v", name, e)
	}
	return f
}

// hot looks a file up until its content is kept.
func (c *cacheTest) hot(name string) *File {
	c.Helper()
	for range ripe {
		c.open(name)
	}
	return c.open(name)
}

// lookup asks the file system about a file, waiting for the disk if need be.
func (c *cacheTest) lookup(name string) (*File, syscall.Errno) {
	f, e := c.fs.Open(c.root, name, name, c.policy)
	if e == syscall.EAGAIN {
		f, e = c.fs.Add(name, c.root.Open(name, false), c.policy)
	}
	return f, e
}

// check checks the cache's books.
func (c *cacheTest) check() {
	c.Helper()
	var n int64
	for _, f := range c.fs.clock {
		if f.Body != nil {
			n += f.Size
			if f.block.file != f || &c.fs.arenaOf(f).bytes(f.block)[0] != &f.room[0] {
				c.Errorf("the body of file %s is not in its block", f.key)
			}
		}
		if !f.cached || c.fs.entries[f.key] != f {
			c.Errorf("file %s is in the clock and not in the cache", f.key)
		}
	}
	if most := int64(c.fs.small.size + c.fs.large.size); n > c.fs.stats.Bytes || c.fs.stats.Bytes > most { // more: of responses
		c.Errorf("%d bytes are held, %d noted, %d allowed", n, c.fs.stats.Bytes, most)
	}
	checkArena(c.T, &c.fs.small)
	checkArena(c.T, &c.fs.large)
	if n := len(c.fs.clock); n != len(c.fs.entries) || n > c.fs.max || c.fs.stats.Open < n {
		c.Errorf("%d files, %d entries, %d open, %d allowed", n, len(c.fs.entries), c.fs.stats.Open, c.fs.max)
	}
}

func isOpen(fd int32) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// TestFilesSeeChanges: whatever happens to a file, a second later at most the
// cache has the new one, and who sends the old one goes on with it.
func TestFilesSeeChanges(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(c *cacheTest, path string) error
		want string // "": the file is gone
	}{
		{"modified in place", func(c *cacheTest, path string) error { return os.WriteFile(path, []byte("NEW"), 0o644) }, "NEW"},
		{"longer", func(c *cacheTest, path string) error { return os.WriteFile(path, []byte("longer"), 0o644) }, "longer"},
		{"truncated", func(c *cacheTest, path string) error { return os.Truncate(path, 1) }, "o"},
		{"replaced", func(c *cacheTest, path string) error {
			c.write("new", "rep")
			return os.Rename(filepath.Join(c.dir, "new"), path)
		}, "rep"},
		{"removed", func(c *cacheTest, path string) error { return os.Remove(path) }, ""},
	} {
		t.Run(change.name, func(t *testing.T) {
			eachDriver(t, func(t *testing.T, kind makeDriver) {
				c := newCacheTest(t, kind, Config{})
				path := filepath.Join(c.dir, "f")
				c.write("f", "old")
				past := time.Now().Add(-time.Hour) // file systems count time in ticks
				if err := os.Chtimes(path, past, past); err != nil {
					t.Fatal(err)
				}
				old := c.hot("f")
				old.Retain()
				if err := change.do(c, path); err != nil {
					t.Fatal(err)
				}
				c.turn(time.Second - 10)
				if c.fs.Get([]byte("f")) != old {
					t.Error("the file was asked about before a second had passed")
				}
				c.turn(20)
				if c.fs.Get([]byte("f")) != nil {
					t.Error("the file is believed for more than a second")
				}
				f, e := c.lookup("f")
				if change.want == "" {
					if e != syscall.ENOENT {
						t.Errorf("a file that is gone: %v", e)
					}
				} else if e != 0 || f == old || string(f.Content()) != change.want {
					t.Fatalf("after the change: error %v, the old file %v, body %q", e, f == old, f.Content())
				}
				if string(old.Body) != "old" || !isOpen(old.lent.FD) || old.cached {
					t.Errorf("the version that is being sent: %q, open %v, cached %v", old.Body, isOpen(old.lent.FD), old.cached)
				}
				fd := old.lent.FD
				old.Release()
				if old.lent.FD != -1 || isOpen(fd) && f == nil {
					t.Error("the old version stays open")
				}
				c.check()
			})
		})
	}
}

// TestFilesChangedWhileOpened: what is kept of a file is of the version that was
// opened, or nothing is kept.
func TestFilesChangedWhileOpened(t *testing.T) {
	eachDriver(t, func(t *testing.T, kind makeDriver) {
		for _, size := range []int{10, 50_000} { // with a body and without
			c := newCacheTest(t, kind, Config{})
			path := filepath.Join(c.dir, "f")
			c.write("f", string(bytes.Repeat([]byte("o"), size)))
			past := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, past, past); err != nil {
				t.Fatal(err)
			}
			o := c.root.Open("f", false)
			c.write("f", string(bytes.Repeat([]byte("N"), size)))
			f, e := c.fs.Add("f", o, c.policy)
			if e != 0 {
				t.Fatal(e)
			}
			if f.Content() != nil {
				t.Errorf("%d bytes: the new content is taken for that of the old file", size)
			}
			c.turn(2 * time.Second)
			if g := c.open("f"); g == f || (g.Content() == nil) != (size > 10) {
				t.Errorf("%d bytes: a second later it is still the old file", size)
			}
			c.check()
		}
	})
}

func TestFilesUnchangedStays(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	c.write("f", "content")
	f := c.open("f")
	fds := len(testenv.FDs(t))
	for range 5 {
		c.turn(2 * time.Second)
		if c.open("f") != f {
			t.Fatal("an unchanged file was opened anew")
		}
	}
	if n := len(testenv.FDs(t)); n > fds { // fewer: of a test before
		t.Errorf("%d descriptors, %d before", n, fds)
	}
	if st := c.fs.stats; st.Checks != 5 || st.Misses != 1 || st.Changed != 0 {
		t.Errorf("counters %+v", *st)
	}
}

func TestFilesBoundEntries(t *testing.T) {
	const most = 8
	c := newCacheTest(t, onFallback, Config{Max: most})
	c.write("often", "x")
	often := c.open("often")
	for i := range 100 {
		name := fmt.Sprint(i)
		c.write(name, name)
		c.open(name)
		if c.open("often") != often {
			t.Fatalf("a file that is used all the time made room for others after %d", i)
		}
		c.check()
	}
	if n := c.fs.stats.Open; n > most {
		t.Errorf("%d files are open, want %d at most", n, most)
	}
}

// TestFilesMakeRoomForConnections: files are closed where their descriptors are needed, some at a
// time, and opened again when they are not.
func TestFilesMakeRoomForConnections(t *testing.T) {
	const most = 2 * boundMost
	c := newCacheTest(t, onFallback, Config{Max: most})
	testenv.LimitFDs(t, most+200)
	for i := range most {
		name := fmt.Sprint(i)
		c.write(name, name)
		c.open(name)
	}
	for _, want := range []int{most - boundMost, fewFiles, fewFiles} {
		c.turn(1)
		if c.fs.Bound(1); len(c.fs.clock) != want {
			t.Errorf("%d files, want %d", len(c.fs.clock), want)
		}
	}
	c.check()
	c.fs.Bound(math.MaxInt)
	for i := range most {
		c.open(fmt.Sprint(i))
	}
	if n := len(c.fs.clock); n != most {
		t.Errorf("%d files when there is room again, want %d", n, most)
	}
}

// TestFilesOfOneRequest: what a session has just looked up is not evicted by what
// it looks up next; the bound holds again from the next request on, be it of the same turn.
func TestFilesOfOneRequest(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{Max: 2, MaxBytes: 10})
	var fs []*File
	for i := range 5 {
		name := fmt.Sprint(i)
		c.write(name, "1234")
		f, e := c.lookup(name)
		if e != 0 {
			t.Fatal(e)
		}
		fs = append(fs, f)
	}
	for _, f := range fs {
		if !f.cached || !isOpen(f.lent.FD) {
			t.Errorf("file %s was evicted in the request for which it was looked up", f.key)
		}
	}
	c.fs.BeginRequest()
	c.write("next", "n")
	if _, e := c.lookup("next"); e != 0 {
		t.Fatal(e)
	}
	c.check()
}

// TestFilesEvictSoon: one of many files makes room in as many looks as one of few, also where
// all are in use, or were looked up again; and a descriptor is not looked for among files
// that cannot give it.
func TestFilesEvictSoon(t *testing.T) {
	const most = 4 * evictLooks
	for _, test := range []struct {
		name string
		each func(*File)
	}{
		{"idle", func(*File) {}},
		{"used", func(f *File) { f.used = true }},
		{"in use", (*File).Retain},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCacheTest(t, onFallback, Config{Max: most})
			testenv.LimitFDs(t, most+200)
			var files []*File
			for i := range most {
				name := fmt.Sprint(i)
				c.write(name, name)
				f := c.open(name)
				test.each(f)
				files = append(files, f)
			}
			for i := range most {
				before := c.fs.hand
				name := fmt.Sprint("new", i)
				c.write(name, name)
				c.open(name)
				if looks := c.fs.hand - before; looks > evictLooks {
					t.Fatalf("%d files were looked at to evict one", looks)
				}
				c.check()
			}
			if test.name != "in use" {
				return
			}
			open := c.fs.stats.Evicted
			for _, f := range c.fs.clock {
				if !f.InUse() {
					f.Retain()
					files = append(files, f)
				}
			}
			if c.fs.Spare() || c.fs.stats.Evicted != open {
				t.Error("a file that is in use was let go of for its descriptor")
			}
			for _, f := range files {
				f.Release()
			}
		})
	}
}

func TestFilesBoundBytes(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{MaxBytes: 100_000, MaxBody: 60_000})
	for round := range 5 {
		for i := range 20 {
			name := fmt.Sprint(i)
			if round == 0 {
				c.write(name, string(make([]byte, 1000+7000*(i%8))))
			}
			c.open(name)
			c.check()
		}
	}
	if c.fs.stats.Bytes < 50_000 || c.fs.stats.Evicted != 0 {
		t.Errorf("%d bytes held, %d files evicted", c.fs.stats.Bytes, c.fs.stats.Evicted)
	}
}

// TestFilesTooLargeToKeep: a body that can never fit drives nobody out.
func TestFilesTooLargeToKeep(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{MaxBytes: 1000, MaxBody: 5000})
	c.write("small", "s")
	small := c.hot("small")
	c.write("large", string(make([]byte, 2000)))
	if f := c.hot("large"); f.Body != nil {
		t.Error("a body over the bound is kept")
	}
	if c.open("small") != small || small.Body == nil {
		t.Error("another file had to go in vain")
	}
	c.check()
}

// TestFilesPinned: a file that a driver still reads is closed when it does not
// any more.
func TestFilesPinned(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	c.write("f", "content")
	f := c.open("f")
	fd := f.lent.FD
	f.lent.Pins = 1
	c.turn(1)
	c.fs.drop(f)
	c.fs.Sweep()
	if f.lent.FD != fd || !isOpen(fd) || !c.fs.MustSweep() {
		t.Error("a pinned file was closed")
	}
	f.lent.Pins = 0
	c.fs.Sweep()
	if f.lent.FD != -1 || isOpen(fd) || c.fs.MustSweep() {
		t.Error("a file stays open although nobody reads it")
	}
}

// TestFilesOutOfDescriptors: a file that is not in use makes room for another,
// and one that is in use does not.
func TestFilesOutOfDescriptors(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	for _, name := range []string{"used", "idle", "new", "newer"} {
		c.write(name, name)
	}
	testenv.LimitFDs(t, 20)
	c.open("used").Retain()
	used := c.fs.entries["used"]
	idle := c.open("idle")
	restore := testenv.ExhaustFDs(t)
	c.turn(1)
	f, e := c.fs.Open(c.root, "new", "new", c.policy)
	c.turn(1)
	f.Retain()
	_, e2 := c.fs.Open(c.root, "newer", "newer", c.policy)
	restore()
	if e != 0 || !isOpen(f.lent.FD) || idle.lent.FD != -1 {
		t.Errorf("open without descriptors: %v; the idle file has descriptor %d", e, idle.lent.FD)
	}
	if e2 != syscall.EMFILE || !isOpen(used.lent.FD) {
		t.Errorf("open with every file in use: %v", e2)
	}
	f.Release()
	used.Release()
	c.check()
}

func TestFilesRefused(t *testing.T) {
	c := newCacheTest(t, onFallback, Config{})
	for _, o := range []struct {
		opened Opened
		want   syscall.Errno
	}{
		{Opened{FD: -1, Err: syscall.ENOENT}, syscall.ENOENT},
		{Opened{FD: -1, Stat: unix.Stat_t{Mode: unix.S_IFDIR}}, syscall.EISDIR},
		{Opened{FD: -1, Stat: unix.Stat_t{Mode: unix.S_IFIFO}}, syscall.ENXIO},
	} {
		c.write("f", "content")
		c.open("f")
		if f, e := c.fs.Add("f", o.opened, c.policy); f != nil || e != o.want || len(c.fs.entries) != 0 {
			t.Errorf("%+v: error %v, want %v, %d entries", o.opened.Err, e, o.want, len(c.fs.entries))
		}
	}
	f := c.open("f")
	if g, e := c.fs.Add("f", Opened{FD: -1, Err: syscall.EAGAIN}, c.policy); g != nil || e != syscall.EAGAIN || c.fs.entries["f"] != f {
		t.Errorf("not in memory: %v", e)
	}
}
