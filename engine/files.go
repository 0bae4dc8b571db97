package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
)

// fresh is how long a cached file is believed without asking the file system.
const fresh = int64(time.Second)

const (
	// settling is the age in ns from which a file's content is taken to be
	// what its time of modification says.
	settling = int64(2 * time.Second)

	// distrusted is a time of the last check that is never fresh.
	distrusted = math.MinInt64 / 2
)

// File is an open regular file that a loop's cache and transfers share. It is
// one version of the file: when the file changes, the cache opens it anew, and
// transfers of the old version go on with theirs.
type File struct {
	aio.File // the descriptor, lent to the driver

	// Body is the content of a small file that is in memory, else nil. It must
	// not be changed.
	Body []byte
	// Data is the session's: what it has derived from this version.
	Data any

	Mtime int64 // ns
	dev   uint64
	ino   uint64
	room  []byte // Config.BodyHeadroom bytes, then Body

	files   *Files
	name    string
	refs    int // transfers, and 1 for the cache
	cached  bool
	young   bool  // changed less than settling ago when it was opened
	used    bool  // since the clock's hand passed
	turn    int64 // Loop.now when it was looked up last: it is not evicted in that turn
	checked int64 // monotonic ns: when the file system was asked last
}

func (f *File) hold() { f.refs++ }

// Headed returns n bytes of scratch memory followed by the Body, in one piece,
// so that a session can keep a rendered head before the body and send both at
// once. nil: there is no body in memory, or n exceeds Config.BodyHeadroom. The
// scratch bytes may be changed only while InUse reports false.
func (f *File) Headed(n int) []byte {
	head := len(f.room) - len(f.Body)
	if f.Body == nil || n > head {
		return nil
	}
	return f.room[head-n:]
}

// InUse reports whether a transfer holds the file.
func (f *File) InUse() bool { return f.refs > 1 || f.refs == 1 && !f.cached }

func (f *File) release() {
	f.refs--
	if f.refs == 0 {
		f.files.dispose(f)
	}
}

func (f *File) unchanged(d aio.Driver) bool {
	st, e := d.Stat(&f.File)
	return e == 0 && st.Size == f.Size && st.MtimeNs == f.Mtime
}

// settled reports whether a version that was opened young has come of age. What
// was read of it may then be older than its last change: writers that were
// under way (one write(2), a mapping) leave no trace in the time of modification.
// It is opened and read once more.
func (f *File) settled(wall int64) bool { return f.young && wall-f.Mtime >= settling }

func (f *File) same(st *unix.Stat_t) bool {
	return f.Size == st.Size && f.Mtime == st.Mtim.Nano() && f.ino == st.Ino && f.dev == st.Dev
}

// Opened is what Open found: a file with its facts, not yet in any cache.
type Opened struct {
	FD   int32 // -1: not a regular file, or an error
	Stat unix.Stat_t
	Err  syscall.Errno
}

// Symlinks says which symbolic links below a root are followed.
type Symlinks uint8

const (
	SymlinksInside Symlinks = iota // those that stay below the root
	SymlinksFollow                 // all
	SymlinksDeny                   // none
)

// Root is a directory below which files are opened. It is safe for concurrent use.
type Root struct {
	dir     int
	resolve uint64
	links   Symlinks
	openat2 bool
	cached  uint64 // RESOLVE_CACHED where the kernel has it, else 0
}

// OpenRoot opens a directory.
func OpenRoot(dir string, links Symlinks) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("root: %w", &fs.PathError{Op: "open", Path: dir, Err: err})
	}
	r := &Root{dir: fd, links: links, resolve: unix.RESOLVE_NO_MAGICLINKS}
	switch links {
	case SymlinksInside:
		r.resolve |= unix.RESOLVE_BENEATH
	case SymlinksDeny:
		r.resolve |= unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	}
	if err = r.probe(r.resolve); err == nil {
		r.openat2 = true
		if !errors.Is(r.probe(r.resolve|resolveCached), unix.EINVAL) {
			r.cached = resolveCached
		}
	} else if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) {
		unix.Close(fd)
		return nil, fmt.Errorf("root: %w", &fs.PathError{Op: "openat2", Path: dir, Err: err})
	}
	return r, nil
}

