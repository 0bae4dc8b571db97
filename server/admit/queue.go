package admit

import (
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

	in *list.List // nil: in none
	at *list.Element
}

// queue has the requests that wait, in their order: each for its client, or, if that may have
// one more, for all.
type queue struct {
	waiting atomic.Int32
	mu      sync.Mutex
	all     list.List
	of      map[uint64]*clientQueue
}

type clientQueue struct {
	waiting int // for all too
	list    list.List
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
	if !c.queue.add(w) {
		done()
	}
	return w
}

// has reports whether requests of a client wait.
func (q *queue) has(key uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.of[key] != nil
}

// add reports whether w waits now.
func (q *queue) add(w *Waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.of[w.key]
	if of == nil {
		of = new(clientQueue)
	}
	if p := w.control.policy.Load(); p != nil && (q.waiting.Load() >= maxWaiting || of.waiting >= p.QueueLength) {
		w.control.Refuse(&w.ask, w.why)
		return false
	}
	if q.of == nil {
		q.of = make(map[uint64]*clientQueue)
	}
	q.of[w.key] = of
	of.waiting++
	q.waiting.Add(1)
	// One may have ended before it was seen that somebody waits.
	if of.waiting == 1 && q.admit(w) {
		return false
	}
	q.put(w)
	return true
}

// put puts a waiter into the list where it waits, or leaves it there.
func (q *queue) put(w *Waiter) {
	in := &q.all
	if w.why != Busy {
		in = &q.of[w.key].list
	}
	if w.in != in {
		q.take(w)
		w.in, w.at = in, in.PushBack(w)
	}
}

func (q *queue) take(w *Waiter) {
	if w.in != nil {
		w.in.Remove(w.at)
		w.in = nil
	}
}

// end ends the waiting of one.
func (q *queue) end(w *Waiter) {
	q.take(w)
	of := q.of[w.key]
	if of.waiting--; of.waiting == 0 {
		delete(q.of, w.key)
	}
	q.waiting.Add(-1)
}

// admit tries once more, and ends the waiting if it is admitted.
func (q *queue) admit(w *Waiter) bool {
	c := w.control
	w.why = Admitted
	if p := c.policy.Load(); p != nil {
		if w.grant, w.why = w.begin(p); w.why != Admitted {
			return false
		}
	}
	c.results[Admitted].Add(1)
	q.end(w)
	return true
}

// begin counts the response of a waiter.
func (w *Waiter) begin(p *policy) (Grant, Reason) {
	name, most := w.ask.holder(p, nil)
	return w.control.begin(p, &w.ask, name, most)
}

// wake admits one who may be, after a response of a client has ended: the first one of that client,
// or the first one that only waits for all together.
func (q *queue) wake(key uint64) {
	q.mu.Lock()
	w := q.next(key)
	q.mu.Unlock()
	if w != nil {
		w.done()
	}
}

// wakeAll admits all who may be, after a change of the policy.
func (q *queue) wakeAll() {
	var admitted []*Waiter
	q.mu.Lock()
	for key := range q.of {
		for w := q.next(key); w != nil; w = q.next(key) {
			admitted = append(admitted, w)
		}
	}
	q.mu.Unlock()
	for _, w := range admitted {
		w.done()
	}
}

func (q *queue) next(key uint64) *Waiter {
	lists := []*list.List{&q.all}
	if of := q.of[key]; of != nil {
		lists = []*list.List{&of.list, &q.all}
	}
	for _, in := range lists {
		for e := in.Front(); e != nil; e = in.Front() {
			w := e.Value.(*Waiter)
			if q.admit(w) {
				return w
			}
			q.put(w)
			if w.in == in {
				break // so it is with those behind it
			}
		}
	}
	return nil
}

// Admitted returns why the request is not admitted, or Admitted and what counts its response.
// It is called after done, once.
func (w *Waiter) Admitted() (Grant, Reason) { return w.grant, w.why }

// Leave ends the waiting of a request, unless it has ended.
func (w *Waiter) Leave() {
	q := &w.control.queue
	q.mu.Lock()
	left := w.in != nil
	if left {
		q.end(w)
	}
	q.mu.Unlock()
	if left {
		w.control.results[w.why].Add(1)
		w.done()
	}
}
