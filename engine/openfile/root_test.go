package openfile

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// tree makes files, and links in and out of the root, which is returned.
//
//	root/plain  root/dir/plain  root/dir/deep/plain  outside/secret
func tree(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, dir := range []string{"root/dir/deep", "outside"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"root/plain", "root/dir/plain", "root/dir/deep/plain", "outside/secret"} {
		writeFile(t, filepath.Join(top, name), []byte(name))
	}
	for name, target := range map[string]string{
		"link":          "plain",
		"dir/up":        "../plain",
		"dirlink":       "dir",
		"absolute":      filepath.Join(root, "plain"),
		"out":           filepath.Join(top, "outside/secret"),
		"outrelative":   "../outside/secret",
		"outdir":        "../outside",
		"dir/deep/out2": "../../../outside/secret",
		"loop":          "loop",
		"dangling":      "nothing",
		"magic":         "/proc/self/exe",
		"device":        "/dev/null",
		"dots":          "./dir//../dirlink/./up",
		"dirslash":      "dir/",
		"fileslash":     "plain/",
		"outandin":      "dir/../../root/plain",
		"dir/top":       "..",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// openRoot opens a root; walk makes it as if openat2 were not there.
func openRoot(t *testing.T, dir string, links Symlinks, walk bool) *Root {
	t.Helper()
	r, err := OpenRoot(dir, links)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close root: %v", err)
		}
	})
	if !walk && !r.openat2 {
		t.Skip("this kernel or sandbox has no openat2(2)")
	}
	if walk {
		r.openat2, r.cached = false, 0
	}
	return r
}

// refused are the answers that mean: there is no such file for you.
func refused(e syscall.Errno) bool {
	return slices.Contains([]syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.EXDEV}, e)
}

func TestRootSymlinks(t *testing.T) {
	always := []string{"plain", "dir/plain", "dir/deep/plain"}
	inside := []string{"link", "dir/up", "dirlink/plain", "dirlink/deep/plain", "dots", "dirslash/plain", "dir/top/plain", "dir/top/dirlink/top/link"}
	outside := []string{"absolute", "out", "outrelative", "outdir/secret", "dir/deep/out2", "dirlink/deep/out2", "outandin"}
	never := []string{"loop", "fileslash", "dangling", "nothing", "plain/x", "dir/nothing", "device",
		"", "..", "../outside/secret", "dir/../../outside/secret", "/etc/passwd"}
	dir := tree(t)
	for _, c := range []struct {
		name  string
		links Symlinks
		walk  bool
		open  [][]string
		not   [][]string
	}{
		{"inside", SymlinksInside, false, [][]string{always, inside}, [][]string{outside, never, {"magic"}}},
		{"follow", SymlinksFollow, false, [][]string{always, inside, outside}, [][]string{never}},
		{"deny", SymlinksDeny, false, [][]string{always}, [][]string{inside, outside, never, {"magic"}}},
		{"inside, walking", SymlinksInside, true, [][]string{always, inside}, [][]string{outside, never, {"magic"}}},
		{"follow, walking", SymlinksFollow, true, [][]string{always, inside, outside}, [][]string{never}},
		{"deny, walking", SymlinksDeny, true, [][]string{always}, [][]string{inside, outside, never, {"magic"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.LeakCheck(t)
			r := openRoot(t, dir, c.links, c.walk)
			for _, name := range slices.Concat(c.open...) {
				o := r.Open(name, false)
				if o.FD < 0 || o.Err != 0 {
					t.Errorf("%s: %v", name, o.Err)
					continue
				}
				unix.Close(int(o.FD))
			}
			for _, name := range slices.Concat(c.not...) {
				o := r.Open(name, false)
				if o.FD >= 0 {
					unix.Close(int(o.FD))
					t.Errorf("%s was opened", name)
				} else if o.Err != 0 && !refused(o.Err) {
					t.Errorf("%s: %v", name, o.Err)
				}
			}
		})
	}
}

// TestRootRefusesWhatIsNoFile: nothing but regular files is opened, and nothing
// waits for the other end of a FIFO.
func TestRootRefusesWhatIsNoFile(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "device")); err != nil {
		t.Fatal(err)
	}
	for _, walk := range []bool{false, true} {
		r := openRoot(t, dir, SymlinksFollow, walk)
		for name, mode := range map[string]uint32{
			"directory": unix.S_IFDIR, "fifo": unix.S_IFIFO, "device": unix.S_IFCHR, "socket": 0,
		} {
			o := r.Open(name, false)
			if o.FD >= 0 || o.Stat.Mode&unix.S_IFMT != mode || (o.Err != 0) != (mode == 0) {
				t.Errorf("walk %v, %s: descriptor %d, mode %o, error %v", walk, name, o.FD, o.Stat.Mode, o.Err)
			}
		}
	}
}

// TestRootWithoutOpenat2: a sandbox that hides the call makes the root walk.
func TestRootWithoutOpenat2(t *testing.T) {
	dir := tree(t)
	inThread(t, func() {
		testenv.Deny(t, unix.EPERM, unix.SYS_OPENAT2)
		r, err := OpenRoot(dir, SymlinksInside)
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		if o := r.Open("plain", true); o.Err != unix.EAGAIN {
			t.Errorf("without RESOLVE_CACHED nobody knows what is in memory: %v", o.Err)
		}
		o := r.Open("dirlink/deep/plain", false)
		if r.openat2 || !errors.Is(Probe(), unix.EPERM) || o.FD < 0 {
			t.Errorf("openat2 %v, probe %v, error %v", r.openat2, Probe(), o.Err)
			return
		}
		unix.Close(int(o.FD))
		if st, e := r.Stat("dirlink"); e != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			t.Errorf("a link to a directory: mode %o, error %v", st.Mode, e)
		}
	})
}

