// Package compress makes coded forms of small files and keeps them in memory: one for a version of
// a file, a coding and a level, which all responses share.
package compress

import (
	"container/list"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
)

const (
	// maxMaking is how many forms are made at the same time: it bounds how much of the machine
	// they take.
	maxMaking = 2
	// maxJoined is how many requests wait for forms that others have asked for.
	maxJoined = 16 << 10
	// entryCost is what a form costs beside its bytes, about.
	entryCost = 512
	// settled is the age from which a file's content is what its time of modification says: a
	// writer that was under way has left no other trace.
	settled = 2 * time.Second
	// gain is by how much of its length a form must be shorter than the content, as 1/gain.
	gain = 20
)

// errChanged says that a file is not the version that was asked for, or may not be.
var errChanged = errors.New("the file has changed")

// Source is a version of a file, and what is to be made of it.
type Source struct {
	Root             *openfile.Root
	Name             string // below Root
	Inode            uint64
	Size             int64 // bytes
	MtimeNs, CtimeNs int64
	Coding           httpfile.Coding
	Level            int
}

// Body is a form in memory. Its content is there while it is retained.
type Body struct {
	bytes    []byte
	tooLarge bool // for the whole Cache: there is no content
	cost     int64
	refs     atomic.Int32 // users, and 1 for the Cache
	used     atomic.Bool  // since it was looked at last whether it can go
	of       Source
	cache    *Cache
}

// Bytes returns the content, which must not be changed.
func (b *Body) Bytes() []byte { return b.bytes }

// Of returns what the form was made of.
func (b *Body) Of() Source { return b.of }

// Useless reports whether the form would be no shorter than the file, or is larger than the whole Cache; it
// has no content then.
func (b *Body) Useless() bool { return b.bytes == nil }

// Retain keeps the content until Release, and reports whether it is still there. nil is allowed, of
// which nothing is.
func (b *Body) Retain() bool {
	if b == nil {
		return false
	}
	for {
		n := b.refs.Load()
		if n == 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			break
		}
	}
	if !b.used.Load() {
		b.used.Store(true)
	}
	return true
}

// Release ends what Retain has begun. nil is allowed.
func (b *Body) Release() {
	if b != nil && b.refs.Add(-1) == 0 {
		b.bytes = nil // whoever remembers the Body cannot retain it any more
		b.cache.held.Add(-b.cost)
	}
}

// Cache makes forms, a bounded number at a time, and keeps those that are asked for. It is safe for
// concurrent use.
type Cache struct {
	making chan struct{} // one for each that is being made
	log    *slog.Logger
	held   atomic.Int64 // bytes of forms that are kept or used
	most   atomic.Int64 // of them
	counts counts

	mu     sync.Mutex // held for short
	bodies map[Source]*list.Element
	clock  list.List            // of *Body: the next one to look at first
	calls  map[Source][]*Waiter // that wait for a form that is being made
	joined int                  // all of them
}

// NewCache returns an empty Cache for so many bytes; see Resize.
func NewCache(most int64, log *slog.Logger) *Cache {
	c := &Cache{
		making: make(chan struct{}, maxMaking), log: log,
		bodies: make(map[Source]*list.Element), calls: make(map[Source][]*Waiter),
	}
	c.most.Store(most)
	return c
}

// Resize makes the Cache keep at most so many bytes. Those that are being sent stay for now.
func (c *Cache) Resize(most int64) {
	c.most.Store(most)
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.clock.Front(); e != nil; {
		b, next := e.Value.(*Body), e.Next()
		if b.tooLarge { // it may be no more
			c.drop(e)
		}
		e = next
	}
	c.makeRoom(0)
}

// Find returns a form that is kept, retained; nil: it is not.
func (c *Cache) Find(s *Source) *Body {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.bodies[*s]
	if e == nil {
		return nil
	}
	b := e.Value.(*Body)
	if !b.Retain() {
		return nil
	}
	return b
}

// Waiter is somebody who waits for a form.
type Waiter struct {
	of    Source
	cache *Cache
	done  func(*Body)
}

// Begin has a form made by a goroutine of the root of the Source, which calls done with it, retained; nil:
// it cannot be had. Who asks meanwhile gets the same. nil in place of the Waiter: too many wait
// already, and done is not called. The root must stay open until done is called.
func (c *Cache) Begin(s *Source, done func(*Body)) *Waiter {
	w := &Waiter{of: *s, cache: c, done: done}
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting, making := c.calls[*s]; making {
		if c.joined >= maxJoined {
			return nil
		}
		c.joined++
		c.calls[*s] = append(waiting, w)
		return w
	}
	if !s.Root.List(func() { c.serve(w) }) {
		return nil
	}
	c.calls[*s] = nil
	return w
}

// Leave gives up the place of a Waiter: done is called with nil at once. For the first, whose root the
// form is made with, it does nothing. nil is allowed.
func (w *Waiter) Leave() {
	if w == nil || !w.cache.remove(w) {
		return
	}
	w.done(nil)
}

// remove takes a Waiter from those that have joined, and reports whether it was one.
func (c *Cache) remove(w *Waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.calls[w.of] {
		if other == w {
			calls := c.calls[w.of]
			calls[i] = calls[len(calls)-1]
			calls[len(calls)-1] = nil
			c.calls[w.of] = calls[:len(calls)-1]
			c.joined--
			return true
		}
	}
	return false
}