// probe asks whether openat2 takes these flags.
func (r *Root) probe(resolve uint64) error {
	fd, err := unix.Openat2(r.dir, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// Close closes the directory.
func (r *Root) Close() error { return unix.Close(r.dir) }

// resolveCached is RESOLVE_CACHED (Linux 5.12): fail rather than wait for the disk.
const resolveCached = 0x20

// openFlags never wait for the other end of a FIFO, and never take a terminal.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME

// Open opens name, a relative path without dot segments, read-only. If
// cachedOnly is set it does not wait for the disk: EAGAIN means that it would
// have to (Linux 5.12; older kernels wait). Only regular files are returned
// open.
func (r *Root) Open(name string, cachedOnly bool) Opened {
	fd, err := r.open(name, openFlags, cachedOnly)
	if errors.Is(err, unix.EPERM) { // O_NOATIME is for the owner
		fd, err = r.open(name, openFlags&^unix.O_NOATIME, cachedOnly)
	}
	if err != nil {
		return Opened{FD: -1, Err: errnoOf(err)}
	}
	o := Opened{FD: int32(fd)}
	if err := unix.Fstat(fd, &o.Stat); err != nil {
		o.Err = errnoOf(err)
	}
	if o.Err != 0 || o.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		o.FD = -1
	}
	return o
}

func (r *Root) open(name string, flags uint64, cachedOnly bool) (int, error) {
	if !filepath.IsLocal(name) { // walk and SymlinksFollow rely on it
		return -1, unix.ENOENT
	}
	if !r.openat2 {
		return r.walk(name, int(flags))
	}
	how := unix.OpenHow{Flags: flags, Resolve: r.resolve}
	if cachedOnly {
		how.Resolve |= r.cached
	}
	for {
		fd, err := unix.Openat2(r.dir, name, &how)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && !cachedOnly: // a rename raced with ".." (openat2(2))
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP) && r.links == SymlinksDeny:
			return -1, unix.ENOENT // a way out of the root is as if it were not there
		default:
			return fd, err
		}
	}
}

// walk opens name one component at a time, following no symbolic link: the way
// for kernels without openat2 (before 5.6) and sandboxes that hide it. Links are
// refused even where the policy allows those inside, unless it allows all.
func (r *Root) walk(name string, flags int) (int, error) {
	if r.links == SymlinksFollow {
		return unix.Openat(r.dir, name, flags, 0)
	}
	dir, owned := r.dir, false
	for {
		first, rest, more := strings.Cut(name, "/")
		var fd int
		var err error
		if more {
			fd, err = unix.Openat(dir, first, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		} else {
			fd, err = unix.Openat(dir, first, flags|unix.O_NOFOLLOW, 0)
		}
		if owned {
			unix.Close(dir)
		}
		if errors.Is(err, unix.ELOOP) {
			err = unix.ENOENT
		}
		if err != nil || !more {
			return fd, err
		}
		dir, owned, name = fd, true, rest
	}
}

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EIO
}

// Files is a loop's cache of open files, bounded in entries and in bytes of
// bodies. A file that is not looked up for a while makes room (clock
// algorithm). An entry is asked about at the file system once a second at
// most, so a changed or replaced file is seen within one second.
type Files struct {
	loop     *Loop
	entries  map[string]*File
	clock    []*File
	hand     int
	bytes    int64 // of bodies
	max      int
	maxBytes int64
	maxBody  int64
	wall     func() int64 // Unix ns
	headroom int
	pinned   []*File // disposed, but a driver still reads
	stats    *FileStats
}

// FileStats count what a Files cache did.
type FileStats struct {
	Hits, Misses, Checks, Changed, Evicted uint64
	Open                                   int   // descriptors held
	Bytes                                  int64 // bodies held
}

func newFiles(l *Loop, cfg *Config) *Files {
	return &Files{
		loop: l, entries: make(map[string]*File), stats: &l.stats.Files,
		max: cfg.MaxFiles, maxBytes: cfg.MaxBodyBytes, wall: func() int64 { return time.Now().UnixNano() },
		maxBody:  cfg.MaxBody,
		headroom: cfg.BodyHeadroom,
	}
}

// Get returns the cached file of a name if it is fresh, else nil. It does not
// allocate. The file is valid in this turn, and as long as a transfer that was
// given it runs.
func (fs *Files) Get(name []byte) *File {
	f := fs.entries[string(name)]
	if f == nil || fs.loop.now-f.checked > fresh {
		return nil
	}
	f.used, f.turn = true, fs.loop.now
	fs.stats.Hits++
	return f
}

// Open returns the file of a name, opening or checking it. EAGAIN: that would
// wait for the disk; call root.Open on a goroutine (Loop.Go) and give Add what
// it returns. EISDIR: it is a directory. ENXIO: it is neither that nor a regular
// file. key is the name in the cache, which may say more than name.
func (fs *Files) Open(r *Root, key, name string) (*File, syscall.Errno) {
	o := r.Open(name, true)
	if outOfDescriptors(o.Err) && fs.spare() {
		o = r.Open(name, true)
	}
	return fs.Add(key, o)
}

func outOfDescriptors(e syscall.Errno) bool { return e == syscall.EMFILE || e == syscall.ENFILE }

// spare lets go of files until a descriptor is free, and reports whether one is.
func (fs *Files) spare() bool {
	for before := fs.stats.Open; fs.evictIdle(); {
		if fs.stats.Open < before {
			return true
		}
	}
	return false
}

