// Package mover moves ranges of files to non-blocking sockets: the part of
// SendFile that does not depend on how a driver waits. It decides the way
// (sendfile, splice through a pipe, copy) and steps down where a file system
// refuses one, tells resident ranges from cold ones, and says which range the
// driver should fetch off the loop.
//
// None of the ways can be told not to wait for the disk. So residency is asked
// for first (resident.go), and what is missing the driver fetches. A fetch moves
// the range to /dev/null through a second description of the file, so that the
// kernel reads ahead of it; where there is none (reader.go), it advises the kernel
// that the range will be needed and reads the last byte, which waits for the
// rest. Pool does so on goroutines, for whoever has no ring (pool.go).
//
// A Mover belongs to one event loop. It starts nothing and waits for nothing.
package mover

import (
	"math"
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// maxCall bounds what one system call is asked to move, in bytes, so that a
	// fast receiver does not hold the loop. Under Reno half of it costs 5 % more
	// CPU time a byte, and twice as much saves nothing.
	maxCall = 1 << 20

	// copyBuffer is the size of the buffer of the copying way.
	copyBuffer = 256 << 10
)

// Mover is one loop's mover.
type Mover struct {
	// Edge is set by a driver that waits for edges of readiness: an answer of
	// BlockedSocket then comes from EAGAIN, after which there will be an edge.
	// A short count may also be the end of the file.
	Edge bool

	// Now is the monotonic time of the loop's turn in ns; the driver sets it
	// when it is asked for the time.
	Now int64

	mode       aio.Mode
	coldChunk  int64 // whole pages
	stats      *aio.Stats
	pipes      pipePool
	maxTaken   uint64 // pipes
	smallUntil int64  // ns: until when none is made for Take
	scratch    []byte // copying way; made at first use
}

// State is what a Mover remembers about one slot between attempts. The zero
// value is a slot that has sent nothing.
//
//	resident.Off     next    resident.End      fetching.End
//	-----|-------------|------------|------------------|-----
//	     |    sent     | not asked  |  being fetched   |
//	     |             | for again  |  (read-ahead)    |
type State struct {
	file     *aio.File // whose ranges follow
	serial   uint64    // of that
	resident Range     // known to be in memory, or fetched a moment ago
	fetching Range     // being fetched by the driver
	streak   bool      // resident was fetched: the file is cold, so read ahead
	pipe     *pipe     // splice: bytes taken from the file and not yet sent
	next     int64     // where a sequential reader goes on
	fetch    *Fetch    // of a Pool: what brings fetching in

	// Epoch changes whenever the State is forgotten. A driver keeps it beside a
	// fetch, and calls Fetched only if it is still the same at the end.
	Epoch uint32
}

// Range is [Off, End) of a file.
type Range struct{ Off, End int64 }

// Empty reports whether r holds no byte.
func (r Range) Empty() bool { return r.End <= r.Off }

// of reports whether the State is that of a file.
func (st *State) of(f *aio.File) bool { return st.file == f && st.serial == f.Serial }

func (r Range) holds(off int64) bool { return off >= r.Off && off < r.End }

// New returns a Mover that counts into stats.
func New(cfg aio.Config, stats *aio.Stats) *Mover {
	cfg = cfg.WithDefaults()
	chunk := max(pageUp(cfg.ColdChunk), pageSize)
	return &Mover{mode: cfg.Mode, coldChunk: chunk, stats: stats, pipes: pipePool{stats: stats}, maxTaken: uint64(cfg.Pipes)}
}

// Close frees the pooled pipes. States must have been Reset before.
func (m *Mover) Close() { m.pipes.close() }

// Send moves up to n bytes of f from off to sock and answers as aio.Driver's
// SendFile does. For BlockedSocket the driver arms its wait. A non-empty range
// is for the driver to fetch (then call Fetched); with BlockedDisk its end is
// what the slot waits for, with any other status it is read-ahead. BlockedDisk
// with an empty range means that the fetch under way is the one to wait for.
//
// If the attempt does not go on where the last one of the slot ended, the
// State is Reset first.
func (m *Mover) Send(sock int32, st *State, f *aio.File, off, n int64, more bool) (aio.Sent, Range) {
	switch {
	case n < 0 || off < 0 || off > math.MaxInt64-n:
		return aio.Sent{Status: aio.Failed, Err: syscall.EINVAL}, Range{}
	case n == 0:
		return aio.Sent{Via: m.way(f)}, Range{}
	}
	if !st.of(f) || st.next != off {
		m.restart(st, f, off)
	}
	var s aio.Sent
	if st.pipe != nil { // its bytes are in memory by nature
		s = m.pour(sock, st, n, more)
	} else {
		k, fetch := m.plan(st, f, off, min(n, maxCall))
		if k == 0 {
			return aio.Sent{Status: aio.BlockedDisk, Via: m.way(f)}, fetch
		}
		s = m.move(sock, st, f, off, k, more || k < n)
	}
	st.next += s.N
	m.stats.Bytes[s.Via] += uint64(s.N)
	if s.Status == aio.OK || s.Status == aio.BlockedSocket {
		return s, m.readAhead(st)
	}
	return s, Range{}
}

