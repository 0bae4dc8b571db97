package admit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func (g *Gauge) total() (n int) {
	for i := range g.sets {
		for j := range g.sets[i] {
			n += int(g.sets[i][j].Load() & countMask)
		}
	}
	return n
}

func TestGauge(t *testing.T) {
	g := NewGauge(64)
	var held []Held
	for i := range 4 {
		h, v := g.Acquire([]byte("a"), 4)
		if v != Granted {
			t.Fatalf("%d of 4: %v", i, v)
		}
		held = append(held, h)
	}
	if _, v := g.Acquire([]byte("a"), 4); v != TooMany {
		t.Errorf("a fifth of 4: %v", v)
	}
	other, v := g.Acquire([]byte("b"), 4)
	if v != Granted {
		t.Errorf("another key: %v", v)
	}
	held[2].Release()
	held[2].Release()
	again, v := g.Acquire([]byte("a"), 4)
	if v != Granted {
		t.Errorf("after one has ended: %v", v)
	}
	for _, h := range []*Held{&held[0], &held[1], &held[3], &other, &again} {
		h.Release()
	}
	if n := g.total(); n != 0 {
		t.Errorf("%d are held at the end", n)
	}
}

// TestGaugeIsFull: nobody is forgotten, and there is room again.
func TestGaugeIsFull(t *testing.T) {
	g := NewGauge(1)
	var held []Held
	for i := uint64(0); ; i++ {
		h, v := g.Acquire(name(i), 1)
		if v == NoRoom {
			break
		}
		held = append(held, h)
	}
	if len(held) != gaugeWays {
		t.Errorf("%d keys have room, want %d", len(held), gaugeWays)
	}
	if _, v := g.Acquire(name(0), 1); v != TooMany {
		t.Errorf("the first is forgotten: %v", v)
	}
	held[3].Release()
	if _, v := g.Acquire(name(1000), 1); v != Granted {
		t.Errorf("there is room again, and %v", v)
	}
}

// TestGaugeTogether: loops that acquire for the same keys at a time never hold more than may
// be, and nothing at the end.
func TestGaugeTogether(t *testing.T) {
	const most, keys = 3, 50
	g := NewGauge(1024)
	var now [keys]atomic.Int32
	var refused atomic.Int32
	var all sync.WaitGroup
	for w := range uint64(4) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(w, 1))
			held := map[int][]Held{}
			for range 100_000 {
				k := random.IntN(keys)
				if list := held[k]; len(list) > 0 && random.IntN(2) == 0 {
					now[k].Add(-1)
					list[0].Release()
					held[k] = list[1:]
					continue
				}
				h, v := g.Acquire(name(uint64(k)), most)
				if v != Granted {
					refused.Add(1)
					continue
				}
				if n := now[k].Add(1); n > most {
					t.Errorf("key %d is held %d times, at most %d", k, n, most)
				}
				held[k] = append(held[k], h)
			}
			for k, list := range held {
				for i := range list {
					now[k].Add(-1)
					list[i].Release()
				}
			}
		})
	}
	all.Wait()
	if n := g.total(); n != 0 || refused.Load() == 0 {
		t.Errorf("%d are held at the end, %d were refused", n, refused.Load())
	}
}

func BenchmarkGauge(b *testing.B) {
	g := NewGauge(1 << 16)
	key := []byte("client")
	for b.Loop() {
		h, _ := g.Acquire(key, 100)
		h.Release()
	}
}
