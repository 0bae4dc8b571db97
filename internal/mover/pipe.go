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
	pipeBytes = 260 << 10
	// maxIdlePipes bounds the pool.
	maxIdlePipes = 64
)

// pipe is a kernel pipe and the number of bytes in it.
type pipe struct {
	r, w int32
	held int64
	next *pipe
}

// pipePool keeps empty pipes. A pipe that holds bytes is never pooled: they
// would go out to somebody else.
type pipePool struct {
	free  *pipe
	idle  int
	stats *aio.Stats
}

func (p *pipePool) get() (*pipe, error) {
	if q := p.free; q != nil {
		p.free, q.next = q.next, nil
		p.idle--
		return q, nil
	}
	r, w, _, err := sys.Pipe(pipeBytes)
	if err != nil {
		return nil, err
	}
	p.stats.PipesOpen++
	return &pipe{r: r, w: w}, nil
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
