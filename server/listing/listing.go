// Package listing reads directories and renders what is in them, as HTML and JSON.
package listing

import (
	"errors"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
)

const (
	// maxListed is how many names of a directory are read; a page of a larger
	// one says that not all are there. About 100 bytes each are held meanwhile.
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
	Root  *openfile.Root
	FS    fs.FS  // in place of Root; see Cache.Make
	Below string // its name below Root: empty, or with a slash at the end
	Path  string // the normalised path of the request, with its slash at the end
	Host  string // the name that its host has in the configuration; empty: none
	// Owner is whose it is, and comparable: listings of one owner and path are shared.
	Owner any
	// Shows reports whether a path is shown; that of a directory ends with a slash.
	Shows func(path []byte) bool
	// Coding is what the page is compressed by, if Policy says that it is worth that.
	Coding httpfile.Coding
	Policy *httpfile.Policy
	// PageEntries is how many entries a page has that is asked for by its number.
	PageEntries int
}

// listing is one page of a directory, ready to be rendered.
type listing struct {
	path    string // normalised, with its slash at the end
	view    View
	pages   int // at least 1
	total   int
	partial bool // the directory holds more names than are read
	entries []entry

	host           string
	header, readme template.HTML // beside the entries
	plain          string        // in place of readme
}

// read reads at most so many names of the directory and cuts the page that view asks for: ENOENT if there is
// no such page, EFBIG if all entries are asked for and there are too many.
func (d *Directory) read(dir *os.File, view View, html bool, most int) (*listing, syscall.Errno) {
	all, partial, err := d.entries(dir, most)
	if err != nil {
		return nil, ErrnoOf(err)
	}
	return d.cut(all, partial, view, html)
}

// cut cuts the page that view asks for out of all entries.
func (d *Directory) cut(all []entry, partial bool, view View, html bool) (*listing, syscall.Errno) {
	l := &listing{path: d.Path, host: d.Host, view: view, pages: 1, partial: partial}
	if html && view.page <= 1 && view.search == "" {
		d.beside(l, all)
	}
	all = view.matching(all)
	view.sortEntries(all)
	l.total, l.entries = len(all), all
	if view.page == 0 {
		if partial { // whoever mirrors it would take the rest for deleted
			return nil, syscall.EFBIG
		}
		return l, 0
	}
	l.pages = max(1, (len(all)+d.PageEntries-1)/d.PageEntries)
	if view.page > l.pages {
		return nil, syscall.ENOENT
	}
	first := (view.page - 1) * d.PageEntries
	l.entries = all[first:min(first+d.PageEntries, len(all))]
	return l, 0
}

// name returns the name to open.
func (d *Directory) name() string {
	if d.Below == "" {
		return "."
	}
	return strings.TrimSuffix(d.Below, "/")
}

// entries returns what the directory shows: what a request for it would get.
func (d *Directory) entries(dir *os.File, most int) (all []entry, partial bool, err error) {
	for read := 0; ; {
		names, err := dir.Readdirnames(readNames)
		if read += len(names); read > most {
			names, partial = names[:len(names)-(read-most)], true
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
// meanwhile, neither file nor directory, or a link that is not followed.
func (d *Directory) entry(dir *os.File, name string) (entry, bool) {
	// What the kernel knows of what is mounted there will do: its file system may hang.
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC); err != nil {
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
	return e, d.shows(&e)
}

// shows reports whether an entry is shown.
func (d *Directory) shows(e *entry) bool {
	path := d.Path + e.name
	if e.dir {
		path += "/"
	}
	return d.Shows([]byte(path))
}

// escape percent-encodes all of a name but the unreserved characters of RFC 3986, so
// that the simplest of clients read it right.
func escape(name string) string {
	return strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
