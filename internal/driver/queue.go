package driver

// Queue is a first-in, first-out queue that grows as it must. The zero value is
// empty.
type Queue[T any] struct {
	ring []T // length is a power of two
	head int
	n    int
}

// Len returns how many values are queued.
func (q *Queue[T]) Len() int { return q.n }

// Push adds a value at the end.
func (q *Queue[T]) Push(v T) {
	if q.n == len(q.ring) {
		ring := make([]T, max(64, 2*len(q.ring)))
		k := copy(ring, q.ring[q.head:])
		copy(ring[k:], q.ring[:q.head])
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = v
	q.n++
}

// Front returns the oldest value, of which there must be one.
func (q *Queue[T]) Front() T { return q.ring[q.head] }

// Pop removes the oldest value, of which there must be one, and returns it.
func (q *Queue[T]) Pop() T {
	v := q.ring[q.head]
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return v
}
