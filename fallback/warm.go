package fallback

import (
	"time"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// warmPeriod is how long a range that was read is believed to stay in
	// memory: short against the time that pages of even a small cache live.
	warmPeriod = time.Second
	// maxWarm bounds the files remembered; beyond it all are forgotten.
	maxWarm = 1024
)

// warm remembers which range of a file was fetched lately. It answers for file
// systems that tell neither by cachestat nor by RWF_NOWAIT what is in memory:
// overlayfs above all, on which the files of container images live. Without it
// every transfer of a hot file would take the way over the workers.
type warm struct {
	period time.Duration
	ranges map[*aio.File]warmRange
}

// warmRange is a range of a file that was read since some time before until.
type warmRange struct {
	fd       int32
	from, to int64
	until    int64 // monotonic, ns
}

// covers reports whether a range was fetched a short while ago.
func (w *warm) covers(f *aio.File, off, n int64) bool {
	r := w.ranges[f]
	return r.fd == f.FD && off >= r.from && off+n <= r.to && sys.Nanotime() < r.until
}

// record notes that a range has been fetched just now. A range that adjoins the
// one that is known extends it, without making it last longer.
func (w *warm) record(f *aio.File, from, to int64) {
	if w.ranges == nil {
		w.ranges = make(map[*aio.File]warmRange)
	}
	now := sys.Nanotime()
	r, ok := w.ranges[f]
	if ok && r.fd == f.FD && from <= r.to && to >= r.from && now < r.until {
		r.from, r.to = min(r.from, from), max(r.to, to)
		w.ranges[f] = r
		return
	}
	if !ok && len(w.ranges) == maxWarm {
		clear(w.ranges)
	}
	w.ranges[f] = warmRange{fd: f.FD, from: from, to: to, until: now + int64(w.period)}
}