// Add puts an opened file in the cache under a name and returns it; the
// descriptor is the cache's from here on. If the cache holds the same version
// already, that is returned instead.
func (fs *Files) Add(key string, o Opened) (*File, syscall.Errno) {
	old := fs.entries[key]
	if o.FD < 0 {
		if o.Err == syscall.EAGAIN {
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
		if old.same(&o.Stat) && !old.settled(fs.wall()) {
			fs.loop.closeFD(o.FD)
			old.checked, old.used, old.turn = fs.loop.now, true, fs.loop.now
			fs.load(old)
			return old, 0
		}
		fs.stats.Changed++
		fs.drop(old)
	}
	fs.stats.Misses++
	f := &File{
		File:  aio.File{FD: o.FD, Size: o.Stat.Size},
		Mtime: o.Stat.Mtim.Nano(), dev: o.Stat.Dev, ino: o.Stat.Ino,
		files: fs, name: key, checked: fs.loop.now, turn: fs.loop.now,
	}
	f.young = fs.wall()-f.Mtime < settling
	fs.insert(f)
	fs.load(f)
	return f, 0
}

func (fs *Files) insert(f *File) {
	for len(fs.clock) >= fs.max && fs.evictIdle() {
	}
	f.cached, f.refs = true, 1
	fs.entries[f.name] = f
	fs.clock = append(fs.clock, f)
	fs.stats.Open++
}

// makeRoom lets go of bodies until there is room for n bytes, and reports
// whether there is.
func (fs *Files) makeRoom(n int64) bool {
	for fs.bytes+n > fs.maxBytes {
		if n > fs.maxBytes || !fs.evictIdle() {
			return false
		}
	}
	return true
}

// load keeps the body of a small file if it is in memory.
func (fs *Files) load(f *File) {
	if f.Size == 0 || f.Size > fs.maxBody || f.Body != nil || !fs.makeRoom(f.Size) {
		return
	}
	room := make([]byte, int64(fs.headroom)+f.Size)
	body := room[fs.headroom:]
	n, e := fs.loop.driver.ReadAt(&f.File, body, 0)
	if e != 0 || int64(n) != f.Size || !f.unchanged(fs.loop.driver) {
		return // not in memory, or it is being changed: the next check tries again
	}
	f.Body, f.room = body, room
	fs.bytes += f.Size
	fs.stats.Bytes = fs.bytes
}

// evictIdle lets go of a file that has not been used since the hand passed. What
// was looked up in this turn stays, since a session may be about to send it.
func (fs *Files) evictIdle() bool {
	for range 2 * len(fs.clock) {
		fs.hand %= len(fs.clock)
		f := fs.clock[fs.hand]
		if !f.used && f.turn != fs.loop.now {
			fs.stats.Evicted++
			fs.drop(f)
			return true
		}
		f.used = false
		fs.hand++
	}
	return false
}

// drop takes a file out of the cache. Transfers keep it open.
func (fs *Files) drop(f *File) {
	if !f.cached {
		return
	}
	for i, g := range fs.clock {
		if g == f {
			last := len(fs.clock) - 1
			fs.clock[i] = fs.clock[last]
			fs.clock[last] = nil
			fs.clock = fs.clock[:last]
			break
		}
	}
	fs.forget(f)
	f.release()
}

// forget takes a file out of the books of the cache, all but the clock.
func (fs *Files) forget(f *File) {
	f.cached = false
	delete(fs.entries, f.name)
	if f.Body != nil {
		fs.bytes -= f.Size
		fs.stats.Bytes = fs.bytes
	}
}

// dispose closes a file that nobody holds, once the driver does not read it.
func (fs *Files) dispose(f *File) {
	if f.Pins > 0 {
		fs.pinned = append(fs.pinned, f)
		return
	}
	fs.loop.closeFD(f.FD)
	if f.Reader > 0 {
		fs.loop.closeFD(f.Reader)
	}
	f.FD = -1
	fs.stats.Open--
}

func (fs *Files) mustSweep() bool { return len(fs.pinned) > 0 }

// sweep disposes of files that a driver was still reading.
func (fs *Files) sweep() {
	pinned := fs.pinned
	fs.pinned = fs.pinned[:0]
	for _, f := range pinned {
		fs.dispose(f)
	}
}

// close lets go of everything. The driver must be destroyed.
func (fs *Files) close() {
	for len(fs.clock) > 0 {
		fs.drop(fs.clock[len(fs.clock)-1])
	}
	for _, f := range fs.pinned {
		f.Pins = 0
	}
	fs.sweep()
}

// Clean reports whether name is a relative path that Open takes.
func Clean(name string) bool { return filepath.IsLocal(name) && path.Clean(name) == name }
