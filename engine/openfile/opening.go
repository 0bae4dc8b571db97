package openfile

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
)

const (
	// leasePatience is how long an Opening waits for another process to give up its lease
	// on a file. The kernel takes it away after 45 s (/proc/sys/fs/lease-break-time).
	leasePatience = 5 * time.Second
	// firstPause and lastPause are the times between two attempts meanwhile.
	firstPause = time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// Opening opens files of one Root, one after the other, on a goroutine of the Root's.
type Opening struct {
	Names []string // as for Root.Open
	// MaxBody is the size in bytes up to which the content of a remote file is read, too.
	MaxBody int64
	// Hashed has the hash of each file's content found, too; see Policy.
	Hashed bool
	// Done is called once, on any goroutine, when Got is complete.
	Done func()
	// Got has what was found, in the order of Names. EBUSY: the root has too much to do, or
	// another process has a lease on the file and keeps it.
	Got []Opened

	root  *Root
	far   bool          // it is in the pool for other file systems
	pause time.Duration // the last one
	since time.Time     // of the first pause
}

// Begin begins an Opening, for which the root must stay open. It does not wait.
func (r *Root) Begin(o *Opening) {
	o.root, o.far = r, r.remote.Load()
	o.queue()
}

// queue leaves the rest to a pool, unless too many wait there.
func (o *Opening) queue() {
	if !o.pool().try(o.run) {
		o.end()
	}
}

func (o *Opening) pool() *pool {
	if o.far {
		return &o.root.far
	}
	return &o.root.near
}

// run opens what is left. What lies on the file system of a local root waits for nothing
// but that; all else is in a pool of its own, so that a mount that hangs takes nothing from
// the files around it.
func (o *Opening) run() {
	for len(o.Got) < len(o.Names) {
		name := o.Names[len(o.Got)]
		got := o.root.within(name)
		if got.Err == unix.EXDEV {
			if !o.far {
				o.far = true
				o.queue()
				return
			}
			got = o.root.across(name)
		}
		if got.Err == unix.EAGAIN && o.wait() {
			return
		}
		o.pause = 0
		if got.Err == unix.EAGAIN {
			got.Err = unix.EBUSY
		}
		if o.Hashed {
			got.Hash = o.root.hash(name, &got, o.resolve())
		}
		got.read(o.MaxBody)
		o.Got = append(o.Got, got)
	}
	o.end()
}

// resolve returns what opens are bounded by; see within.
func (o *Opening) resolve() uint64 {
	if o.far {
		return 0
	}
	return unix.RESOLVE_NO_XDEV
}

// end ends the Opening: what is not open yet is busy.
func (o *Opening) end() {
	for len(o.Got) < len(o.Names) {
		o.Got = append(o.Got, Opened{FD: -1, Err: unix.EBUSY})
	}
	o.Done()
}

// wait tries again after a pause, which needs no thread: another process has a lease on the
// file and was told to give it up. It reports false if that has taken too long.
func (o *Opening) wait() bool {
	if o.pause == 0 {
		o.since = time.Now()
	} else if time.Since(o.since) > leasePatience {
		return false
	}
	o.pause = min(max(2*o.pause, firstPause), lastPause)
	o.pool().later(o.pause, o.run)
	return true
}

// within opens a name on the file system of the root itself. EXDEV: it is on another one, or
// nowhere below the root. EAGAIN: another process has a lease on the file.
func (r *Root) within(name string) Opened {
	if !r.openat2 {
		return Opened{FD: -1, Err: unix.EXDEV}
	}
	o := r.find(name, unix.RESOLVE_NO_XDEV)
	if r.remote.Load() {
		o.From = r
	}
	return o
}

// across opens a name on whatever file system it is.
func (r *Root) across(name string) Opened {
	o := r.find(name, 0)
	if o.FD >= 0 && IsRemote(int(o.FD)) {
		o.From = r
	}
	return o
}

// find opens a name. It may wait.
func (r *Root) find(name string, resolve uint64) Opened {
	fd, err := r.open(name, openFlags, resolve)
	if err != nil {
		return Opened{FD: -1, Err: sys.ErrnoOf(err)}
	}
	o := Opened{FD: int32(fd), At: time.Now().UnixNano()}
	if resolve&resolveCached != 0 {
		o.Err = sys.FstatAll(fd, &o.Stat)
	} else if err := unix.Fstat(fd, &o.Stat); err != nil {
		o.Err = sys.ErrnoOf(err)
	}
	if o.Err != 0 || o.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		o.FD = -1
		return o
	}
	o.Indistinct = indistinct(fd, &o.Stat, o.At)
	return o
}

// read reads the content of a small remote file, if it does not change meanwhile.
func (o *Opened) read(most int64) {
	if o.FD < 0 || o.From == nil || o.Stat.Size == 0 || o.Stat.Size > most {
		return
	}
	body := make([]byte, o.Stat.Size)
	if n, e := readFull(unix.Pread, o.FD, body, 0); e != 0 || n < len(body) {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(int(o.FD), &st) == nil && st.Size == o.Stat.Size && st.Mtim == o.Stat.Mtim {
		o.Body = body
	}
}

// readFull reads from a file until p is full or the file ends. It waits for the file system.
func readFull(pread func(fd int, p []byte, off int64) (int, error), fd int32, p []byte, off int64) (n int, e syscall.Errno) {
	for n < len(p) {
		k, err := pread(int(fd), p[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, sys.ErrnoOf(err)
		case k == 0:
			return n, 0
		default:
			n += k
		}
	}
	return n, 0
}
