package openfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// Opened is what Open found: a file with its facts, not yet in any cache.
type Opened struct {
	FD   int32 // -1: not a regular file, or an error
	Stat unix.Stat_t
	Err  syscall.Errno
	At   int64 // Unix ns: when the file system was asked
	// Indistinct says that the file may change after that and keep its times.
	Indistinct bool
	Hash       string // see File

	From Far    // of a remote file, else nil
	Body []byte // content that was read already
}

// Symlinks says which symbolic links below a root are followed.
type Symlinks uint8

const (
	SymlinksInside Symlinks = iota // those that stay below the root
	SymlinksFollow                 // all
	SymlinksDeny                   // none
)

// Root is a directory below which files are opened. It is safe for concurrent use.
type Root struct {
	path    string
	dir     int // always the same number: see Refresh
	resolve uint64
	links   Symlinks
	openat2 bool
	cached  uint64 // RESOLVE_CACHED where the kernel has it, else 0
	remote  atomic.Bool
	// near has the calls that wait for the file system of a local root only, far those
	// that may wait for another one, reads those for responses under way, lists those
	// that make listings.
	near, far, reads, lists pool

	replacing sync.Mutex // dir, with another directory or with nothing
	closed    bool
}

// Probe returns why openat2 cannot be used, or nil. Without it names are opened one
// component at a time, and never without waiting.
func Probe() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return fmt.Errorf("openat2: %w", err)
	}
	return unix.Close(fd)
}

// OpenRoot opens a directory.
func OpenRoot(dir string, links Symlinks) (*Root, error) {
	fd, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	r := &Root{path: dir, dir: fd, links: links, resolve: unix.RESOLVE_NO_MAGICLINKS}
	for _, p := range []*pool{&r.near, &r.far, &r.reads} {
		p.threads, p.waiting = poolThreads, poolWaiting
	}
	r.lists.threads, r.lists.waiting = listThreads, listWaiting
	r.remote.Store(IsRemote(fd))
	switch links {
	case SymlinksInside:
		r.resolve |= unix.RESOLVE_BENEATH
	case SymlinksDeny:
		r.resolve |= unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	}
	if err = r.probe(r.resolve); err == nil {
		r.openat2 = true
		if !errors.Is(r.probe(r.resolve|resolveCached), unix.EINVAL) {
			r.cached = resolveCached
		}
	} else if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "openat2", Path: dir, Err: err}
	}
	return r, nil
}

// probe asks whether openat2 takes these flags.
func (r *Root) probe(resolve uint64) error {
	fd, err := unix.Openat2(r.dir, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func openDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Refresh looks at the path of the root again and reports whether another directory
// is there now, which takes the place of what was open: a link was switched, the
// directory was made anew, a file system was mounted over it. After an error what was
// open stays. It may wait for the disk.
func (r *Root) Refresh() (changed bool, err error) {
	fd, err := openDir(r.path)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	remote := IsRemote(fd)
	r.replacing.Lock()
	defer r.replacing.Unlock()
	if r.closed || identify(fd) == identify(r.dir) {
		return false, nil
	}
	// An open that is under way goes on in the directory where it began. A loop opens
	// nothing from before the directory is remote until after it is not.
	before := r.remote.Swap(true)
	if err := unix.Dup3(fd, r.dir, unix.O_CLOEXEC); err != nil {
		r.remote.Store(before)
		return false, &fs.PathError{Op: "dup3", Path: r.path, Err: err}
	}
	r.remote.Store(remote)
	return true, nil
}

// identity tells directories apart that are open at the same time. One directory has
// several if it is mounted several times: what is mounted below it may differ.
type identity struct{ dev, ino, mount uint64 }

// identify does not wait for the file system.
func identify(fd int) identity {
	var x unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &x)
	if err == nil { // Mnt_id is 0 before Linux 5.8
		return identity{unix.Mkdev(x.Dev_major, x.Dev_minor), x.Ino, x.Mnt_id}
	}
	var st unix.Stat_t
	_ = unix.Fstat(fd, &st) // of a directory that is open it does not fail
	return identity{dev: st.Dev, ino: st.Ino}
}

// Close closes the directory.
func (r *Root) Close() error {
	r.replacing.Lock()
	defer r.replacing.Unlock()
	r.closed = true
	return unix.Close(r.dir)
}

// resolveCached is RESOLVE_CACHED (Linux 5.12): fail rather than wait for the disk.
const resolveCached = 0x20

// openFlags never wait for the other end of a FIFO, and never take a terminal. Times of
// access move as the mount says: cleaners go by them.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

// Open opens name, a relative path without dot segments, read-only. Only regular files
// are returned open. If cachedOnly is set it does not wait: EAGAIN means that it would
// have to, or that this cannot be known (a remote root, a mount below the root, Linux
// before 5.12; see Probe). Else it waits, in one of the root's pools: see Opening.
func (r *Root) Open(name string, cachedOnly bool) Opened {
	if cachedOnly {
		if r.cached == 0 || r.remote.Load() {
			return Opened{FD: -1, Err: unix.EAGAIN}
		}
		o := r.find(name, r.cached|unix.RESOLVE_NO_XDEV)
		if o.Err == unix.EXDEV {
			o.Err = unix.EAGAIN
		}
		return o
	}
	return r.OpenAs(name, Policy{})
}

// OpenAs is Open, waiting, with what a Policy wants to be found.
func (r *Root) OpenAs(name string, p Policy) Opened {
	done := make(chan struct{})
	o := Opening{Names: []string{name}, Hashed: p.Hashed, Done: func() { close(done) }}
	r.Begin(&o)
	<-done
	return o.Got[0]
}

// renameRaces is how often an open is tried again at once because a rename raced with
// ".." (openat2(2)). The same error tells of another process's lease (open(2)).
const renameRaces = 32

// open opens a name with what resolve adds to the policy of the root. With RESOLVE_NO_XDEV a
// way to another file system is EXDEV, as a way out of the root always is.
func (r *Root) open(name string, flags, resolve uint64) (int, error) {
	if !filepath.IsLocal(name) { // walk and SymlinksFollow rely on it
		return -1, unix.ENOENT
	}
	if !r.openat2 {
		return r.walk(name, int(flags))
	}
	how := unix.OpenHow{Flags: flags, Resolve: r.resolve | resolve}
	for races := 0; ; {
		fd, err := sys.Openat2(r.dir, name, &how)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && resolve&resolveCached == 0 && races < renameRaces:
			races++
		case errors.Is(err, unix.ELOOP) && r.links == SymlinksDeny:
			return -1, unix.ENOENT // as if it were not there
		default:
			return fd, err
		}
	}
}

// OpenDir opens a directory below the root for reading: "." is the root itself.
// It may wait for the disk. The caller owns the file.
func (r *Root) OpenDir(name string) (*os.File, syscall.Errno) {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, sys.ErrnoOf(err)
	}
	return os.NewFile(uintptr(fd), name), 0
}

// Stat returns what Open would find at a name, which need not be readable: links
// are followed as the root's policy says. It may wait for the disk.
func (r *Root) Stat(name string) (st unix.Stat_t, e syscall.Errno) {
	fd, err := r.open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return st, sys.ErrnoOf(err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, sys.ErrnoOf(err)
	}
	// What became a link while walk was on its way is opened itself: O_PATH with
	// O_NOFOLLOW does not fail.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return st, syscall.ENOENT
	}
	return st, 0
}
