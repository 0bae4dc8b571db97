// Package openfile opens files below a root without leaving it, and keeps them open:
// a cache for each event loop, in which a version of a file is one File for all responses
// that send it.
package openfile

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

// Files is a loop's cache of open files, bounded in entries, and of the bodies of those
// that are asked for often, bounded in bytes. A file that is not looked up for a while makes
// room (clock algorithm). An entry is asked about at the file system once a second at
// most, so a changed or replaced file is seen within one second.
type Files struct {
	driver  Driver
	closeFD func(fd int32)
	spent   func()
	now     int64  // monotonic ns: when the turn of the loop has begun
	request uint64 // number of the one for which files are looked up

	entries  map[string]*File
	clock    []*File
	hand     int
	max      int // at the moment; see Bound
	most     int // ever
	maxBody  int64
	small    arena   // of bodies up to smallBody
	large    arena   // of larger ones
	briefs   []*File // that were read for the request
	rooms    [][]byte
	demand   demand
	wall     func() int64 // Unix ns
	headroom int
	dropped  []*File // that were looked up for the request
	pinned   []*File // disposed, but a driver still reads
	memory   memory
	leases   Leases // nil: none are taken
	leased   map[int32]*File
	busy     map[string]*busy
	stats    *Stats
}

// Stats count what a cache did.
type Stats struct {
	Hits, Misses, Checks, Changed, Evicted uint64
	LeasesRefused, LeasesBroken            uint64
	Open                                   int   // descriptors held
	Leases                                 int   // held
	Bytes                                  int64 // of bodies in memory
}

// Driver is what the cache needs of a loop's driver.
type Driver interface {
	ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno)
	Stat(f *aio.File) (aio.FileStat, syscall.Errno)
}

// Config bounds a cache, whose loop lends it the rest.
type Config struct {
	Max      int   // entries
	MaxBody  int64 // bytes: up to which size bodies may be kept in memory
	MaxBytes int64 // of all such bodies up to 16 KiB, with what is before each
	MaxLarge int64 // of larger ones
	Headroom int   // bytes before each body, for File.Headed

	Driver  Driver
	Leases  Leases // nil: none are taken
	CloseFD func(fd int32)
	Spent   func()       // called when a file could not be opened for lack of descriptors; nil: is not
	Wall    func() int64 // Unix ns
	Stats   *Stats       // counts into it
}

// NewFiles returns an empty cache.
func NewFiles(c Config) *Files {
	fs := &Files{
		driver: c.Driver, closeFD: c.CloseFD, spent: c.Spent, wall: c.Wall, stats: c.Stats, entries: make(map[string]*File),
		max: c.Max, most: c.Max, maxBody: c.MaxBody, headroom: c.Headroom,
		leases: c.Leases, leased: make(map[int32]*File), busy: make(map[string]*busy),
	}
	fs.small = arena{size: int(c.MaxBytes), worth: fs.worthOf, evicted: fs.dropBody}
	fs.large = arena{size: int(c.MaxLarge), worth: fs.worthOf, evicted: fs.dropBody}
	return fs
}

// Turn tells the instant of a turn of the loop that begins, in monotonic ns. It does what
// BeginRequest does.
func (fs *Files) Turn(now int64) {
	fs.now = now
	fs.BeginRequest()
}

// BeginRequest ends the time for which the files are valid that were looked up so far.
func (fs *Files) BeginRequest() {
	if len(fs.briefs)+len(fs.dropped) > 0 {
		fs.endBriefs()
		fs.endDropped()
	}
	fs.request++ // last: what has gone until here has gone before the new one
}

// endDropped lets go of the files that were dropped while they were valid for a request.
func (fs *Files) endDropped() {
	for i, f := range fs.dropped {
		f.Release()
		fs.dropped[i] = nil
	}
	fs.dropped = fs.dropped[:0]
}

// Get returns the cached file of a name if it is fresh, else nil. It does not
// allocate. The file is valid until BeginRequest, and as long as a response that was
// given it runs.
func (fs *Files) Get(name []byte) *File {
	f := fs.entries[string(name)]
	if f == nil || fs.now-f.checked > fresh {
		return nil
	}
	if f.request != fs.request {
		if fs.demand.hit(f, len(fs.clock)); !fs.ready(f) {
			f.Distrust()
			return nil
		}
	}
	f.used, f.request = true, fs.request
	fs.stats.Hits++
	return f
}

