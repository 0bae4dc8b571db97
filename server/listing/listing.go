// Package listing reads directories and renders what is in them, as HTML and JSON.
package listing

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
)

const (
	// pageEntries is how many entries a page of a listing has.
	pageEntries = 1000
	// maxListed is how many names of a directory are read; a listing of a larger
	// one says that it is not complete. About 100 bytes each are held meanwhile.
	maxListed = 200_000
	// readNames is how many names are read at once.
	readNames = 4096
)

// entry is a file or directory of a listing.
type entry struct {
	name  string
	size  int64 // bytes; 0 for a directory
	mtime int64 // Unix ns
	dir   bool
}

// Directory is a directory that is to be listed.
type Directory struct {
	Root   *openfile.Root
	Below  string // its name below Root: empty, or with a slash at the end
	Path   string // the normalised path of the request, with its slash at the end
	Hidden func(path []byte) bool
}

// listing is one page of a directory, ready to be rendered.
type listing struct {
	path    string // normalised, with its slash at the end
	view    View
	pages   int // at least 1
	total   int
	partial bool // the directory holds more than maxListed names
	entries []entry
}

// read reads the directory and cuts the page that view asks for: ENOENT if there is
// no such page.
func (d *Directory) read(view View) (*listing, syscall.Errno) {
	dir, e := d.Root.OpenDir(d.name())
	if e != 0 {
		return nil, e
	}
	defer dir.Close()
	all, partial, err := d.entries(dir)
	if err != nil {
		return nil, errnoOf(err)
	}
	l := &listing{path: d.Path, view: view, pages: max(1, (len(all)+pageEntries-1)/pageEntries), total: len(all), partial: partial}
	if view.page > l.pages {
		return nil, syscall.ENOENT
	}
	view.sortEntries(all)
	first := (view.page - 1) * pageEntries
	// A copy, so that a page does not hold all the others in memory.
	l.entries = slices.Clone(all[first:min(first+pageEntries, len(all))])
	return l, 0
}

// name returns the name to open.
func (d *Directory) name() string {
	if d.Below == "" {
		return "."
	}
	return strings.TrimSuffix(d.Below, "/")
}

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EIO
}

// entries returns what the directory shows: what a request for it would get.
func (d *Directory) entries(dir *os.File) (all []entry, partial bool, err error) {
	for read := 0; ; {
		names, err := dir.Readdirnames(readNames)
		if read += len(names); read > maxListed {
			names, partial = names[:len(names)-(read-maxListed)], true
		}
		for _, name := range names {
			if e, ok := d.entry(dir, name); ok {
				all = append(all, e)
			}
		}
		switch {
		case partial || errors.Is(err, io.EOF):
			return all, partial, nil
		case err != nil:
			return nil, false, err
		}
	}
}

// entry returns the entry of a name, false if it is not shown: hidden, gone
// meanwhile, neither file nor directory, a link that is not followed, or a name
// that no request can have.
func (d *Directory) entry(dir *os.File, name string) (entry, bool) {
	if d.Hidden([]byte(d.Path+name)) || !requestable(name) {
		return entry{}, false
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return entry{}, false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		var e syscall.Errno
		if st, e = d.Root.Stat(d.Below + name); e != 0 {
			return entry{}, false
		}
	}
	e := entry{name: name, mtime: st.Mtim.Nano()}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.size = st.Size
	case unix.S_IFDIR:
		e.dir = true
	default:
		return entry{}, false
	}
	return e, true
}

// requestable reports whether a request can have a path with this name, which
// httpfile.NormalizePath refuses to have control characters and backslashes.
func requestable(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) < 0
}
