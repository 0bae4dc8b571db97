package openfile

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/lease"
)

// Consistency says what keeps a response from joining two versions of a file that is
// written to in place. What is replaced by another file of its name never joins.
type Consistency uint8

const (
	// ConsistencyAuto is ConsistencyLease where a lease can be had, else ConsistencyCheck.
	ConsistencyAuto Consistency = iota
	// ConsistencyLease holds a read lease on what is sent without copying (fcntl(2),
	// F_SETLEASE): a writer is held until no byte of the old version can leave any more, and
	// responses that have bytes on the way are reset. What gets no lease is copied.
	ConsistencyLease
	// ConsistencyCopy sends from private memory. A change is found by a lease where one
	// can be had, else by size and time of modification before the last bytes leave.
	ConsistencyCopy
	// ConsistencyCheck sends without copying, and looks at size and time of modification
	// before the last bytes leave. Bytes that lie in the socket change with the file.
	ConsistencyCheck
)

// Policy says how files are treated that somebody may write to in place.
type Policy struct {
	Consistency Consistency
	// Growing is for what is only ever appended to: it is sent up to the length that it
	// had, and may grow meanwhile.
	Growing bool
	// Wait is for files that are open for writing, and were written to, or opened to be, so
	// lately: how long the first request for one waits for the end of that. Then the file is served
	// by ConsistencyCheck, or copied. 0: at once. Negative: the request is refused.
	Wait time.Duration
	// Hashed wants File.Hash, which an Opening finds: a file is never opened on the loop.
	Hashed bool
}

// Leases is what a cache needs of a lease.Watch.
type Leases interface {
	Take(fd int32) syscall.Errno
	Held(fd int32) bool
	Give(fd int32)
}

const (
	// askAgain is how long a file is believed to be written to still, in ns.
	askAgain = int64(5e6)
	// idleAfter is how long a file that is open for writing is waited for although it looks as if
	// nobody writes, in ns: who has opened it may be held by another's lease, or about to cut it,
	// which sets the time of modification afterwards. An empty file may be one that was cut.
	idleAfter = int64(50e6)
	// stillAsked is how long after the last question a wait goes on, in ns: requests that wait ask every
	// few ms. A later one may meet another writer, who has only begun.
	stillAsked = int64(250e6)
	// forgetBusy is how long a file is remembered that was being written, in ns.
	forgetBusy = int64(60e9)
)

// busy is a file that was being written when it was asked for.
type busy struct {
	since, asked int64 // monotonic ns
	broken       bool  // it has become so by breaking a lease
	idle         bool  // it is open for writing, and nobody has written
	over         bool  // it was waited for long enough: the next requests do not
}

// hold makes sure of a file that was opened as its policy says. ETXTBSY: it is being
// written, and is not given to anybody yet. EAGAIN: it has changed since it was opened.
// emptied says that it had content before.
func (fs *Files) hold(f *File, emptied bool) syscall.Errno {
	if f.policy.Growing || f.leased || f.asked == fs.now {
		return 0
	}
	if f.contested {
		return syscall.EAGAIN // a lease now would vouch for what was sent before, too
	}
	f.asked = fs.now
	e := syscall.ENOSYS
	if fs.leases != nil && !f.Remote() && f.policy.Consistency != ConsistencyCheck {
		e = fs.leases.Take(f.lent.FD)
	}
	switch {
	case e == 0:
		if st, e := fs.driver.Stat(&f.lent); e == 0 && (st.Size != f.Size || st.MtimeNs != f.Mtime) {
			fs.leases.Give(f.lent.FD)
			return syscall.EAGAIN // it was being written when it was opened
		}
		f.leased = true
		fs.leased[f.lent.FD] = f
		fs.stats.Leases++
		delete(fs.busy, f.key)
	case e == syscall.EAGAIN, emptied:
		f.contested = true
		f.Indistinct = f.Indistinct || f.young // a write that has begun leaves no trace at its end
		fs.stats.LeasesRefused++
		if fs.mustWait(f) {
			return syscall.ETXTBSY
		}
	default:
		fs.stats.LeasesRefused++
	}
	if f.policy.Consistency == ConsistencyCopy || f.policy.Consistency == ConsistencyLease && !f.leased {
		f.lent.Refused |= 1<<aio.ViaSendfile | 1<<aio.ViaSplice
	} else {
		f.lends = true
	}
	return 0
}

// mustWait reports whether a file that is being written is not to be given to anybody.
func (fs *Files) mustWait(f *File) bool {
	wait := int64(f.policy.Wait)
	if wait <= 0 {
		return wait < 0
	}
	b := fs.busy[f.key]
	if b == nil {
		b = &busy{since: fs.now, asked: fs.now}
		fs.busy[strings.Clone(f.key)] = b
	}
	if fs.now-b.asked > stillAsked && !b.over {
		b.since = fs.now
	}
	b.asked = fs.now
	switch idle := !b.broken && f.Size > 0 && fs.wall()-f.Mtime >= wait; {
	case idle:
		b.idle, wait = true, min(wait, idleAfter)
	case b.idle: // it is not any more
		b.idle, b.over, b.since = false, false, fs.now
	}
	b.over = b.over || fs.now-b.since >= wait
	return !b.over
}

// isBusy reports whether a file was being written a moment ago, and is waited for still.
func (fs *Files) isBusy(key string) bool {
	b := fs.busy[key]
	return b != nil && !b.over && fs.now-b.asked < askAgain
}

// forgetBusyFiles forgets those that nobody has asked for in a while.
func (fs *Files) forgetBusyFiles() {
	for key, b := range fs.busy {
		if fs.now-b.asked > forgetBusy {
			delete(fs.busy, key)
		}
	}
}

// Broken tells of a break of the lease on a descriptor, or of lease.All. The cache forgets
// each file of which that is true, and calls each for it, retained: a writer is held until
// GiveUp. Until then the file is as it was.
func (fs *Files) Broken(fd int32, each func(*File)) {
	if fd != lease.All {
		fs.broken(fs.leased[fd], each)
		return
	}
	for _, f := range fs.leased {
		fs.broken(f, each)
	}
}

func (fs *Files) broken(f *File, each func(*File)) {
	if f == nil || fs.leases.Held(f.lent.FD) {
		return
	}
	delete(fs.leased, f.lent.FD)
	f.broken = true
	fs.stats.LeasesBroken++
	if f.policy.Wait > 0 { // the writer is held, and has written nothing yet
		fs.busy[strings.Clone(f.key)] = &busy{since: fs.now, asked: fs.now - askAgain, broken: true}
	}
	f.Retain()
	fs.drop(f)
	each(f)
}

// GiveUp gives up the lease of a file for which Broken has called each, and releases it.
func (fs *Files) GiveUp(f *File) {
	fs.giveUp(f)
	f.Release()
}

// EndLeases gives up every lease, and takes none any more.
func (fs *Files) EndLeases() {
	for _, fd := range slices.Sorted(maps.Keys(fs.leased)) { // in an order, so that runs of the simulation can be repeated
		f := fs.leased[fd]
		f.broken = true
		fs.giveUp(f)
	}
	fs.leases = nil
}

// giveUp gives up the lease of a file, if it has one.
func (fs *Files) giveUp(f *File) {
	if !f.leased {
		return
	}
	f.leased = false
	delete(fs.leased, f.lent.FD)
	fs.leases.Give(f.lent.FD)
	fs.stats.Leases--
}

// IsOpenForWriting reports whether somebody has a file open for writing, as far as its file
// system and its owner let that be known.
func IsOpenForWriting(fd int32) bool { return lease.Probe(fd) == syscall.EAGAIN }