// Open returns the file of a name, opening or checking it. EAGAIN: that would
// wait; begin an Opening, or call root.Open off the loop, and give Add what
// that returns. EISDIR: it is a directory. ENXIO: it is neither that nor a regular
// file. ETXTBSY: it is being written, and p says to wait for that or to refuse it. key is
// the name in the cache, which may say more than name. Nothing of key and name is kept.
func (fs *Files) Open(r *Root, key, name string, p Policy) (*File, syscall.Errno) {
	if fs.isBusy(key) {
		return nil, syscall.ETXTBSY
	}
	if p.Hashed {
		return nil, syscall.EAGAIN
	}
	o := r.Open(name, true)
	if OutOfDescriptors(o.Err) && fs.Spare() {
		o = r.Open(name, true)
	}
	return fs.Add(key, o, p)
}

// OutOfDescriptors reports whether an error says that there are no more of them.
func OutOfDescriptors(e syscall.Errno) bool { return e == syscall.EMFILE || e == syscall.ENFILE }

// Spare lets go of a file that no response uses, and reports whether that has freed a
// descriptor.
func (fs *Files) Spare() bool {
	before := fs.stats.Open
	return fs.evict(true) && fs.stats.Open < before
}

// Add puts an opened file in the cache under a name, of which it keeps a copy, and returns it;
// the descriptor is the cache's from here on. If the cache holds the same version
// already, that is returned instead.
func (fs *Files) Add(key string, o Opened, p Policy) (*File, syscall.Errno) {
	old := fs.entries[key]
	if o.FD < 0 {
		if o.Err == syscall.EAGAIN || o.Err == syscall.EBUSY {
			return nil, o.Err // which says nothing of the file
		}
		if OutOfDescriptors(o.Err) { // which says nothing of the file
			if fs.spent != nil {
				fs.spent()
			}
			return nil, o.Err
		}
		if old != nil {
			fs.drop(old)
		}
		switch {
		case o.Err != 0:
			return nil, o.Err
		case o.Stat.Mode&unix.S_IFMT == unix.S_IFDIR:
			return nil, syscall.EISDIR
		}
		return nil, syscall.ENXIO
	}
	if old != nil {
		fs.stats.Checks++
		if old.same(&o.Stat) && old.Hash == o.Hash && old.policy == p && !old.contested && !old.aged(&o, fs.wall()) {
			fs.close(o.FD, o.From)
			if old.request != fs.request {
				fs.demand.hit(old, len(fs.clock))
			}
			old.checked, old.used, old.request = fs.now, true, fs.request
			fs.touch(old, &o)
			fs.load(old, o.Body)
			return old, 0
		}
		fs.stats.Changed++
		fs.drop(old)
	}
	fs.stats.Misses++
	f := fs.memory.file(fs, key, &o)
	f.policy = p
	f.young = fs.wall()-f.Mtime < settling
	if f.young || !f.isBrief() || fs.busy[key] != nil { // else only if it cannot be read
		if e := fs.hold(f, f.Size == 0 && old != nil && old.Size > 0); e != 0 {
			fs.close(o.FD, o.From)
			fs.memory.put(f, fs.request)
			return nil, e
		}
	}
	fs.insert(f)
	fs.demand.hit(f, len(fs.clock))
	fs.load(f, o.Body)
	return f, 0
}

// Bound makes the cache hold n files at most, if that is less than Config.Max: its descriptors
// are needed. It lets go of some at a time.
func (fs *Files) Bound(n int) {
	fs.max = max(min(n, fs.most), min(fewFiles, fs.most))
	fs.shrink(fs.max, boundMost)
}

// shrink lets go of what is over size, but for no more files than most.
func (fs *Files) shrink(size, most int) {
	for ; most > 0 && len(fs.clock) > size && fs.evict(false); most-- {
	}
}

func (fs *Files) insert(f *File) {
	fs.shrink(fs.max-1, insertMost)
	f.cached, f.refs, f.at = true, 1, len(fs.clock)
	fs.entries[f.key] = f
	fs.clock = append(fs.clock, f)
	fs.stats.Open++
}

