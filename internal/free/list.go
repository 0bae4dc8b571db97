// Package free keeps what is not in use, to use it again.
package free

// List has the values that are not in use; the one that was put back last is taken first.
// It is for one goroutine at a time.
type List[T any] []*T

// Get takes a value as it was put back, or a new one.
func (l *List[T]) Get() *T {
	n := len(*l)
	if n == 0 {
		return new(T)
	}
	v := (*l)[n-1]
	*l = (*l)[:n-1]
	return v
}

// Put keeps a value that nobody refers to any more, unless there are as many as most.
func (l *List[T]) Put(v *T, most int) {
	if len(*l) < most {
		*l = append(*l, v)
	}
}
