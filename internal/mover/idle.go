package mover

// idleTime is for how long nobody must have needed a pipe before it is closed, in ns; it happens
// before twice that time is over.
const idleTime = int64(30e9)

// Idle finds how many of the values that a pool keeps nobody has needed for a while: as many as
// there always were. The zero value is for an empty pool. It belongs to one goroutine.
type Idle struct {
	least int   // that the pool had at any time since the last look
	next  int64 // monotonic ns: when to look; 0: not before there is something
}

// Left notes that one was taken and so many are left.
func (i *Idle) Left(n int) { i.least = min(i.least, n) }

// Surplus returns how many of the n in the pool are to go at now, and when to ask again, both in
// monotonic ns; 0: when there is something.
func (i *Idle) Surplus(n int, now int64) (surplus int, next int64) {
	if n == 0 && i.next == 0 || now < i.next {
		return 0, i.next
	}
	if i.next != 0 {
		surplus = min(i.least, n)
	}
	i.least, i.next = n-surplus, now+idleTime
	if i.least == 0 {
		i.next = 0
	}
	return surplus, i.next
}