const (
	// fewFiles is how many a cache may always hold.
	fewFiles = 16
	// boundMost and insertMost are how many files are let go of at once: to close one takes
	// about 1 us.
	boundMost  = 256
	insertMost = 8

	// evictLooks bounds the files that are looked at for one to evict, so that it takes no
	// longer among many. It is more than are looked up for one request.
	evictLooks = 64
	// evictChances is how many of them may stay because they are in use, or were since the
	// hand passed.
	evictChances = 32
)

// evict lets go of a file that has not been used since the hand passed, or of one that
// has if none is found soon; with idle of one that no response uses. What was looked up
// for the request at hand stays, since a session may be about to send it.
func (fs *Files) evict(idle bool) bool {
	for i := range min(evictLooks, 2*len(fs.clock)) {
		fs.hand %= len(fs.clock)
		f := fs.clock[fs.hand]
		inUse := f.refs > 1
		if f.request != fs.request && !(inUse && idle) && (i >= evictChances || !inUse && !f.used) {
			fs.stats.Evicted++
			fs.drop(f)
			return true
		}
		f.used = false
		fs.hand++
	}
	return false
}

// drop takes a file out of the cache. Responses keep it open, and the request at hand does.
func (fs *Files) drop(f *File) {
	if !f.cached {
		return
	}
	last := fs.clock[len(fs.clock)-1]
	fs.clock[f.at], last.at = last, f.at
	fs.clock[len(fs.clock)-1] = nil
	fs.clock = fs.clock[:len(fs.clock)-1]
	fs.forget(f)
	if f.request == fs.request {
		fs.dropped = append(fs.dropped, f)
		return
	}
	f.Release()
}

// forget takes a file out of the books of the cache, all but the clock.
func (fs *Files) forget(f *File) {
	f.cached = false
	delete(fs.entries, f.key)
}

// dispose closes a file that nobody holds, once the driver does not read it. The lease goes at
// once: a break would find the file, and have it disposed of twice.
func (fs *Files) dispose(f *File) {
	fs.giveUp(f)
	if b := f.block; b != nil {
		fs.dropBody(f)
		fs.arenaOf(f).release(b)
	}
	if f.lent.Pins > 0 {
		fs.pinned = append(fs.pinned, f)
		return
	}
	fs.close(f.lent.FD, f.from)
	if f.lent.Reader > 0 {
		fs.closeFD(f.lent.Reader)
	}
	fs.stats.Open--
	fs.memory.put(f, fs.request)
}

// MustSweep reports whether Sweep is to be called before long.
func (fs *Files) MustSweep() bool { return len(fs.pinned) > 0 }

// Sweep disposes of files that a driver was still reading.
func (fs *Files) Sweep() {
	fs.forgetBusyFiles()
	pinned := fs.pinned
	fs.pinned = fs.pinned[:0]
	for _, f := range pinned {
		fs.dispose(f)
	}
}

// Close lets go of everything. The driver must be destroyed.
func (fs *Files) Close() {
	for len(fs.clock) > 0 {
		fs.drop(fs.clock[len(fs.clock)-1])
	}
	fs.endDropped()
	for _, f := range fs.pinned {
		f.lent.Pins = 0
	}
	fs.Sweep()
	fs.small.close()
	fs.large.close()
}

// Prune calls keep for each file of the cache, by its key, and lets go of those for
// which it returns false: responses keep theirs open. keep may set File.Data. It is
// one pass, which does not wait. It is for the loop's own goroutine, and not while a
// session still uses what it has looked up for a request.
func (fs *Files) Prune(keep func(key string, f *File) bool) {
	kept := fs.clock[:0]
	for _, f := range fs.clock {
		if keep(f.key, f) {
			f.at = len(kept)
			kept = append(kept, f)
			continue
		}
		fs.forget(f)
		f.Release()
	}
	clear(fs.clock[len(kept):])
	fs.clock = kept
	fs.memory.clear() // what it has was made of what was before
}

// SetHeadroom changes Config.Headroom for this cache, in bytes. Bodies that are
// in memory with less before them are let go of, and read again when they are
// asked for. It is for the loop's own goroutine.
func (fs *Files) SetHeadroom(n int) {
	if n > fs.headroom {
		fs.Prune(func(_ string, f *File) bool { return f.Body == nil })
	}
	fs.endBriefs()
	fs.rooms, fs.headroom = nil, n
}