// inThread runs f on a goroutine of its own, whose thread is not used again.
func inThread(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func TestOpenRootErrors(t *testing.T) {
	testenv.LeakCheck(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), nil)
	for name, want := range map[string]error{"f": unix.ENOTDIR, "nothing": unix.ENOENT} {
		if r, err := OpenRoot(filepath.Join(dir, name), SymlinksInside); !errors.Is(err, want) {
			t.Errorf("%s: %v, error %v, want %v", name, r, err, want)
		}
	}
}

// TestRootCachedOnly: a name that the kernel does not know yet would have to be
// read from the disk; one that it knows is opened at once.
func TestRootCachedOnly(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "f"), []byte("content"))
	r := openRoot(t, dir, SymlinksInside, false)
	warm := r.Open("f", false)
	if warm.FD < 0 {
		t.Fatal(warm.Err)
	}
	unix.Close(int(warm.FD))
	o := r.Open("f", true)
	if o.Err == syscall.EINVAL {
		t.Skip("this kernel has no RESOLVE_CACHED (5.12)")
	}
	if o.FD < 0 {
		t.Fatalf("a name that was just opened: %v", o.Err)
	}
	unix.Close(int(o.FD))
}

// TestWalkGoesAsTheKernel compares walk with openat2, on links made at random.
func TestWalkGoesAsTheKernel(t *testing.T) {
	dir := t.TempDir()
	parts := []string{"a", "b", "c", ".", "..", ""}
	random := rand.New(rand.NewPCG(1, 2))
	path := func() string {
		name := make([]string, 1+random.IntN(4))
		for i := range name {
			name[i] = parts[random.IntN(len(parts))]
		}
		return strings.Join(name, "/")
	}
	for _, at := range []string{"", "a", "b", "a/a", "a/b"} {
		if err := os.Mkdir(filepath.Join(dir, at), 0o755); err != nil && at != "" {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, at, "f"), []byte(at))
		for i := range 4 {
			target := path()
			if err := os.Symlink(cmp.Or(target, "."), filepath.Join(dir, at, "l"+strconv.Itoa(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	parts = []string{"a", "b", "l0", "l1", "l2", "l3", "f"}
	kernel, walks := openRoot(t, dir, SymlinksInside, false), openRoot(t, dir, SymlinksInside, true)
	found := 0
	for range 20_000 {
		name := path()
		want, errWant := kernel.Stat(name)
		got, err := walks.Stat(name)
		if err != errWant || got.Ino != want.Ino {
			t.Fatalf("%s: %v, inode %d, the kernel: %v, %d", name, err, got.Ino, errWant, want.Ino)
		}
		if err == 0 {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("only %d names were there: nothing was compared", found)
	}
}

// TestRootRefresh: what is at the path of a root takes its place.
func TestRootRefresh(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "current")
	release := func(name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(top, name, "f"), []byte(name))
	}
	for _, c := range []struct {
		name          string
		before, after func() error
		want          string // content of f
	}{
		{"a link that is switched", func() error { return os.Symlink("one", path) }, func() error {
			return errors.Join(os.Symlink("two", path+".new"), os.Rename(path+".new", path))
		}, "two"},
		{"a directory made anew", func() error { return os.Mkdir(path, 0o755) }, func() error {
			release("new")
			return errors.Join(os.RemoveAll(path), os.Rename(filepath.Join(top, "new"), path))
		}, "new"},
		{"a file system mounted over it", func() error { return os.Mkdir(path, 0o755) }, func() error {
			err := unix.Mount("none", path, "tmpfs", 0, "")
			if err == nil {
				t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
				err = os.WriteFile(filepath.Join(path, "f"), []byte("mounted"), 0o644)
			}
			return err
		}, "mounted"},
		{"itself mounted over it", func() error { return os.Symlink("one", path) }, func() error {
			err := unix.Mount(path, path, "", unix.MS_BIND, "")
			if err == nil {
				t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
			}
			return err
		}, "one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			testenv.LeakCheck(t)
			t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH); _ = os.RemoveAll(path) })
			release("one")
			release("two")
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
			r := openRoot(t, path, SymlinksInside, false)
			if changed, err := r.Refresh(); changed || err != nil {
				t.Fatalf("before: %v, %v", changed, err)
			}
			if err := c.after(); errors.Is(err, unix.EPERM) {
				t.Skip("mounting is not allowed here")
			} else if err != nil {
				t.Fatal(err)
			}
			if changed, err := r.Refresh(); !changed || err != nil {
				t.Fatalf("after: %v, %v", changed, err)
			}
			o := r.Open("f", false)
			if o.FD < 0 {
				t.Fatal(o.Err)
			}
			f := os.NewFile(uintptr(o.FD), "f")
			defer f.Close()
			if got, err := io.ReadAll(f); string(got) != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if changed, err := r.Refresh(); changed || err != nil {
				t.Errorf("once more: %v, %v", changed, err)
			}
		})
	}
}

// TestRootRefreshFails: what was open stays, and a closed root takes nothing.
func TestRootRefreshFails(t *testing.T) {
	testenv.LeakCheck(t)
	dir := tree(t)
	r, err := OpenRoot(dir, SymlinksInside)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Refresh(); changed || !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v, %v", changed, err)
	}
	if _, e := r.Stat("plain"); e != 0 {
		t.Error(e)
	}
	if err := errors.Join(os.Mkdir(dir, 0o755), r.Close()); err != nil {
		t.Fatal(err)
	}
	if changed, err := r.Refresh(); changed || err != nil {
		t.Errorf("closed: %v, %v", changed, err)
	}
}
