package openfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

// Opened is what Open found: a file with its facts, not yet in any cache.
type Opened struct {
	FD   int32 // -1: not a regular file, or an error
	Stat unix.Stat_t
	Err  syscall.Errno
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
	dir     int
	resolve uint64
	links   Symlinks
	openat2 bool
	cached  uint64 // RESOLVE_CACHED where the kernel has it, else 0
}

// OpenRoot opens a directory.
func OpenRoot(dir string, links Symlinks) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("root: %w", &fs.PathError{Op: "open", Path: dir, Err: err})
	}
	r := &Root{dir: fd, links: links, resolve: unix.RESOLVE_NO_MAGICLINKS}
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
		return nil, fmt.Errorf("root: %w", &fs.PathError{Op: "openat2", Path: dir, Err: err})
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

// Close closes the directory.
func (r *Root) Close() error { return unix.Close(r.dir) }

// resolveCached is RESOLVE_CACHED (Linux 5.12): fail rather than wait for the disk.
const resolveCached = 0x20

// openFlags never wait for the other end of a FIFO, and never take a terminal.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME

// Open opens name, a relative path without dot segments, read-only. If
// cachedOnly is set it does not wait for the disk: EAGAIN means that it would
// have to (Linux 5.12; older kernels wait). Only regular files are returned
// open.
func (r *Root) Open(name string, cachedOnly bool) Opened {
	fd, err := r.open(name, openFlags, cachedOnly)
	if errors.Is(err, unix.EPERM) { // O_NOATIME is for the owner
		fd, err = r.open(name, openFlags&^unix.O_NOATIME, cachedOnly)
	}
	if err != nil {
		return Opened{FD: -1, Err: sys.ErrnoOf(err)}
	}
	o := Opened{FD: int32(fd)}
	if err := unix.Fstat(fd, &o.Stat); err != nil {
		o.Err = sys.ErrnoOf(err)
	}
	if o.Err != 0 || o.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		o.FD = -1
	}
	return o
}

func (r *Root) open(name string, flags uint64, cachedOnly bool) (int, error) {
	if !filepath.IsLocal(name) { // walk and SymlinksFollow rely on it
		return -1, unix.ENOENT
	}
	if !r.openat2 {
		return r.walk(name, int(flags))
	}
	how := unix.OpenHow{Flags: flags, Resolve: r.resolve}
	if cachedOnly {
		how.Resolve |= r.cached
	}
	for {
		fd, err := unix.Openat2(r.dir, name, &how)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && !cachedOnly: // a rename raced with ".." (openat2(2))
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP) && r.links == SymlinksDeny:
			return -1, unix.ENOENT // a way out of the root is as if it were not there
		default:
			return fd, err
		}
	}
}

// walk opens name one component at a time, following no symbolic link: the way
// for kernels without openat2 (before 5.6) and sandboxes that hide it. Links are
// refused even where the policy allows those inside, unless it allows all.
func (r *Root) walk(name string, flags int) (int, error) {
	if r.links == SymlinksFollow {
		return unix.Openat(r.dir, name, flags, 0)
	}
	dir, owned := r.dir, false
	for {
		first, rest, more := strings.Cut(name, "/")
		var fd int
		var err error
		if more {
			fd, err = unix.Openat(dir, first, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		} else {
			fd, err = unix.Openat(dir, first, flags|unix.O_NOFOLLOW, 0)
		}
		if owned {
			unix.Close(dir)
		}
		if errors.Is(err, unix.ELOOP) {
			err = unix.ENOENT
		}
		if err != nil || !more {
			return fd, err
		}
		dir, owned, name = fd, true, rest
	}
}

// OpenDir opens a directory below the root for reading: "." is the root itself.
// It may wait for the disk. The caller owns the file.
func (r *Root) OpenDir(name string) (*os.File, syscall.Errno) {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, false)
	if err != nil {
		return nil, sys.ErrnoOf(err)
	}
	return os.NewFile(uintptr(fd), name), 0
}

// Stat returns what Open would find at a name, which need not be readable: links
// are followed as the root's policy says. It may wait for the disk.
func (r *Root) Stat(name string) (st unix.Stat_t, e syscall.Errno) {
	fd, err := r.open(name, unix.O_PATH|unix.O_CLOEXEC, false)
	if err != nil {
		return st, sys.ErrnoOf(err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, sys.ErrnoOf(err)
	}
	// Without openat2 a link that is not followed is opened itself: O_PATH with
	// O_NOFOLLOW does not fail.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return st, syscall.ENOENT
	}
	return st, 0
}
