package openfile

import (
	"math"
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

// File is an open regular file that a loop's cache and responses share. It is
// one version of the file: when the file changes, the cache opens it anew, and
// responses of the old version go on with theirs.
type File struct {
	Size  int64 // bytes
	Mtime int64 // Unix ns
	Ctime int64 // Unix ns: of the last change of content or inode
	Ino   uint64
	// Opened is when the file system said so, in Unix ns. Indistinct says that the file
	// may have changed since, and kept its times.
	Opened     int64
	Indistinct bool
	// Hash is the SHA-256 of the content in hexadecimal, if Policy.Hashed wants it and
	// somebody has said it; else empty.
	Hash string

	// Body is the content of a file that is in memory, else nil. It must not be changed.
	Body []byte
	// Loads counts how often content came into memory: what was made of it is of that.
	Loads uint32
	// Data is the session's: what it has derived from this version. Spare is the Data of
	// another one, which is gone: its memory may be used again.
	Data, Spare any

	lent   aio.File // the descriptor, for the driver
	dev    uint64
	room   []byte // Config.Headroom bytes, then the content; nil: that is not in memory
	block  *block // that has room, unless brief
	brief  bool   // room is for the request at hand
	policy Policy

	files   *Files
	from    Far // of a remote file, else nil
	key     string
	name    []byte // memory of key
	refs    int    // responses, and 1 for the cache
	cached  bool
	young   bool   // changed less than settling ago when it was opened
	used    bool   // since the clock's hand passed
	hits    uint32 // requests up to era; see demand
	era     uint32
	at      int    // in the clock
	request uint64 // for which it was looked up last: it is not evicted for that one
	checked int64  // monotonic ns: when the file system was asked last

	asked  int64 // monotonic ns: when a lease was asked for last
	leased bool  // nobody writes to it until the lease is given up
	broken bool  // somebody waits for that, or has it open to write by now
	lends  bool  // what is sent of it are its own pages

	contested bool // somebody had it open for writing when a lease was asked for
}

// Lent returns the file as a driver knows it, whose memory it is too.
func (f *File) Lent() *aio.File { return &f.lent }

// Key returns the name that the file has in the cache. It is valid as long as the file is.
func (f *File) Key() string { return f.key }

// Retain keeps the file open until Release is called for it.
func (f *File) Retain() { f.refs++ }

// Headed returns n bytes of scratch memory followed by the content, in one piece,
// so that a session can keep a rendered head before it and send both at
// once. nil: the content is not in memory, or n exceeds Config.Headroom. The
// scratch bytes may be changed only while InUse reports false, or if Brief has content.
func (f *File) Headed(n int) []byte {
	if f.room == nil {
		return nil
	}
	head := len(f.room) - int(f.Size)
	if n > head {
		return nil
	}
	return f.room[head-n:]
}

// Brief returns the content of a small file that was read for the request at hand, else nil.
// It is valid as the file is without a response (see Files.Get): a Segment of it that is
// given to Respond is copied if it is not sent at once.
func (f *File) Brief() []byte {
	if !f.brief {
		return nil
	}
	return f.room[len(f.room)-int(f.Size):]
}

// Content returns what is in memory of the file: Body, or Brief; else nil.
func (f *File) Content() []byte {
	if f.Body != nil {
		return f.Body
	}
	return f.Brief()
}

// InUse reports whether a response holds the file.
func (f *File) InUse() bool { return f.refs > 1 || f.refs == 1 && !f.cached }

// Release ends what Retain has begun.
func (f *File) Release() {
	f.refs--
	if f.refs == 0 {
		f.files.dispose(f)
	}
}

// Unchanged reports whether the file is still the version that was opened: by its lease,
// or else by its size and its time of modification, which the file system is asked for.
func (f *File) Unchanged(d Driver) bool {
	if f.leased || f.broken {
		return f.leased
	}
	st, e := d.Stat(&f.lent)
	if f.policy.Growing {
		return e == 0 && st.Size >= f.Size
	}
	// Who has it open may put the time of modification back, but not that of change. That of others is
	// not asked: a new link changes it, too.
	return e == 0 && st.Size == f.Size && st.MtimeNs == f.Mtime && (!f.contested || st.CtimeNs == f.Ctime)
}

// Leased reports whether the file does not change while responses send it, because a
// writer is held meanwhile.
func (f *File) Leased() bool { return f.leased }

// Lends reports whether a writer waits until bytes that were sent have left the machine:
// the file is leased, and its own pages are sent.
func (f *File) Lends() bool { return f.leased && f.lends }

// sure reports whether what the cache has is known to be the file without asking: as it
// was within a second, for what is kept in memory, or may not be asked about on a loop.
func (f *File) sure() bool {
	return f.leased || f.Body != nil && !f.young || f.policy.Growing || f.Remote()
}

// Distrust makes the cache ask about the file before it gives it to anybody else.
func (f *File) Distrust() { f.checked = distrusted }

// aged reports whether a version that was opened young has come of age. What
// was read of it may then be older than its last change: writers that were
// under way (one write(2), a mapping) leave no trace in the time of modification.
// It is opened and read once more.
func (f *File) aged(o *Opened, wall int64) bool {
	return f.young && wall-f.Mtime >= settling || f.Indistinct && !o.Indistinct
}

// same compares the time of change too: a time of modification can be set back.
func (f *File) same(st *unix.Stat_t) bool {
	return f.Size == st.Size && f.Mtime == st.Mtim.Nano() && f.Ctime == st.Ctim.Nano() && f.Ino == st.Ino && f.dev == st.Dev
}
