package server

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/wire"
)

const (
	// pageEntries is how many entries a page of a listing has.
	pageEntries = 1000
	// maxListed is how many names of a directory are read; a listing of a larger
	// one says that it is not complete. About 100 bytes each are held meanwhile.
	maxListed = 200_000
	// readNames is how many names are read at once.
	readNames = 4096
	// maxListings is how many listings are made at the same time: it bounds
	// their memory and how much of the machine they take.
	maxListings = 4
	// maxWaiting is how many more of a loop wait for their turn. The next is 503.
	maxWaiting = 64
)

// listingSlots is held by the listings that are being made.
type listingSlots chan struct{}

// entry is a file or directory of a listing.
type entry struct {
	name  string
	size  int64 // bytes; 0 for a directory
	mtime int64 // Unix ns
	dir   bool
}

// sortKey is what a listing is sorted by.
type sortKey string

const (
	sortName sortKey = "name"
	sortSize sortKey = "size"
	sortTime sortKey = "time"
)

// listingView is what a query asks of a listing.
type listingView struct {
	sort sortKey
	desc bool
	page int // from 1
}

// parseView reads ?sort=name|size|time&order=asc|desc&page=N. Sorting that it
// does not know is by name; ok is false for a page that cannot be.
func parseView(query string) (v listingView, ok bool) {
	q, _ := url.ParseQuery(query) // what cannot be read is left out
	v = listingView{sort: sortKey(q.Get("sort")), desc: q.Get("order") == "desc", page: 1}
	if v.sort != sortSize && v.sort != sortTime {
		v.sort = sortName
	}
	if p := q.Get("page"); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 {
			return v, false
		}
		v.page = n
	}
	return v, true
}

// query returns the query that asks for v, "?" included.
func (v listingView) query() string {
	q := "?sort=" + string(v.sort) + "&order=asc"
	if v.desc {
		q = "?sort=" + string(v.sort) + "&order=desc"
	}
	if v.page > 1 {
		q += "&page=" + strconv.Itoa(v.page)
	}
	return q
}

// sortEntries sorts as v says, directories first. Equal ones are in order of
// their names.
func (v listingView) sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int {
		if a.dir != b.dir {
			if a.dir {
				return -1
			}
			return 1
		}
		order := 0
		switch v.sort {
		case sortSize:
			order = cmp.Compare(a.size, b.size)
		case sortTime:
			order = cmp.Compare(a.mtime, b.mtime)
		}
		if order == 0 {
			order = strings.Compare(a.name, b.name)
		}
		if v.desc {
			return -order
		}
		return order
	})
}

// listing is one page of a directory, ready to be rendered.
type listing struct {
	path    string // normalised, with its slash at the end
	view    listingView
	pages   int // at least 1
	total   int
	partial bool // the directory holds more than maxListed names
	entries []entry
}

// makeListing reads a directory and cuts the page that view asks for: ENOENT if
// there is no such page.
func (p *place) makeListing(path string, view listingView) (*listing, syscall.Errno) {
	dir, e := p.root.OpenDir(p.dir(path))
	if e != 0 {
		return nil, e
	}
	defer dir.Close()
	all, partial, err := p.readEntries(dir, path)
	if err != nil {
		return nil, errnoOf(err)
	}
	l := &listing{path: path, view: view, pages: max(1, (len(all)+pageEntries-1)/pageEntries), total: len(all), partial: partial}
	if view.page > l.pages {
		return nil, syscall.ENOENT
	}
	view.sortEntries(all)
	first := (view.page - 1) * pageEntries
	// A copy, so that a page does not hold all the others in memory.
	l.entries = slices.Clone(all[first:min(first+pageEntries, len(all))])
	return l, 0
}

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EIO
}