// Read moves up to len(p) bytes of f from off to p and answers as aio.Driver's ReadFile
// does. The range is as that of Send.
func (m *Mover) Read(st *State, f *aio.File, p []byte, off int64) (aio.Sent, Range) {
	n := int64(len(p))
	if off < 0 || off > math.MaxInt64-n {
		return aio.Sent{Status: aio.Failed, Err: syscall.EINVAL}, Range{}
	}
	s := aio.Sent{Via: aio.ViaCopy}
	if n == 0 {
		return s, Range{}
	}
	if !st.of(f) || st.next != off || st.pipe != nil {
		m.restart(st, f, off)
	}
	k, fetch := m.plan(st, f, off, n)
	if k == 0 {
		s.Status = aio.BlockedDisk
		return s, fetch
	}
	// Not preadv2(2) with RWF_NOWAIT: for what is missing it starts the disk, without read-ahead.
	got, e := sys.Pread(f.FD, p[:k], off)
	switch s.N = int64(got); {
	case e != 0:
		s.Status, s.Err = aio.Failed, ofFile(e)
		m.stats.CountError(e)
		return s, Range{}
	case got == 0:
		s.Status = aio.EOF
		return s, Range{}
	}
	st.next += s.N
	return s, m.readAhead(st)
}

// Reset forgets what a slot was sending. A pipe with bytes in it is closed. A
// fetch under way is abandoned: it ends in its own time, and Fetched must not be
// called for it any more.
func (m *Mover) Reset(st *State) {
	if st.fetch != nil {
		st.fetch.abandoned.Store(true)
	}
	if st.pipe != nil {
		m.pipes.put(st.pipe)
	}
	*st = State{Epoch: st.Epoch + 1}
}

// restart makes a State that of an attempt at another place than where the last one ended.
func (m *Mover) restart(st *State, f *aio.File, off int64) {
	m.Reset(st)
	st.file, st.serial, st.next = f, f.Serial, off
}

// ways lists for each mode what is tried, best first. Copy is never refused.
var ways = [...][]aio.Via{
	aio.Auto:     {aio.ViaSendfile, aio.ViaSplice},
	aio.Sendfile: {aio.ViaSendfile},
	aio.Splice:   {aio.ViaSplice},
	aio.Copy:     nil,
}

// way returns the best way that the file has not refused.
func (m *Mover) way(f *aio.File) aio.Via {
	for _, via := range ways[m.mode] {
		if f.Refused&(1<<via) == 0 {
			return via
		}
	}
	return aio.ViaCopy
}

// move sends resident bytes, stepping down to the next way when the file
// system refuses one.
func (m *Mover) move(sock int32, st *State, f *aio.File, off, n int64, more bool) aio.Sent {
	for {
		var s aio.Sent
		switch m.way(f) {
		case aio.ViaSendfile:
			s = m.sendfile(sock, f, off, n)
		case aio.ViaSplice:
			s = m.splice(sock, st, f, off, n, more)
		default:
			return m.copy(sock, f, off, n, more)
		}
		// The copy that stands in for a splice without a pipe is no refusal.
		if s.Via == aio.ViaCopy || s.Status != aio.Failed || s.N > 0 || aio.Classify(s.Err) != aio.Unsupported {
			return s
		}
		f.Refused |= 1 << s.Via
		m.stats.StepsDown[s.Via]++
	}
}

// outcome turns the result of a system call that writes to the socket into an
// answer. EAGAIN may come with bytes that an earlier call has moved.
func (m *Mover) outcome(via aio.Via, n int64, got int, e syscall.Errno) aio.Sent {
	s := aio.Sent{Via: via, N: int64(got)}
	switch {
	case s.N == n: // an error after that will come again
	case e == syscall.EAGAIN, e == 0 && got > 0 && !m.Edge:
		// Short: the socket's buffer is full, or the file ends here. The
		// attempt that follows Ready tells which.
		s.Status = aio.BlockedSocket
	case aio.Classify(e) == aio.Wait:
		s.Status = aio.BlockedMemory
		m.stats.CountError(e)
	case e != 0:
		s.Status, s.Err = aio.Failed, e
		m.stats.CountError(e)
	case got == 0:
		s.Status = aio.EOF
	}
	return s
}

// sendfile sends by sendfile(2). A short count tells nothing that an edge would
// follow, so then the call is repeated, for one page to make a refusal cheap.
func (m *Mover) sendfile(sock int32, f *aio.File, off, n int64) aio.Sent {
	got, e := sys.Sendfile(sock, f.FD, off, int(n))
	if left := n - int64(got); m.Edge && e == 0 && got > 0 && left > 0 {
		var k int
		k, e = sys.Sendfile(sock, f.FD, off+int64(got), int(min(left, pageSize)))
		got += k
	}
	return m.outcome(aio.ViaSendfile, n, got, e)
}

// copy reads into memory and sends from there. What the socket does not take
// is read again at the next attempt.
func (m *Mover) copy(sock int32, f *aio.File, off, n int64, more bool) aio.Sent {
	if m.scratch == nil {
		m.scratch = make([]byte, copyBuffer)
	}
	ask := min(n, copyBuffer)
	read, e := sys.Pread(f.FD, m.scratch[:ask], off)
	if e != 0 || read == 0 {
		return m.outcome(aio.ViaCopy, ask, 0, ofFile(e))
	}
	sent, e := sys.Send(sock, m.scratch[:read], more || int64(read) < n)
	if e == 0 && sent < read {
		e = syscall.EAGAIN // a short send, unlike a short sendfile, means just that (epoll(7))
	}
	return m.outcome(aio.ViaCopy, int64(read), sent, e)
}

// ofFile returns the error of a read. EAGAIN, which no regular file should give,
// would be taken for a full socket, and a wait for that would never end.
func ofFile(e syscall.Errno) syscall.Errno {
	if e == syscall.EAGAIN {
		return syscall.EIO
	}
	return e
}
