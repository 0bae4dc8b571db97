package openfile

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one walk follows, as the kernel does
// (path_resolution(7)).
const maxLinks = 40

// walk opens name one component at a time: the way for kernels without openat2
// (before 5.6) and sandboxes that refuse it. The kernel follows no link meanwhile: a
// link is read, and its components are walked in its place. ".." goes back to the
// directory that the walk came from, so nothing above the root is reached, whatever
// is renamed meanwhile. A way out of the root is EXDEV.
func (r *Root) walk(name string, flags int) (int, error) {
	if r.links == SymlinksFollow {
		return unix.Openat(r.dir, name, flags, 0)
	}
	dirs := []int{r.dir} // from the root to where the walk stands
	defer func() {
		for _, fd := range dirs[1:] {
			unix.Close(fd)
		}
	}()
	links := 0
	for rest := strings.Split(name, "/"); ; {
		here, first := dirs[len(dirs)-1], rest[0]
		rest = rest[1:]
		switch first {
		case "..":
			if len(dirs) == 1 {
				return -1, unix.EXDEV
			}
			unix.Close(here)
			dirs = dirs[:len(dirs)-1]
			here = dirs[len(dirs)-1]
			fallthrough
		case "", ".": // an empty one at the end is a slash there
			if len(rest) == 0 {
				return unix.Openat(here, ".", flags, 0)
			}
			continue
		}
		target, err := readlink(here, first)
		if err == nil {
			if links++; links > maxLinks {
				return -1, unix.ELOOP
			}
			if r.links == SymlinksDeny {
				return -1, unix.ENOENT
			}
			if target[0] == '/' {
				return -1, unix.EXDEV
			}
			rest = slices.Concat(strings.Split(target, "/"), rest)
			continue
		}
		if !errors.Is(err, unix.EINVAL) { // of what is no link
			return -1, err
		}
		if len(rest) == 0 {
			return unix.Openat(here, first, flags|unix.O_NOFOLLOW, 0)
		}
		fd, err := unix.Openat(here, first, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		dirs = append(dirs, fd)
	}
}

// readlink returns where a link leads, which is not empty; EINVAL: it is no link.
func readlink(dir int, name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, buf[:])
	if err != nil {
		return "", err
	}
	if n == 0 || n == len(buf) {
		return "", unix.ENOENT
	}
	return string(buf[:n]), nil
}