// readEntries returns what a directory shows: what a request for it would get.
func (p *place) readEntries(dir *os.File, path string) (all []entry, partial bool, err error) {
	for read := 0; ; {
		names, err := dir.Readdirnames(readNames)
		if read += len(names); read > maxListed {
			names, partial = names[:len(names)-(read-maxListed)], true
		}
		for _, name := range names {
			if e, ok := p.entry(dir, path, name); ok {
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
func (p *place) entry(dir *os.File, path, name string) (entry, bool) {
	if p.policy.Hidden([]byte(path+name)) || !requestable(name) {
		return entry{}, false
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return entry{}, false
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		var e syscall.Errno
		if st, e = p.root.Stat(path[p.skip:] + name); e != 0 {
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

// listTask makes a listing on a goroutine.
type listTask struct {
	x     *exchange
	place *place
	path  string
	view  listingView
	json  bool

	err   syscall.Errno
	typ   string
	body  []byte
	extra []byte // field lines
}

// list answers for a directory with what is in it.
func (s *session) list(c *engine.Conn) {
	view, ok := parseView(string(s.req.Query))
	if !ok {
		s.failFile(c, syscall.ENOENT)
		return
	}
	if s.listings >= maxListings+maxWaiting {
		s.failWith(c, http.StatusServiceUnavailable)
		return
	}
	s.listings++
	x := s.take(c)
	x.keepHead(&s.head)
	t := &listTask{x: x, place: s.hold(), path: string(s.req.Path), view: view, json: prefersJSON(string(s.head.Get(wire.Accept)))}
	x.running = true
	c.Suspend()
	s.loop.Go(t)
}

// Run implements engine.Task.
func (t *listTask) Run() {
	srv := t.x.s.srv
	srv.listings <- struct{}{}
	defer func() { <-srv.listings }()
	l, e := t.place.makeListing(t.path, t.view)
	if t.err = e; e != 0 {
		return
	}
	if err := t.render(l); err != nil {
		srv.cfg.Log.Error("listing not rendered", "path", t.path, "err", err)
		t.err = syscall.EIO
	}
}

func (t *listTask) render(l *listing) (err error) {
	t.extra = append(t.extra, "Cache-Control: no-cache\r\nVary: Accept\r\n"...)
	t.extra = l.appendLink(t.extra)
	if t.json {
		t.typ = "application/json"
		if l.partial {
			t.extra = append(t.extra, "X-Listing-Truncated: true\r\n"...)
		}
		t.body, err = l.json()
		return err
	}
	t.typ = "text/html; charset=utf-8"
	t.extra = append(append(append(t.extra, "Content-Security-Policy: "...), listingCSP...), "\r\n"...)
	t.body, err = l.html()
	return err
}

// appendLink appends the Link field (RFC 8288) to the pages before and after.
func (l *listing) appendLink(dst []byte) []byte {
	prev, next := l.neighbours()
	var links []string
	if prev != "" {
		links = append(links, "<"+prev+`>; rel="prev"`)
	}
	if next != "" {
		links = append(links, "<"+next+`>; rel="next"`)
	}
	if len(links) == 0 {
		return dst
	}
	return append(append(append(dst, "Link: "...), strings.Join(links, ", ")...), "\r\n"...)
}

// neighbours returns the queries of the pages before and after, empty if there
// are none.
func (l *listing) neighbours() (prev, next string) {
	v := l.view
	if v.page > 1 {
		v.page--
		prev = v.query()
	}
	if v = l.view; v.page < l.pages {
		v.page++
		next = v.query()
	}
	return prev, next
}

// Done implements engine.Task.
func (t *listTask) Done(*engine.Loop) {
	x, s, p := t.x, t.x.s, t.place
	defer s.leave(p.site)
	x.running = false
	s.listings--
	if x.conn == nil {
		s.put(nil, x)
		return
	}
	s.resume(x, p)
	s.req.Path = []byte(t.path)
	if t.err != 0 {
		s.failFile(x.conn, t.err)
		return
	}
	s.plan.Content(&s.req, p.policy, t.typ, t.body)
	s.plan.Extra = addMissing(t.extra, p.headers.lines(t.path))
	s.respondPlan(x.conn, nil)
}

// utc returns the instant of the entry.
func (e *entry) utc() time.Time { return time.Unix(0, e.mtime).UTC() }

// href returns the reference to the entry, relative to the directory.
func (e *entry) href() string {
	ref := string(httpfile.AppendLocation(nil, []byte(e.name), nil))
	ref = "." + strings.ReplaceAll(ref, ":", "%3A")
	if e.dir {
		ref += "/"
	}
	return ref
}
