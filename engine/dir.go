package engine

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenDir opens a directory below the root for reading: "." is the root itself.
// It may wait for the disk. The caller owns the file.
func (r *Root) OpenDir(name string) (*os.File, syscall.Errno) {
	fd, err := r.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, false)
	if err != nil {
		return nil, errnoOf(err)
	}
	return os.NewFile(uintptr(fd), name), 0
}

// Stat returns what Open would find at a name, which need not be readable: links
// are followed as the root's policy says. It may wait for the disk.
func (r *Root) Stat(name string) (st unix.Stat_t, e syscall.Errno) {
	fd, err := r.open(name, unix.O_PATH|unix.O_CLOEXEC, false)
	if err != nil {
		return st, errnoOf(err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, errnoOf(err)
	}
	// Without openat2 a link that is not followed is opened itself: O_PATH with
	// O_NOFOLLOW does not fail.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return st, syscall.ENOENT
	}
	return st, 0
}
