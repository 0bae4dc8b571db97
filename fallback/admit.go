package fallback

import (
	"os"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

var pageSize = int64(os.Getpagesize())

func pageDown(n int64) int64 { return n &^ (pageSize - 1) }
func pageUp(n int64) int64   { return pageDown(n + pageSize - 1) }

// believe is how long a small file that was found in memory is taken to stay
// there, in ns: a hot one is not asked about at each request. Being wrong costs
// a wait for the disk.
const believe = int64(100e6)

// cold is what is known of the file that a slot reads from disk.
//
//	      from        off        to               next
//	-------|-----------|---------|-----------------|---------
//	 sent  |  fetched, not asked |  being fetched  |
//	       |  about again        |  (ahead)        |
//
// The range [from, to) is sent without asking whether it is resident: it was
// just read. Asking again could go on for ever where memory is short or the
// file system cannot tell.
type cold struct {
	file     *aio.File // nil: of no use any more, but a fetch is under way
	fd       int32     // of file, when it was fetched
	pinned   *aio.File // what the fetch under way reads
	from, to int64
	next     int64 // end of the range that is being fetched
}

// admit says how many of the n bytes from off can be sent without waiting for
// the disk. With 0 they are being fetched and the slot is blocked on that.
func (d *Driver) admit(i uint32, sl *slot, f *aio.File, off, n int64) int64 {
	if c := d.coldOf(sl); c != nil {
		switch {
		case c.file != f || c.fd != f.FD || off < c.from || off > c.to:
			d.forget(sl)
		case off < c.to:
			return min(n, c.to-off)
		case sl.flags&fetching != 0:
			sl.flags |= waitDisk // the next range is on its way
			return 0
		}
	}
	n = min(n, d.cfg.ColdChunk)
	if d.resident(f, off, n) {
		return n
	}
	sl.flags |= waitDisk
	if sl.flags&fetching == 0 {
		c := d.coldOf(sl)
		if c == nil {
			c = d.newCold(sl)
		}
		from := pageDown(off)
		*c = cold{file: f, fd: f.FD, from: from, to: from}
		d.fetch(i, sl, c, off+n)
	} // else an abandoned fetch must end first; the attempt after it fetches
	return 0
}

// readAhead starts to fetch the next chunk once pos is past the first quarter
// of the last one, so that the disk works while the socket does: later would
// leave it idle between chunks, at once would fetch a chunk in vain for every
// short range. Nothing is blocked on it.
func (d *Driver) readAhead(i uint32, sl *slot, pos int64) {
	c := d.coldOf(sl)
	if c == nil || c.file == nil || sl.flags&fetching != 0 || c.to >= c.file.Size {
		return
	}
	if pos <= c.to-d.cfg.ColdChunk*3/4 || pos > c.to || d.resident(c.file, c.to, d.cfg.ColdChunk) {
		return
	}
	d.fetch(i, sl, c, c.to)
}

// fetch has a chunk read from c.to: as far as the file goes, but at least to
// need, since the file may have grown. The file is pinned meanwhile, for the
// engine may let go of it when no attempt is blocked.
func (d *Driver) fetch(i uint32, sl *slot, c *cold, need int64) {
	c.next = max(min(c.to+d.cfg.ColdChunk, c.file.Size), need)
	c.pinned = c.file
	c.pinned.Pins++
	sl.flags |= fetching
	d.fetching++
	d.stats.ColdReads++
	d.fetcher.submit(fetch{slot: i, fd: c.fd, off: c.to, n: c.next - c.to})
}

// collect takes the results of the fetcher.
func (d *Driver) collect() {
	d.fetched = d.fetcher.take(d.fetched[:0])
	for _, r := range d.fetched {
		d.fetching--
		d.settle(&d.slots[r.slot], r)
	}
}

// settle records the end of a slot's fetch. The slot is still the same use: it
// is not freed before.
func (d *Driver) settle(sl *slot, r fetched) {
	c := d.coldOf(sl)
	c.pinned.Pins--
	c.pinned = nil
	sl.flags &^= fetching
	if r.err != 0 {
		d.count(r.err)
	}
	wanted := c.file != nil
	if wanted && r.err == 0 {
		d.warm.record(c.file, c.to, c.next)
		c.from, c.to = max(c.from, c.next-2*d.cfg.ColdChunk), c.next
	} else {
		// Of a failed read-ahead the attempt that comes to the place will hear.
		d.forget(sl)
	}
	if sl.flags&waitDisk != 0 {
		sl.flags = sl.flags&^waitDisk | ready
		if wanted {
			sl.fault = uint16(r.err)
		}
	}
	if sl.flags&(ready|closing) != 0 {
		d.enqueue(r.slot)
	}
}

// unpin lets go of the files that were being read when the workers stopped.
func (d *Driver) unpin() {
	for i := range d.colds {
		if f := d.colds[i].pinned; f != nil {
			f.Pins--
			d.colds[i].pinned = nil
		}
	}
}

// resident reports whether a range of a file is in memory.
func (d *Driver) resident(f *aio.File, off, n int64) bool {
	if d.now < f.ResidentUntil {
		return true
	}
	if f.Size <= d.cfg.ColdChunk && off+n <= f.Size && d.cached(f, 0, f.Size) {
		f.ResidentUntil = d.now + believe
		return true
	}
	return d.cached(f, off, n)
}

// cached asks the kernel whether a range of a file is in the page cache. It
// must not start to read what is not: that is the workers' task, who know how
// much is wanted.
func (d *Driver) cached(f *aio.File, off, n int64) bool {
	if off < f.Size {
		n = min(n, f.Size-off) // beyond the end nothing ever is
	}
	last := off + n - 1
	if f.Foreign {
		return d.probe(f, off, n, off) && (pageDown(off) == pageDown(last) || d.probe(f, off, n, last))
	}
	var st sys.Cachestat
	switch e := sys.CachestatRange(f.FD, off, n, &st); {
	case e != 0: // not ours to ask about, or Linux before 6.5
		f.Foreign = true
		return d.cached(f, off, n)
	case st.Cached >= uint64((pageDown(last)-pageDown(off))/pageSize+1):
		// Pages that are still being read count as cached. They are read in
		// order, so the last one tells.
		return d.probe(f, off, n, last)
	case st.Cached == 0 && d.warm.covers(f, off, n):
		// It was just read. The pages belong to another inode then, as they do
		// on overlayfs, and cachestat is of no use.
		f.Foreign = true
		return d.cached(f, off, n)
	}
	return false
}

// probe reports whether the byte at pos, which stands for n bytes from off, can
// be read without waiting. Past the end of the file it can: there is nothing to
// wait for. If the page is not there the kernel begins to read ahead, as far as
// it sees fit.
func (d *Driver) probe(f *aio.File, off, n, pos int64) bool {
	var b [1]byte
	_, e := sys.PreadNowait(f.FD, b[:], pos)
	if aio.Classify(e) == aio.Unsupported {
		return d.warm.covers(f, off, n)
	}
	return e == 0
}

// coldOf returns the cold state of a slot, or nil.
func (d *Driver) coldOf(sl *slot) *cold {
	if sl.cold == 0 {
		return nil
	}
	return &d.colds[sl.cold-1]
}

func (d *Driver) newCold(sl *slot) *cold {
	if n := len(d.freeColds); n > 0 {
		sl.cold = d.freeColds[n-1]
		d.freeColds = d.freeColds[:n-1]
	} else {
		d.colds = append(d.colds, cold{})
		sl.cold = int32(len(d.colds))
	}
	return &d.colds[sl.cold-1]
}

// forget ends the use of a slot's cold state, or with a fetch under way makes
// its result count for nothing.
func (d *Driver) forget(sl *slot) {
	c := d.coldOf(sl)
	if c == nil {
		return
	}
	*c = cold{pinned: c.pinned}
	if sl.flags&fetching == 0 {
		d.freeColds = append(d.freeColds, sl.cold)
		sl.cold = 0
	}
}
