package driver

import "testing"

// TestQueue pushes and pops around the end of the ring while it grows: nothing is
// lost, and all come in their order.
func TestQueue(t *testing.T) {
	var q Queue[int]
	pushed, popped := 0, 0
	pop := func() {
		t.Helper()
		if got := q.Front(); got != popped {
			t.Fatalf("front is %d, want %d", got, popped)
		}
		if got := q.Pop(); got != popped {
			t.Fatalf("popped %d, want %d", got, popped)
		}
		popped++
	}
	for range 1000 {
		for range 3 {
			q.Push(pushed)
			pushed++
		}
		pop()
		if q.Len() != pushed-popped {
			t.Fatalf("length is %d, want %d", q.Len(), pushed-popped)
		}
	}
	for q.Len() > 0 {
		pop()
	}
	if popped != pushed {
		t.Errorf("%d of %d came back", popped, pushed)
	}
}
