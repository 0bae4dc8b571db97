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
	"github.com/fserve/fserve/server/httpfile"
)

const (
	// maxMaking is how many listings are made at the same time: it bounds how much
	// of the machine, and of its memory, they take.
	maxMaking = 4
	// maxHeld is how many bytes of pages there are, in the Cache and under way to
	// clients. One page may exceed it alone.
	maxHeld = 64 << 20
	// maxJoined is how many requests wait for a page that others have asked for.
	maxJoined = 16 << 10
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

	mu     sync.Mutex // guards what follows and the state of pages; held for short
	pages  map[key]*Page
	calls  map[key][]call // that wait for a page of which one is being made
	joined int            // all of them
	held   int64          // bytes of pages that are kept or used
}

// key tells apart what is asked for.
type key struct {
	owner  any
	path   string
	view   View
	json   bool
	coding httpfile.Coding
}

// want is what is asked for, of a version of the directory.
type want struct {
	key
	dev, ino     uint64
	mtime, ctime unix.Timespec
}

// call is somebody who waits for a page.
type call struct {
	dir  *Directory
	done func(*Page, syscall.Errno)
}

// NewCache returns an empty Cache.
func NewCache(log *slog.Logger) *Cache {
	return &Cache{
		making: [2]chan struct{}{make(chan struct{}, maxMaking), make(chan struct{}, maxMaking)}, names: maxListed, log: log,
		pages: make(map[key]*Page), calls: make(map[key][]call),
	}
}

// Begin has a page made by a goroutine of the root, which calls done. The page is to be released.
// ENOENT says that there is no such page, ENOMEM that clients hold too much already, EFBIG that the
// directory is too large for one. False: too many wait already.
//
// One page is made by one goroutine: who asks meanwhile gets the next one, which is of the
// directory as it was then or later, and takes no place in the root's pool.
func (c *Cache) Begin(d *Directory, view View, json bool, done func(*Page, syscall.Errno)) bool {
	k := key{d.Owner, d.Path, view, json, d.Coding}
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting, making := c.calls[k]; making {
		if c.joined >= maxJoined {
			return false
		}
		c.joined++
		c.calls[k] = append(waiting, call{d, done})
		return true
	}
	if !d.Root.List(func() { c.serve(k, []call{{d, done}}) }) {
		return false
	}
	c.calls[k] = nil
	return true
}

// serve answers calls for a page, and then those that have come meanwhile.
func (c *Cache) serve(k key, calls []call) {
	for len(calls) > 0 {
		p, e := c.get(k, calls[0].dir, len(calls))
		for _, w := range calls {
			w.done(p, e)
		}
		calls = c.waiting(k)
	}
}

// waiting takes the calls that wait for a page; the last time, when there are none, nobody makes it any more.
func (c *Cache) waiting(k key) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls[k]
	c.joined -= len(calls)
	if len(calls) == 0 {
		delete(c.calls, k)
	} else {
		c.calls[k] = nil
	}
	return calls
}

// get returns a page of a directory for so many users, each of whom releases it. It waits for its
// turn and for the disk.
func (c *Cache) get(k key, d *Directory, users int) (*Page, syscall.Errno) {
	dir, e := d.Root.OpenDir(d.name())
	if e != 0 {
		return nil, e
	}
	defer dir.Close()
	w := want{key: k}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, ErrnoOf(err)
	}
	w.dev, w.ino, w.mtime, w.ctime = st.Dev, st.Ino, st.Mtim, st.Ctim
	if p := c.look(w, users); p != nil {
		return p, 0
	}
	return c.make(d, dir, w, users)
}

// look returns the page that is wanted, for so many users, if it is there.
func (c *Cache) look(w want, users int) *Page {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pages[w.key]
	if p == nil || p.of != w || time.Since(p.made) >= fresh {
		return nil
	}
	p.refs += users
	return p
}

// make makes the page that is wanted, for so many users.
func (c *Cache) make(d *Directory, dir *os.File, w want, users int) (*Page, syscall.Errno) {
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
		p.refs += users
		p.of, p.made = w, time.Now()
		time.AfterFunc(fresh, func() { c.expire(p) })
	}
	c.release(old)
	return p, e
}

// render reads the directory and renders the page.
func (c *Cache) render(d *Directory, dir *os.File, w want) (*Page, syscall.Errno) {
	l, e := d.read(dir, w.view, !w.json, c.names)
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
	if err := p.compress(d.Policy, d.Coding); err != nil {
		c.log.Warn("listing not compressed, it is sent as it is", "path", d.Path, "err", err)
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
