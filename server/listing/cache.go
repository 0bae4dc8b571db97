package listing

import (
	"bytes"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
)

const (
	// maxMaking is how many listings are made at the same time: it bounds how much
	// of the machine, and of its memory, they take.
	maxMaking = 4
	// maxHeld is how many bytes of pages there are, in the Cache and under way to
	// clients. One page may exceed it alone.
	maxHeld = 64 << 20
	// fresh is how long a page is used while its directory does not change: what
	// changes in a file does not show there.
	fresh = time.Second
)

// Cache makes listings, a bounded number at a time, and shares them: what clients ask of
// the same version of a directory is one page in memory, however many they are and
// however slowly they read. It is safe for concurrent use.
type Cache struct {
	making [2]chan struct{} // one for each that is being made; of local directories, of remote ones
	names  int              // maxListed
	log    *slog.Logger

	mu      sync.Mutex // guards what follows and the state of pages; held for short
	pages   map[key]*Page
	flights map[want]*flight
	held    int64 // bytes of pages that are kept or used
}

// key tells apart what is asked for.
type key struct {
	owner any
	path  string
	view  View
	json  bool
}

// want is what is asked for, of a version of the directory.
type want struct {
	key
	dev, ino     uint64
	mtime, ctime unix.Timespec
}

// flight is a page that is being made.
type flight struct {
	done chan struct{}
	err  syscall.Errno // once it is done; 0: the Cache has the page
}

// NewCache returns an empty Cache.
func NewCache(log *slog.Logger) *Cache {
	return &Cache{
		making: [2]chan struct{}{make(chan struct{}, maxMaking), make(chan struct{}, maxMaking)}, names: maxListed, log: log,
		pages: make(map[key]*Page), flights: make(map[want]*flight),
	}
}

// Begin has a page made by a goroutine of the root, which calls done: see get. False: too many
// wait already.
func (c *Cache) Begin(d *Directory, view View, json bool, done func(*Page, syscall.Errno)) bool {
	return d.Root.List(func() { done(c.get(d, view, json)) })
}

// get returns a page of a directory; the caller releases it. It
// waits for its turn and for the disk. ENOENT says that there is no such page, ENOMEM
// that clients hold too much already, EFBIG that the directory is too large for one.
func (c *Cache) get(d *Directory, view View, json bool) (*Page, syscall.Errno) {
	dir, e := d.Root.OpenDir(d.name())
	if e != 0 {
		return nil, e
	}
	defer dir.Close()
	w := want{key: key{d.Owner, d.Path, view, json}}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, errnoOf(err)
	}
	w.dev, w.ino, w.mtime, w.ctime = st.Dev, st.Ino, st.Mtim, st.Ctim
	for {
		p, f, first := c.look(w)
		switch {
		case p != nil:
			return p, 0
		case first:
			return c.make(d, dir, w, f)
		}
		<-f.done
		if f.err != 0 {
			return nil, f.err
		}
	}
}

// look returns the page that is wanted, or its flight, which is the caller's if it is the first.
func (c *Cache) look(w want) (p *Page, f *flight, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.pages[w.key]; p != nil && p.of == w && time.Since(p.made) < fresh {
		p.refs++
		return p, nil, false
	}
	if f = c.flights[w]; f == nil {
		f, first = &flight{done: make(chan struct{})}, true
		c.flights[w] = f
	}
	return nil, f, first
}

// make makes the page of a flight.
func (c *Cache) make(d *Directory, dir *os.File, w want, f *flight) (*Page, syscall.Errno) {
	turn := c.making[0]
	if openfile.IsRemote(int(dir.Fd())) { // which may hang
		turn = c.making[1]
	}
	turn <- struct{}{}
	p, e := c.render(d, dir, w)
	<-turn
	var old *Page
	if e == 0 {
		old = c.retain(w.key)
		if old != nil && bytes.Equal(old.Body, p.Body) && bytes.Equal(old.Fields, p.Fields) {
			p = old
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e == 0 && p != old && !c.keep(p) {
		p, e = nil, syscall.ENOMEM
	}
	if p != nil {
		p.refs++
		p.of, p.made = w, time.Now()
		time.AfterFunc(fresh, func() { c.expire(p) })
	}
	c.release(old)
	f.err = e
	delete(c.flights, w)
	close(f.done)
	return p, e
}

// render reads the directory and renders the page.
func (c *Cache) render(d *Directory, dir *os.File, w want) (*Page, syscall.Errno) {
	l, e := d.read(dir, w.view, c.names)
	if e != 0 {
		if e == syscall.EFBIG {
			c.log.Warn("listing refused: a directory of so many names is listed by ?page=N only", "path", d.Path, "names", c.names)
		}
		return nil, e
	}
	p, err := l.render(w.json)
	if err != nil {
		c.log.Error("listing not rendered", "path", d.Path, "err", err)
		return nil, syscall.EIO
	}
	p.cache, p.of = c, w
	return p, 0
}

// retain returns the page that is kept, however old; nil: none is.
func (c *Cache) retain(k key) *Page {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pages[k]
	if p != nil {
		p.refs++
	}
	return p
}

// keep puts a page in the place of the one that is kept, if there is room for it. Others
// that nobody uses make room.
func (c *Cache) keep(p *Page) bool {
	c.drop(c.pages[p.of.key])
	n := int64(len(p.Body))
	for _, q := range c.pages {
		if c.held+n > maxHeld && q.refs == 0 {
			c.drop(q)
		}
	}
	if c.held > 0 && c.held+n > maxHeld {
		return false
	}
	c.held += n
	p.kept = true
	c.pages[p.of.key] = p
	return true
}

// drop lets go of a page that is kept; nil: there is none.
func (c *Cache) drop(p *Page) {
	if p == nil || !p.kept {
		return
	}
	delete(c.pages, p.of.key)
	p.kept = false
	if p.refs == 0 {
		c.held -= int64(len(p.Body))
	}
}

// expire lets go of a page that is too old to be used again, unless it has users: then
// it stays, so that one of the same content is not held twice.
func (c *Cache) expire(p *Page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.refs == 0 && time.Since(p.made) >= fresh {
		c.drop(p)
	}
}

// release ends one use of a page; nil: there is none.
func (c *Cache) release(p *Page) {
	if p == nil {
		return
	}
	p.refs--
	switch {
	case p.refs > 0:
	case !p.kept:
		c.held -= int64(len(p.Body))
	case time.Since(p.made) >= fresh:
		c.drop(p)
	}
}
