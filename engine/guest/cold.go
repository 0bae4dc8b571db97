package guest

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
	"github.com/fserve/fserve/internal/sys"
)

// coldWorkers bounds the threads that wait for the disk on behalf of Send,
// however many downloads there are. A driver has as many for its loop.
const coldWorkers = 16

// coldFile is what the ranges of a file are fetched through: a descriptor of our
// own, which stays open until the last fetch has ended, whatever becomes of the
// caller's.
type coldFile struct {
	mover.Source
	refs atomic.Int32
}

// openCold opens f, which the caller holds open, once more.
func openCold(f *aio.File) (*coldFile, error) {
	c := &coldFile{Source: mover.Source{FD: -1, Reader: mover.Reader(f)}}
	if c.Reader < 0 {
		fd, err := unix.FcntlInt(uintptr(f.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		c.FD = int32(fd)
	}
	c.refs.Store(1)
	return c, nil
}

func (c *coldFile) release() {
	if c.refs.Add(-1) == 0 {
		sys.Close(max(c.FD, c.Reader)) // the other one is -1
	}
}

// coldRead is a range on its way into memory. done is closed when it has ended.
type coldRead struct {
	mover.Fetch
	done chan struct{}
}

// read has a range of a file read in for the Send of st. Until that has ended it
// keeps a reference to the file, and is under way.
func (g *Guests) read(st *mover.State, file *coldFile, r mover.Range) *coldRead {
	g.enterRead()
	file.refs.Add(1)
	j := &coldRead{done: make(chan struct{})}
	j.Source, j.Range = file.Source, r
	j.Done = func() {
		close(j.done)
		file.release()
		g.exit()
	}
	g.cold.Submit(st, &j.Fetch)
	return j
}
