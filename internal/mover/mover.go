// Package mover moves ranges of files to non-blocking sockets: the part of
// SendFile that does not depend on how a driver waits. It decides the way
// (sendfile, splice through a pipe, copy) and steps down where a file system
// refuses one, tells resident ranges from cold ones, and says which range the
// driver should fetch off the loop.
//
// A Mover belongs to one event loop. It starts nothing and waits for nothing.
package mover

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// maxCall bounds what one system call is asked to move, so that a fast
	// receiver does not hold the loop (see DESIGN, "how much in one turn").
	maxCall = 1 << 20

	// checkWindow is how far ahead of a position residency is asked for at
	// once. Asking costs about 1 us per MiB of 4 KiB pages.
	checkWindow = 1 << 20

	// believe is how long a file that fits the window is taken to stay in
	// memory, in ns: a hot one is not asked about at each request. Being wrong
	// costs a wait for the disk.
	believe = int64(100e6)

	// copyBuffer is the size of the buffer of the copying way.
	copyBuffer = 256 << 10

	pageSize = 4 << 10
)

// Mover is one loop's mover.
type Mover struct {
	// Edge is set by a driver that waits for edges of readiness: an answer of
	// BlockedSocket must then come from EAGAIN, since a short count may also
	// mean that the file has ended.
	Edge bool

	// Now is the monotonic time of the loop's turn in ns; the driver sets it.
	Now int64

	mode      aio.Mode
	coldChunk int64
	stats     *aio.Stats
	pipes     pipePool
	scratch   []byte // copying way; made at first use
}

// State is what a Mover remembers about one slot between attempts. The zero
// value is a slot that has sent nothing.
type State struct {
	file     *aio.File // whose ranges follow
	resident Range     // known to be in memory, or fetched a moment ago
	fetching Range     // being fetched by the driver
	streak   bool      // resident was fetched: the file is cold, so read ahead
	pipe     *pipe     // splice: bytes taken from the file and not yet sent
	next     int64     // where a sequential reader goes on
	window   int64     // how far residency was asked for last

	// Epoch changes whenever the State is forgotten. A driver keeps it beside a
	// fetch, and calls Fetched only if it is still the same at the end.
	Epoch uint32
}

// Range is [Off, End) of a file.
type Range struct{ Off, End int64 }

// Empty reports whether r holds no byte.
func (r Range) Empty() bool { return r.End <= r.Off }

func (r Range) covers(off, end int64) bool { return off >= r.Off && end <= r.End }
func (r Range) holds(off int64) bool       { return off >= r.Off && off < r.End }

// New returns a Mover that counts into stats.
func New(cfg aio.Config, stats *aio.Stats) *Mover {
	cfg = cfg.WithDefaults()
	return &Mover{mode: cfg.Mode, coldChunk: cfg.ColdChunk, stats: stats, pipes: pipePool{stats: stats}}
}

// Close frees the pooled pipes. States must have been Reset before.
func (m *Mover) Close() { m.pipes.close() }

// Send moves up to n bytes of f from off to sock and answers as aio.Driver's
// SendFile does. For BlockedSocket the driver arms its wait. A non-empty range
// is for the driver to fetch (then call Fetched); with BlockedDisk its end is
// what the slot waits for, with any other status it is read-ahead. BlockedDisk
// with an empty range means that the fetch under way is the one to wait for.
func (m *Mover) Send(sock int32, st *State, f *aio.File, off, n int64, more bool) (aio.Sent, Range) {
	if st.file != f || st.next != off {
		m.Reset(st)
		st.file, st.next = f, off
	}
	n = min(n, maxCall)
	if n <= 0 {
		return aio.Sent{}, Range{}
	}
	var s aio.Sent
	var fetch Range
	if st.pipe != nil { // its bytes are in memory by nature
		s = m.pour(sock, st, n, more)
	} else {
		var ok bool
		if n, fetch, ok = m.plan(st, f, off, n); !ok {
			return aio.Sent{Status: aio.BlockedDisk}, fetch
		}
		s = m.move(sock, st, f, off, n, more)
	}
	st.next += s.N
	m.stats.Bytes[s.Via] += uint64(s.N)
	return s, fetch
}

// plan decides how much of [off, off+n) may be sent now without waiting for
// the disk, and what to fetch.
func (m *Mover) plan(st *State, f *aio.File, off, n int64) (int64, Range, bool) {
	if st.resident.holds(off) {
		n = min(n, st.resident.End-off)
		return n, m.readAhead(st, f, off+n), true
	}
	if !st.fetching.Empty() {
		return 0, Range{}, false
	}
	if m.Now < f.ResidentUntil {
		return n, Range{}, true
	}
	if off == 0 && f.Size <= checkWindow && isResident(f, 0, f.Size) {
		f.ResidentUntil = m.Now + believe
		return n, Range{}, true
	}
	if !f.Advised {
		// Read-ahead is the fetches' work. The kernel's own would be started by
		// whoever meets a page that is missing, even by a probe: the loop.
		f.Advised = true
		_ = sys.Fadvise(f.FD, unix.FADV_RANDOM)
	}
	// A sequential reader is believed further each time, so that long
	// transfers ask seldom and short ranges ask for no more than they send.
	window := max(n, min(2*st.window, checkWindow))
	if isResident(f, off, window) {
		st.resident, st.streak, st.window = Range{off, off + window}, false, window
		return n, Range{}, true
	}
	if window > n && isResident(f, off, n) {
		st.resident, st.streak, st.window = Range{off, off + n}, false, n
		return n, Range{}, true
	}
	st.fetching = Range{off &^ (pageSize - 1), max(min(off+m.coldChunk, f.Size), off+n)}
	return 0, st.fetching, false
}

