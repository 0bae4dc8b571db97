package fallback

import (
	"sync"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/driver"
	"github.com/fserve/fserve/internal/mover"
)

// fetch is a range of a file on its way into the page cache, and for whom.
type fetch struct {
	mover.Fetch
	of driver.Fetch
}

// finished holds the fetches that have ended until the loop takes them.
type finished struct {
	mu      sync.Mutex
	fetches []*fetch // under mu
}

// add may be called from any goroutine.
func (l *finished) add(f *fetch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetches = append(l.fetches, f)
}

func (l *finished) popAll() []*fetch {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.fetches
	l.fetches = nil
	return all
}

// fetch has a range of a file brought in for a slot.
func (d *Driver) fetch(t aio.Token, s *slot, file *aio.File, r mover.Range) bool {
	f := &fetch{of: d.BeginFetch(t, s, file)}
	f.Source, f.Range = mover.SourceOf(file), r
	f.Done = func() {
		d.finished.add(f)
		d.Wake()
	}
	d.fetching++
	d.pool.Submit(&s.Move, &f.Fetch)
	return true
}

// collect takes the fetches that have ended.
func (d *Driver) collect() {
	for _, f := range d.finished.popAll() {
		d.fetching--
		if s, fault := d.EndFetch(f.of, f.Err); s != nil {
			s.Own.fault = uint16(fault)
			d.enqueue(f.of.Token, s)
		}
	}
}