// serve makes the form that first waits for, and gives it to those who have joined.
func (c *Cache) serve(first *Waiter) {
	b := c.Find(&first.of) // it may have been made since somebody looked
	if b == nil {
		b = c.make(&first.of)
	}
	c.mu.Lock()
	calls := c.calls[first.of]
	delete(c.calls, first.of)
	c.joined -= len(calls)
	c.mu.Unlock()
	for _, w := range calls {
		if b.Retain() {
			w.done(b)
		} else {
			w.done(nil)
		}
	}
	first.done(b)
}

// make makes a form, retained once for the caller; nil: it cannot be had.
func (c *Cache) make(s *Source) *Body {
	coded, err := c.code(s)
	switch {
	case errors.Is(err, errChanged):
		c.counts.changed.Add(1)
		return nil
	case err != nil:
		c.counts.failed.Add(1)
		c.log.Warn("file not compressed, it is sent as it is", "file", s.Name, "err", err)
		return nil
	}
	b := &Body{of: *s, cache: c, bytes: coded}
	if int64(len(coded)) > s.Size-s.Size/gain {
		b.bytes = nil
	}
	b.cost = int64(len(b.bytes)) + entryCost
	b.refs.Store(2)
	kept := c.keep(b)
	if !kept || b.tooLarge {
		c.counts.full.Add(1)
	}
	if !kept {
		return nil
	}
	if b.tooLarge {
		return b
	}
	c.counts.made.Add(1)
	c.counts.in.Add(uint64(s.Size)) //nolint:gosec // it was read
	c.counts.out.Add(uint64(len(coded)))
	return b
}

// keep keeps a form if there is room for it. Of one that is larger than the whole Cache only that is kept, so
// that it is not made again and again.
func (c *Cache) keep(b *Body) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.cost > c.most.Load() {
		b.bytes, b.tooLarge, b.cost = nil, true, entryCost
	}
	if !c.makeRoom(b.cost) {
		return false
	}
	c.held.Add(b.cost)
	c.bodies[b.of] = c.clock.PushBack(b)
	return true
}

// makeRoom lets forms go that nobody uses and that were not asked for since it came by last, until
// there is room for so many bytes more; false: there never is, or what is being sent leaves none. The
// caller holds mu.
func (c *Cache) makeRoom(n int64) bool {
	if n > c.most.Load() {
		return false
	}
	for left := 2 * c.clock.Len(); c.held.Load()+n > c.most.Load() && left > 0 && c.clock.Len() > 0; left-- {
		e := c.clock.Front()
		b := e.Value.(*Body)
		if b.used.Swap(false) || b.refs.Load() > 1 {
			c.clock.MoveToBack(e)
			continue
		}
		c.drop(e)
	}
	return c.held.Load()+n <= c.most.Load()
}

// drop lets a form go. The caller holds mu.
func (c *Cache) drop(e *list.Element) {
	b := e.Value.(*Body)
	c.clock.Remove(e)
	delete(c.bodies, b.of)
	b.Release()
}

// code reads and compresses the file when it is its turn, which bounds the memory, too. Where reading may hang it
// is read before that, and holds up nobody elsewhere.
func (c *Cache) code(s *Source) (coded []byte, err error) {
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	if !o.Remote() {
		c.making <- struct{}{}
		defer func() { <-c.making }()
	}
	content, err := s.read(&o)
	if err != nil {
		return nil, err
	}
	if o.Remote() {
		c.making <- struct{}{}
		defer func() { <-c.making }()
	}
	return Encode(content, s.Coding, s.Level)
}

// open opens the file.
func (s *Source) open() (openfile.Opened, error) {
	o := s.Root.OpenAs(s.Name, openfile.Policy{})
	switch {
	case o.Err == syscall.ENOENT:
		return o, errChanged
	case o.Err != 0:
		return o, o.Err
	case o.FD < 0:
		return o, errChanged
	}
	return o, nil
}

// read returns the content of the open file, all of it of the version that is meant, and closes it.
func (s *Source) read(o *openfile.Opened) (content []byte, err error) {
	f := os.NewFile(uintptr(o.FD), s.Name)
	o.Do(func() {
		defer f.Close() // it was only read
		if !s.is(&o.Stat) || o.Indistinct || o.At-s.MtimeNs < int64(settled) {
			err = errChanged
			return
		}
		content = make([]byte, s.Size)
		if _, err = io.ReadFull(f, content); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = errChanged
			return
		}
		var st unix.Stat_t
		if e := unix.Fstat(int(o.FD), &st); e != nil || !s.is(&st) {
			err = errChanged
		}
	})
	return content, err
}

// is reports whether a file is the version that is meant.
func (s *Source) is(st *unix.Stat_t) bool {
	return st.Ino == s.Inode && st.Size == s.Size && st.Mtim.Nano() == s.MtimeNs && st.Ctim.Nano() == s.CtimeNs
}

// counts are those of a Cache.
type counts struct{ made, changed, failed, full, in, out atomic.Uint64 }

// Stats are what a Cache has made since its start.
type Stats struct {
	Made    uint64 // forms, also those that are no shorter and not sent
	Changed uint64 // not made, because the file has changed, less than 2 s ago or meanwhile
	Failed  uint64 // not made for other reasons
	Full    uint64 // made and not kept: larger than the Cache, or those that are being sent take all the room
	In, Out uint64 // bytes of files, and of what was made of them
	Held    int64  // bytes in memory, kept or being sent
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	n := &c.counts
	return Stats{n.made.Load(), n.changed.Load(), n.failed.Load(), n.full.Load(), n.in.Load(), n.out.Load(), c.held.Load()}
}
