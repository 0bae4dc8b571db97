package free

import "testing"

func TestList(t *testing.T) {
	var l List[int]
	a, b, c := l.Get(), l.Get(), l.Get()
	*a, *b, *c = 1, 2, 3
	for _, v := range []*int{a, b, c} {
		l.Put(v, 2)
	}
	if x, y, z := l.Get(), l.Get(), l.Get(); x != b || y != a || z == c || *z != 0 {
		t.Errorf("%d, %d, %d", *x, *y, *z)
	}
	if n := testing.AllocsPerRun(100, func() { l.Put(l.Get(), 2) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
