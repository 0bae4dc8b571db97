package fallback

import (
	"sync"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/mover"
)

// fetch is a range of a file on its way into the page cache, for the slot of
// token while its epoch lasts. The file is pinned meanwhile.
type fetch struct {
	mover.Fetch
	token aio.Token
	epoch uint32
	file  *aio.File
}

// finished holds the fetches that have ended until the loop takes them.
type finished struct {
	mu      sync.Mutex
	fetches []*fetch // under mu
}

// add may be called from any goroutine.
func (l *finished) add(j *fetch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetches = append(l.fetches, j)
}

func (l *finished) take() []*fetch {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.fetches
	l.fetches = nil
	return all
}

// fetch has a range of a file brought in for a slot. The file is pinned until
// that has ended, whatever becomes of the slot.
func (d *Driver) fetch(t aio.Token, sl *slot, f *aio.File, r mover.Range) {
	j := &fetch{token: t, epoch: sl.move.Epoch, file: f}
	j.Source, j.Range = mover.SourceOf(f), r
	j.Done = func() {
		d.finished.add(j)
		d.Wake()
	}
	f.Pins++
	d.fetching++
	d.stats.ColdReads++
	d.pool.Submit(&sl.move, &j.Fetch)
}

// collect takes the fetches that have ended.
func (d *Driver) collect() {
	for _, j := range d.finished.take() {
		d.fetching--
		j.file.Pins--
		if sl := d.lookup(j.token); sl != nil && sl.move.Epoch == j.epoch {
			d.fetched(sl, j)
		}
	}
}

// fetched records the end of a slot's fetch.
func (d *Driver) fetched(sl *slot, j *fetch) {
	fault := d.mover.Fetched(&sl.move, j.Err)
	if sl.flags&waitDisk == 0 {
		return // read-ahead; if it failed, the attempt that gets there will too
	}
	sl.flags = sl.flags&^waitDisk | ready
	sl.fault = uint16(fault)
	d.enqueue(j.token.Slot())
}