// readAhead asks for the chunk after the resident one once the position has
// passed its first quarter, so that disk and socket work at the same time.
func (m *Mover) readAhead(st *State, f *aio.File, pos int64) Range {
	if !st.streak || !st.fetching.Empty() || pos < st.resident.End-m.coldChunk*3/4 {
		return Range{}
	}
	next := Range{st.resident.End, min(st.resident.End+m.coldChunk, f.Size)}
	if next.Empty() {
		return Range{}
	}
	if isResident(f, next.Off, m.coldChunk) {
		st.resident.End = next.End
		return Range{}
	}
	st.fetching = next
	return next
}

// Fetched tells the Mover that the fetch of a slot has ended. What it covered
// counts as resident from here on, whatever the kernel did with it since:
// otherwise a machine short of memory would fetch the same range for ever.
func (m *Mover) Fetched(st *State) {
	if st.resident.End == st.fetching.Off && st.resident.Off < st.resident.End {
		st.resident.End = st.fetching.End
	} else {
		st.resident = st.fetching
	}
	st.streak = true
	st.fetching = Range{}
}

// Reset forgets what a slot was sending. A pipe with bytes in it is closed.
// A fetch under way is the driver's to follow; Fetched must not be called for
// it any more.
func (m *Mover) Reset(st *State) {
	if st.pipe != nil {
		m.pipes.put(st.pipe)
	}
	*st = State{Epoch: st.Epoch + 1}
}

// isResident reports whether [off, off+n) of f, as far as the file goes, is in
// the page cache. cachestat(2) (Linux 6.5) answers for whole ranges, on files
// that the process owns or may write; elsewhere the first and the last page
// are probed with RWF_NOWAIT. cachestat counts pages that are still being read,
// so while we fetch from the file the last page is probed too: reads end in order.
func isResident(f *aio.File, off, n int64) bool {
	end := min(off+n, f.Size)
	if end <= off {
		return true // past the end: nothing to wait for
	}
	if !f.Foreign {
		var cs sys.Cachestat
		if e := sys.CachestatRange(f.FD, off, end-off, &cs); e == 0 {
			return int64(cs.Cached) >= (end+pageSize-1)/pageSize-off/pageSize &&
				(f.Pins == 0 || probe(f, end-1))
		}
		f.Foreign = true
	}
	return probe(f, off) && probe(f, end-1)
}

// probe reports whether the byte at off can be read without waiting. Past the
// end of the file it can; a file system that cannot tell is taken to be able.
func probe(f *aio.File, off int64) bool {
	var b [1]byte
	_, e := sys.PreadNowait(f.FD, b[:], off)
	return e != syscall.EAGAIN
}

// move sends resident bytes by the best way that the file supports.
func (m *Mover) move(sock int32, st *State, f *aio.File, off, n int64, more bool) aio.Sent {
	if m.mode <= aio.Sendfile && f.Refused&(1<<aio.ViaSendfile) == 0 {
		s := m.sendfile(sock, f, off, n)
		if !m.refused(f, s, m.mode == aio.Sendfile) {
			return s
		}
	}
	if m.mode != aio.Copy && f.Refused&(1<<aio.ViaSplice) == 0 {
		s := m.splice(sock, st, f, off, n, more)
		if !m.refused(f, s, false) {
			return s
		}
	}
	return m.copy(sock, f, off, n, more)
}

// refused notes that a way is not supported for f. The attempt has moved nothing.
func (m *Mover) refused(f *aio.File, s aio.Sent, last bool) bool {
	if last || s.Status != aio.Failed || s.N > 0 || aio.Classify(s.Err) != aio.Unsupported {
		return false
	}
	f.Refused |= 1 << s.Via
	m.stats.StepsDown[s.Via]++
	return true
}

// outcome turns the result of a system call that writes to the socket into an
// answer. A short count means that the socket's buffer is full, or that the
// file ends here; the next attempt tells which.
func (m *Mover) outcome(via aio.Via, n int64, got int, e syscall.Errno) aio.Sent {
	s := aio.Sent{Via: via, N: int64(got)}
	switch {
	case e == 0 && got == 0:
		s.Status = aio.EOF
	case e == 0 && s.N < n && !m.Edge, e == syscall.EAGAIN:
		s.Status = aio.BlockedSocket
	case e != 0:
		s.Status, s.Err = aio.Failed, e
		m.stats.Errors[aio.Classify(e)]++
	}
	return s
}

func (m *Mover) sendfile(sock int32, f *aio.File, off, n int64) aio.Sent {
	got, e := sys.Sendfile(sock, f.FD, off, int(n))
	return m.outcome(aio.ViaSendfile, n, got, e)
}

// copy reads into memory and sends from there. What the socket does not take
// is read again at the next attempt.
func (m *Mover) copy(sock int32, f *aio.File, off, n int64, more bool) aio.Sent {
	if m.scratch == nil {
		m.scratch = make([]byte, copyBuffer)
	}
	n = min(n, copyBuffer)
	got, e := sys.Pread(f.FD, m.scratch[:n], off)
	if e != 0 || got == 0 {
		return m.outcome(aio.ViaCopy, n, got, e)
	}
	want := int64(got)
	sent, e := sys.Send(sock, m.scratch[:got], more || want < n)
	return m.outcome(aio.ViaCopy, want, sent, e)
}
