package mover

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// checkWindow is what residency is asked for at once. Asking costs about
	// 1 us per MiB of 4 KiB pages, and up to 20 where the kernel has to fetch what
	// it knows of each page from main memory.
	checkWindow = 1 << 20

	// believe is how long a window is taken to stay in memory, in ns: a hot one
	// is not asked about at each request, see believeLonger. Being wrong costs a
	// wait for the disk.
	believe = int64(100e6)

	// recall is how long a range that was fetched is taken to stay in memory
	// where the file system cannot tell, in ns: short against the time that
	// pages of even a small cache live.
	recall = int64(1e9)
)

// pageSize is what cachestat(2) counts in.
var pageSize = int64(os.Getpagesize())

func pageDown(n int64) int64 { return n &^ (pageSize - 1) }
func pageUp(n int64) int64   { return pageDown(n + pageSize - 1) }

// plan decides how much of [off, off+n) may be sent now without waiting for
// the disk. With 0 the slot waits for the fetch of the range that is returned
// or, if that is empty, for the one under way.
func (m *Mover) plan(st *State, f *aio.File, off, n int64) (int64, Range) {
	switch {
	case st.resident.holds(off):
		return min(n, st.resident.End-off), Range{}
	case !st.fetching.Empty():
		return 0, Range{}
	case off >= f.Size || m.isHot(f):
		return n, Range{} // beyond the end there is nothing to wait for
	}
	end := m.hotUntil(f, off)
	if end <= off && m.isResident(f, off, n) {
		end = off + min(n, f.Size-off)
	}
	if end > off {
		st.resident, st.streak = Range{off, end}, false
		return min(n, end-off), Range{}
	}
	st.fetching = m.chunk(f, pageDown(off))
	return 0, st.fetching
}

// chunk returns what is fetched at a time from off, as far as the file goes.
func (m *Mover) chunk(f *aio.File, off int64) Range {
	return Range{off, off + min(m.coldChunk, f.Size-off)}
}

// isHot reports whether all of a small file is in memory.
func (m *Mover) isHot(f *aio.File) bool {
	if m.Now < f.ResidentUntil {
		return true
	}
	if f.Size > checkWindow || !m.isResident(f, 0, f.Size) {
		return false
	}
	f.ResidentUntil = m.Now + believe
	return true
}

// maxWindows bounds the memory by which a file's residency is remembered: files
// up to 64 GiB are.
const maxWindows = 64 << 10

// hotUntil returns the end of the window around off, if all of that is in
// memory, else 0. The answer holds for all who read the file.
func (m *Mover) hotUntil(f *aio.File, off int64) int64 {
	i := off / checkWindow
	if f.Windows == nil {
		n := (f.Size-1)/checkWindow + 1 // off is within
		if n > maxWindows {
			return 0
		}
		f.Windows = make([]int64, n)
	}
	start, until := i*checkWindow, f.Windows[i]
	if m.Now >= until {
		if !m.isResident(f, start, checkWindow) {
			f.Windows[i] = 0
			return 0
		}
		f.Windows[i] = believeLonger(m.Now, until)
	}
	return min(start+checkWindow, f.Size)
}

// believeLonger returns until when a window is believed that was found in memory now,
// and was believed last until then: twice as long as that time if it is in use and
// still there, up to 0.8 s. The two lowest bits count the doublings.
func believeLonger(now, then int64) int64 {
	const most = 3
	doubled := int64(0)
	if before := then & most; then > 0 && now-then < believe<<before {
		doubled = min(before+1, most)
	}
	return (now+believe<<doubled)&^most | doubled
}

// readAhead asks for the chunk after the resident one once the position has
// passed its first quarter, so that the disk works while the socket does: later
// would leave it idle between chunks, at once would fetch a chunk in vain for
// every short range.
func (m *Mover) readAhead(st *State) Range {
	end := st.resident.End
	if !st.streak || !st.fetching.Empty() || end >= st.file.Size || st.next <= end-m.coldChunk*3/4 {
		return Range{}
	}
	// Not asked whether it is resident: the kernel's read-ahead may have brought
	// it in and left its mark there, which the fetch takes away.
	st.fetching = m.chunk(st.file, end)
	return st.fetching
}

