package admit

import (
	"container/heap"
	"container/list"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// maxWaiting bounds the requests that wait, of all clients together.
const maxWaiting = 1 << 14

// Waiter is a request that waits for responses of its client, or of all, to end. Its methods
// are safe for concurrent use.
type Waiter struct {
	control *Control
	ask     Ask // its own
	key     uint64
	done    func()
	grant   Grant
	why     Reason

	at      *list.Element // in the list of its client; nil: it does not wait
	arrived uint64        // how many waited before it, ever
}

// queue has the requests that wait, in their order, apart from those whose client has all that it may
// have.
type queue struct {
	waiting atomic.Int32
	mu      sync.Mutex
	of      map[uint64]*clientQueue
	ready   ready
	arrived uint64
}

type clientQueue struct {
	list list.List // of *Waiter
	turn int       // in ready; notReady: the client has all that it may have, until one has ended
}

const notReady = -1

// ready is a heap of the clients that may have one more, as far as is known: the one of the request that
// has arrived first is the first.
type ready []*clientQueue

func (r ready) Len() int           { return len(r) }
func (r ready) Less(i, j int) bool { return r[i].first().arrived < r[j].first().arrived }
func (r ready) Swap(i, j int)      { r[i], r[j], r[i].turn, r[j].turn = r[j], r[i], j, i }

func (r *ready) Push(of any) {
	of.(*clientQueue).turn = len(*r)
	*r = append(*r, of.(*clientQueue))
}

func (r *ready) Pop() any {
	n := len(*r) - 1
	of := (*r)[n]
	(*r)[n], *r = nil, (*r)[:n]
	of.turn = notReady
	return of
}

// Wait puts a request that Admit has refused with Queue into the queue. done is called once:
// when it is admitted, when Leave is called, or, if there is no room in the queue, at once;
// Admitted then says which.
func (c *Control) Wait(a *Ask, why Reason, done func()) *Waiter {
	w := &Waiter{control: c, ask: a.clone(), done: done, why: why}
	p := c.policy.Load()
	if p == nil { // it has just been taken away
		p = new(policy)
	}
	name, _ := w.ask.holder(p, nil)
	w.key = maphash.Bytes(c.seed, name)
	if next := c.queue.add(w); next != nil {
		next.done()
	}
	return w
}

// ahead returns why the first request of a client waits; false: none does.
func (q *queue) ahead(key uint64) (why Reason, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.of[key]
	if of == nil {
		return Admitted, false
	}
	return of.first().why, true
}

// add returns whose waiting has ended by it: that of w, if there is no room, or of who is admitted; nil: nobody's.
func (q *queue) add(w *Waiter) *Waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.of[w.key]
	if of == nil {
		of = &clientQueue{turn: notReady}
	}
	if p := w.control.policy.Load(); p != nil && (q.waiting.Load() >= maxWaiting || of.list.Len() >= p.QueueLength) {
		w.control.Refuse(&w.ask, w.why)
		return w
	}
	if q.of == nil {
		q.of = make(map[uint64]*clientQueue)
	}
	q.of[w.key] = of
	w.at, w.arrived = of.list.PushBack(w), q.arrived
	q.arrived++
	q.waiting.Add(1)
	if of.list.Len() > 1 {
		return nil
	}
	// One may have ended before it was seen that somebody waits.
	q.line(of)
	return q.next()
}

func (of *clientQueue) first() *Waiter { return of.list.Front().Value.(*Waiter) }

// line has the first request of a client ask again.
func (q *queue) line(of *clientQueue) {
	if of.turn == notReady {
		heap.Push(&q.ready, of)
	}
}

// end ends the waiting of one.
func (q *queue) end(w *Waiter) {
	of := q.of[w.key]
	turn := of.turn
	if turn != notReady {
		heap.Remove(&q.ready, turn)
	}
	of.list.Remove(w.at)
	w.at = nil
	q.waiting.Add(-1)
	switch {
	case of.list.Len() == 0:
		delete(q.of, w.key)
	case turn != notReady:
		heap.Push(&q.ready, of)
	}
}

// next admits the first request that may be, or refuses one before it that cannot wait any more; nil: there is
// neither.
func (q *queue) next() *Waiter {
	for len(q.ready) > 0 {
		w := q.ready[0].first()
		switch w.try() {
		case Busy: // and so it is for the others
			return nil
		case ClientBusy:
			heap.Pop(&q.ready)
		default:
			q.end(w)
			return w
		}
	}
	return nil
}

// try asks once more. Without waits of its reason it is the last time.
func (w *Waiter) try() Reason {
	c := w.control
	w.why = Admitted
	if p := c.policy.Load(); p != nil {
		name, most := w.ask.holder(p, nil)
		w.grant, w.why = c.begin(p, &w.ask, name, most)
	}
	switch {
	case w.why == Admitted:
		c.results[Admitted].Add(1)
	case !w.why.waits():
		c.Refuse(&w.ask, w.why)
	}
	return w.why
}

// wake admits one who may be, after a response of a client has ended.
func (q *queue) wake(key uint64) {
	q.mu.Lock()
	if of := q.of[key]; of != nil {
		q.line(of)
	}
	q.admit(1)
}

// wakeAll admits all who may be, after a change of the policy.
func (q *queue) wakeAll() {
	q.mu.Lock()
	for _, of := range q.of {
		q.line(of)
	}
	q.admit(maxWaiting)
}

// admit admits at most so many who may be, and unlocks.
func (q *queue) admit(most int) {
	var ended []*Waiter
	for most > 0 {
		w := q.next()
		if w == nil {
			break
		}
		ended = append(ended, w)
		if w.why == Admitted {
			most--
		}
	}
	q.mu.Unlock()
	for _, w := range ended {
		w.done()
	}
}

// Admitted returns why the request is not admitted, or Admitted and what counts its response.
// It is called after done, once.
func (w *Waiter) Admitted() (Grant, Reason) { return w.grant, w.why }

// Leave ends the waiting of a request, unless it has ended.
func (w *Waiter) Leave() {
	q := &w.control.queue
	q.mu.Lock()
	left := w.at != nil
	if left {
		q.end(w)
	}
	q.mu.Unlock()
	if left {
		w.control.results[w.why].Add(1)
		w.done()
	}
}
