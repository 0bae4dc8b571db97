package listing

import (
	"errors"
	"io/fs"
	"syscall"
)

// Make makes a page of a directory of an FS, for one user, when it is its turn: it waits for that. See
// Begin about the errors.
func (c *Cache) Make(d *Directory, view View, json bool) (*Page, syscall.Errno) {
	turn := c.making[1] // with those that may take long: an FS may be anywhere
	turn <- struct{}{}
	defer func() { <-turn }() // also when the FS panics
	list, err := fs.ReadDir(d.FS, d.name())
	if err != nil {
		return nil, ErrnoOf(err)
	}
	var all []entry
	for _, item := range list[:min(len(list), c.names)] {
		info, err := item.Info()
		if err == nil && info.Mode().Type() == fs.ModeSymlink {
			info, err = fs.Stat(d.FS, d.Below+item.Name())
		}
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue // gone meanwhile, or nothing that a request would get
		}
		e := entry{name: item.Name(), dir: info.IsDir()}
		if !e.dir {
			e.size = info.Size()
		}
		if t := info.ModTime(); !t.IsZero() {
			e.mtime = t.UnixNano()
		}
		if d.shows(&e) {
			all = append(all, e)
		}
	}
	l, e := d.cut(all, len(list) > c.names, view, !json)
	if e != 0 {
		return nil, e
	}
	p, err := l.render(json)
	if err != nil {
		return nil, syscall.EIO
	}
	return p, 0
}

// ErrnoOf returns what an error of an FS is called by the kernel.
func ErrnoOf(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		return syscall.ENOENT
	case errors.Is(err, fs.ErrPermission):
		return syscall.EACCES
	}
	return syscall.EIO
}