// Fetched tells the Mover how the fetch of a slot has ended. It returns the
// error that is to be told with Ready, if the slot waits for it: one that is
// not fatal the attempt itself will meet or not.
//
// What was fetched counts as resident from here on, whatever the kernel did
// with it since: otherwise a machine short of memory would fetch the same
// range for ever. After a failed read-ahead there is none again; the attempt
// that comes to the place fetches it and hears of the failure.
func (m *Mover) Fetched(st *State, e syscall.Errno) syscall.Errno {
	r := st.fetching
	st.fetching, st.fetch = Range{}, nil
	if e != 0 {
		m.stats.CountError(e)
		if aio.Classify(e) == aio.Fatal {
			st.streak = false
			return e
		}
	} else {
		m.remember(st.file, r)
	}
	if st.resident.End == r.Off && !st.resident.Empty() {
		st.resident.End = r.End
	} else {
		st.resident = r
	}
	st.streak = true
	return 0
}

// remember notes that a range of a file was read in just now. A range that
// adjoins the one that is known extends it, without making it last longer.
func (m *Mover) remember(f *aio.File, r Range) {
	k := &f.Fetched
	if m.Now < k.Until && r.Off <= k.End && r.End >= k.Off {
		k.Off, k.End = min(k.Off, r.Off), max(k.End, r.End)
		return
	}
	*k = aio.FetchedRange{Off: r.Off, End: r.End, Until: m.Now + recall}
}

// isResident reports whether [off, off+n) of f, as far as the file goes, is in
// the page cache. off must be within the file, unless that is empty.
//
// cachestat(2) (Linux 6.5) answers for whole ranges, on files that the process
// owns or may write; elsewhere the first and the last page are probed. It
// counts pages that are still being read, so while we fetch from the file the
// last page is probed too: reads end in order.
func (m *Mover) isResident(f *aio.File, off, n int64) bool {
	if off >= f.Size {
		return true
	}
	m.advise(f)
	n = min(n, f.Size-off)
	last := off + n - 1
	if !f.Foreign {
		var cs sys.Cachestat
		switch e := sys.CachestatRange(f.FD, off, n, &cs); {
		case e != 0: // not ours to ask about, or an older kernel
			f.Foreign = true
		case int64(cs.Cached) > (pageDown(last)-pageDown(off))/pageSize:
			return f.Pins == 0 || m.probe(f, off, n, last)
		case cs.Cached == 0 && f.Fetched.Covers(off, n, m.Now):
			// It was just read. The pages belong to another inode then, as
			// they do on overlayfs, and cachestat is of no use.
			f.Foreign = true
		default:
			return false
		}
	}
	return m.probe(f, off, n, off) && (pageDown(off) == pageDown(last) || m.probe(f, off, n, last))
}

// advise tells the kernel, once, not to read ahead. That is the fetches' work:
// the kernel's own is started by whoever meets a page that is missing, even by
// a probe, and that is the loop.
func (m *Mover) advise(f *aio.File) {
	if !f.Advised {
		f.Advised = true
		_ = sys.Fadvise(f.FD, unix.FADV_RANDOM) // only advice
		f.Advice = adviceOf(f.FD)
	}
}

// probe reports whether the byte at pos, which stands for n bytes from off, can
// be read without waiting. Past the end of the file it can. Where the file
// system cannot tell (overlayfs above all, on which the files of container
// images live) what was just fetched is believed to be there.
func (m *Mover) probe(f *aio.File, off, n, pos int64) bool {
	var b [1]byte
	_, e := sys.PreadNowait(f.FD, b[:], pos)
	if aio.Classify(e) == aio.Unsupported {
		return f.Fetched.Covers(off, n, m.Now)
	}
	return e != syscall.EAGAIN // another error the attempt will meet without waiting
}

// ReadAt reads into p what is in memory already and answers as aio.Driver's
// ReadAt does.
func (m *Mover) ReadAt(f *aio.File, p []byte, off int64) (int, syscall.Errno) {
	n, e := sys.PreadNowait(f.FD, p, off)
	if aio.Classify(e) != aio.Unsupported {
		return n, e
	}
	if f.Fetched.Covers(off, int64(len(p)), m.Now) {
		return sys.Pread(f.FD, p, off)
	}
	return 0, syscall.EAGAIN // so the caller must not count on it
}
