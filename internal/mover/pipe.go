package mover

import (
	"syscall"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// pipeBytes is asked for each pipe. An unaligned 256 KiB touches 65 pages;
	// the kernel rounds the 260 KiB up to 128 slots of a page each. Without
	// privilege a user may hold 64 MiB of pipes (pipe-user-pages-soft), after
	// which new ones get less; any size works.
	pipeBytes = aio.StageMax + 4<<10
	// maxIdlePipes bounds the pool.
	maxIdlePipes = 16
	// smallPause is how long none is made for Stage after one came out small, in ns.
	smallPause = int64(1e9)
)

// pipe is a kernel pipe and the number of bytes in it.
type pipe struct {
	r, w int32
	size int32 // bytes, if each of its pages is full
	held int64
	next *pipe
}

// pipePool keeps empty pipes. A pipe that holds bytes is never pooled: they
// would go out to somebody else.
type pipePool struct {
	free  *pipe
	idle  int
	trim  Idle
	stats *aio.Stats
}

func (p *pipePool) get() (*pipe, error) {
	if q := p.free; q != nil {
		p.free, q.next = q.next, nil
		p.idle--
		p.trim.Left(p.idle)
		return q, nil
	}
	r, w, size, err := sys.Pipe(pipeBytes)
	if err != nil {
		return nil, err
	}
	p.stats.PipesOpen++
	return &pipe{r: r, w: w, size: int32(size)}, nil
}

func (p *pipePool) put(q *pipe) {
	if q.held > 0 || p.idle >= maxIdlePipes {
		p.destroy(q)
		return
	}
	q.next, p.free = p.free, q
	p.idle++
}

func (p *pipePool) destroy(q *pipe) {
	sys.Close(q.r)
	sys.Close(q.w)
	p.stats.PipesOpen--
}

// Trim closes pipes that nobody has needed for a while by m.Now, and returns when that is to be
// done again, in monotonic ns; 0: when there are any.
func (m *Mover) Trim() (next int64) {
	p := &m.pipes
	n, next := p.trim.Surplus(p.idle, m.Now)
	for range n {
		q := p.free
		p.free = q.next
		p.idle--
		p.destroy(q)
	}
	return next
}

func (p *pipePool) close() {
	for q := p.free; q != nil; q = q.next {
		p.destroy(q)
	}
	p.free, p.idle = nil, 0
}

// splice moves file -> pipe -> socket. On entry the slot has no pipe; on return
// it has one only if bytes are left in it.
func (m *Mover) splice(sock int32, st *State, f *aio.File, off, n int64, more bool) aio.Sent {
	q, err := m.pipes.get()
	if err != nil {
		// Out of descriptors, most likely: memory will do this once.
		m.stats.StepsDown[aio.ViaSplice]++
		return m.copy(sock, f, off, n, more)
	}
	got, e := sys.SpliceFromFile(q.w, f.FD, off, int(n))
	if e != 0 || got == 0 {
		m.pipes.put(q)
		return m.outcome(aio.ViaSplice, n, got, ofFile(e))
	}
	q.held = int64(got)
	st.pipe = q
	return m.pour(sock, st, n, more)
}

// pour moves up to n bytes from the slot's pipe to the socket.
func (m *Mover) pour(sock int32, st *State, n int64, more bool) aio.Sent {
	q := st.pipe
	want := min(n, q.held)
	got, e := sys.SpliceToSocket(sock, q.r, int(want), more || want < n)
	if e == 0 && got == 0 {
		e = syscall.EIO // the pipe is not empty: this cannot be
	}
	s := m.outcome(aio.ViaSplice, want, got, e)
	q.held -= s.N
	if q.held == 0 || s.Status == aio.Failed {
		m.pipes.put(q)
		st.pipe = nil
	}
	return s
}

// Stage answers as aio.Driver's Stage does. In modes other than Auto and Splice, and of
// files that refuse it, nothing is taken.
func (m *Mover) Stage(st *State, f *aio.File, off, n int64) bool {
	refused := m.mode != aio.Auto && m.mode != aio.Splice || f.Refused&(1<<aio.ViaSplice) != 0
	if refused || n <= 0 || n > aio.StageMax || off < 0 || off > f.Size-n || !m.mayStage(st) || !m.isThere(st, f, off, n) {
		return false
	}
	q, err := m.pipes.get()
	if err != nil {
		return false
	}
	if pageUp(off-pageDown(off)+n) > int64(q.size) { // a page that is begun takes a whole one's place
		m.pipes.destroy(q) // or it would be the next one again
		m.smallUntil = m.Now + smallPause
		return false
	}
	got, e := sys.SpliceFromFile(q.w, f.FD, off, int(n))
	q.held = int64(got)
	if q.held < n {
		m.pipes.put(q)
		if aio.Classify(e) == aio.Unsupported {
			f.Refused |= 1 << aio.ViaSplice
			m.stats.StepsDown[aio.ViaSplice]++
		}
		return false
	}
	if !st.of(f) || st.next != off {
		m.restart(st, f, off)
	}
	st.pipe = q
	return true
}

// mayStage reports whether the slot has no pipe yet and there is one to spare.
func (m *Mover) mayStage(st *State) bool {
	return st.pipe == nil && (m.pipes.idle > 0 || m.stats.PipesOpen < m.maxTaken && m.Now >= m.smallUntil)
}

// isThere reports whether [off, off+n) of f, which the file has, is in memory.
func (m *Mover) isThere(st *State, f *aio.File, off, n int64) bool {
	if st.of(f) && st.resident.holds(off) && off+n <= st.resident.End || m.isHot(f) {
		return true
	}
	for end := off + n; off < end; {
		hot := m.hotUntil(f, off)
		if hot <= off {
			return m.isResident(f, off, end-off)
		}
		off = hot
	}
	return true
}
