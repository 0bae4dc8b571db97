package uring

import (
	"sync/atomic"

	iouring "github.com/iceber/iouring-go/syscall"
)

// submissions is the submission queue: the entries that this process prepares
// and the kernel takes. It lies in memory that both share.
//
// One thread calls its methods. The kernel stores head and flags, at any time.
// An entry is the caller's from next until publish: it is written before the
// tail that covers it is stored.
type submissions struct {
	entries []sqe
	mask    uint32
	head    *atomic.Uint32 // stored by the kernel
	flags   *atomic.Uint32 // stored by the kernel
	tail    *atomic.Uint32 // stored by publish

	prepared uint32 // what tail will be
	taken    uint32 // what head was when refresh looked
}

// next returns a cleared entry to fill in; room must not be 0.
func (q *submissions) next() *sqe {
	e := &q.entries[q.prepared&q.mask]
	e.Reset()
	q.prepared++
	return e
}

// queued returns how many entries the kernel has not taken yet.
func (q *submissions) queued() uint32 { return q.prepared - q.taken }

// room returns how many entries can be prepared before the kernel takes any.
func (q *submissions) room() int { return len(q.entries) - int(q.queued()) }

// publish shows the kernel the prepared entries.
func (q *submissions) publish() { q.tail.Store(q.prepared) }

// refresh looks how many entries the kernel has taken.
func (q *submissions) refresh() { q.taken = q.head.Load() }

// overflowed reports whether the kernel holds completions that did not fit.
func (q *submissions) overflowed() bool {
	return q.flags.Load()&iouring.IORING_SQ_CQ_OVERFLOW != 0
}

// completions is the completion queue: the entries that the kernel fills in and
// this process takes. It lies in memory that both share.
//
// One thread calls its methods. The kernel stores tail, at any time, after it has
// written the entries that the tail covers. An entry is the caller's from next until
// release.
type completions struct {
	entries []cqe
	mask    uint32
	tail    *atomic.Uint32 // stored by the kernel
	head    *atomic.Uint32 // stored by release

	taken uint32 // what head will be
}

// pending returns how many completions are there.
func (q *completions) pending() uint32 { return q.tail.Load() - q.taken }

// next returns the oldest completion; pending must not be 0. It is valid until
// release.
func (q *completions) next() *cqe {
	c := &q.entries[q.taken&q.mask]
	q.taken++
	return c
}

// release gives the entries of all taken completions back to the kernel.
func (q *completions) release() { q.head.Store(q.taken) }
