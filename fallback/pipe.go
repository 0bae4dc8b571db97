package fallback

import (
	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// pipeSize is asked for: one call's worth of a transfer. Unprivileged users
	// may be refused it (/proc/sys/fs/pipe-user-pages-soft) and get 64 KiB or less.
	pipeSize = 256 << 10
	// maxIdlePipes bounds the empty pipes that are kept for reuse.
	maxIdlePipes = 64
)

// pipe carries file pages to a socket. While n is positive it belongs to one
// slot and holds [off, off+n) of file.
type pipe struct {
	r, w int32
	size int
	n    int
	off  int64
	file *aio.File
	fd   int32 // of file
}

// holds reports whether the next byte in the pipe is the one at off of f.
func (p *pipe) holds(f *aio.File, off int64) bool {
	return p.file == f && p.fd == f.FD && p.off == off
}

// pipes is a table of pipes: those in use and the idle ones, all empty.
type pipes struct {
	table []pipe
	idle  []int32 // open and empty
	gone  []int32 // closed: free entries of the table
}

// get returns the number of an empty pipe, opening one if none is idle.
func (ps *pipes) get(stats *aio.Stats) (int32, error) {
	if n := len(ps.idle); n > 0 {
		i := ps.idle[n-1]
		ps.idle = ps.idle[:n-1]
		return i, nil
	}
	r, w, size, err := sys.Pipe(pipeSize)
	if err != nil {
		return 0, err
	}
	stats.PipesOpen++
	p := pipe{r: r, w: w, size: size}
	if n := len(ps.gone); n > 0 {
		i := ps.gone[n-1]
		ps.gone = ps.gone[:n-1]
		ps.table[i] = p
		return i, nil
	}
	ps.table = append(ps.table, p)
	return int32(len(ps.table) - 1), nil
}

// put takes a pipe back: kept if it is empty and there is room, else closed.
func (ps *pipes) put(i int32, stats *aio.Stats) {
	p := &ps.table[i]
	if p.n == 0 && len(ps.idle) < maxIdlePipes {
		p.file = nil
		ps.idle = append(ps.idle, i)
		return
	}
	p.close()
	stats.PipesOpen--
	ps.gone = append(ps.gone, i)
}

func (p *pipe) close() {
	_ = sys.Close(p.r)
	_ = sys.Close(p.w)
	*p = pipe{r: -1, w: -1}
}

// free closes all pipes.
func (ps *pipes) free() {
	for i := range ps.table {
		if p := &ps.table[i]; p.r >= 0 {
			p.close()
		}
	}
}

// dropPipe takes the pipe of a slot away, with what is in it.
func (d *Driver) dropPipe(sl *slot) {
	if sl.pipe != 0 {
		d.pipes.put(sl.pipe-1, &d.stats)
		sl.pipe = 0
	}
}
