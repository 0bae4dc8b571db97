package openfile

import (
	"github.com/fserve/fserve/internal/free"
	"github.com/fserve/fserve/internal/sys"
)

const (
	// arenaGrain is what the sizes of blocks are multiples of, in bytes.
	arenaGrain = 256
	// arenaLooks bounds the blocks that are looked at for room, so that it takes no longer
	// in a large arena.
	arenaLooks = 64
	// maxFreeBlocks is how many blocks without memory are kept for later.
	maxFreeBlocks = 1024
)

// arena is the memory of bodies, outside of the heap and mapped at first use. Blocks lie in it
// one behind the other, each with a body or free. Room is found by a hand that goes round: it
// takes neighbours that together are large enough and worth no more than what is to come. So
// there are no classes of sizes, and no holes that nobody fills.
type arena struct {
	size    int // bytes
	mem     []byte
	hand    *block
	free    free.List[block]
	worth   func(*File) int // of its body; negative: it must stay
	evicted func(*File)     // its body is gone
}

// block is a part of an arena. Its neighbours are those in memory; behind the last is the first.
type block struct {
	off, size  int
	prev, next *block
	file       *File // whose body it has; nil: it is free
}

// start maps the memory.
func (a *arena) start() bool {
	if a.hand != nil {
		return true
	}
	mem, err := sys.MmapAnon(a.size)
	if err != nil {
		return false // the next body tries again
	}
	b := a.free.Get()
	b.size = a.size / arenaGrain * arenaGrain
	b.prev, b.next = b, b
	a.mem, a.hand = mem, b
	return true
}

// alloc returns a block of at least n bytes for a body that is worth so much, nil if there is no
// room. Its file is to be set.
func (a *arena) alloc(n, worth int) *block {
	n = (n + arenaGrain - 1) / arenaGrain * arenaGrain
	if n > a.size/arenaGrain*arenaGrain || !a.start() {
		return nil
	}
	first, bytes, cost := a.hand, 0, 0 // what would make room: from first to before b
	b := a.hand
	for range arenaLooks {
		if b.off == 0 { // what is before it is the end of memory
			first, bytes, cost = b, 0, 0
		}
		w := a.worthOf(b)
		b = b.next
		if w < 0 {
			first, bytes, cost = b, 0, 0
			continue
		}
		bytes, cost = bytes+b.prev.size, cost+w
		for ; cost > worth; first = first.next {
			bytes, cost = bytes-first.size, cost-a.worthOf(first)
		}
		if bytes >= n {
			return a.take(first, n)
		}
	}
	a.hand = first
	return nil
}

func (a *arena) worthOf(b *block) int {
	if b.file == nil {
		return 0
	}
	return a.worth(b.file)
}

// take makes n bytes from the beginning of a block on one block.
func (a *arena) take(b *block, n int) *block {
	for {
		if b.file != nil {
			a.evicted(b.file)
			b.file = nil
		}
		if b.size >= n {
			break
		}
		next := b.next
		if next.file != nil {
			a.evicted(next.file)
		}
		a.unite(b, next)
	}
	if rest := b.size - n; rest > 0 {
		r := a.free.Get()
		*r = block{off: b.off + n, size: rest, prev: b, next: b.next}
		b.next.prev, b.next = r, r
		b.size = n
		if next := r.next; next.file == nil && next.off > r.off {
			a.unite(r, next)
		}
	}
	a.hand = b.next
	return b
}

// unite adds to a block the one behind it.
func (a *arena) unite(b, next *block) {
	b.size += next.size
	b.next, next.next.prev = next.next, b
	if a.hand == next {
		a.hand = b
	}
	*next = block{}
	a.free.Put(next, maxFreeBlocks)
}

// release frees a block.
func (a *arena) release(b *block) {
	b.file = nil
	if next := b.next; next.file == nil && next.off > b.off {
		a.unite(b, next)
	}
	if prev := b.prev; prev.file == nil && prev.off < b.off {
		a.unite(prev, b)
	}
}

// bytes returns the memory of a block.
func (a *arena) bytes(b *block) []byte { return a.mem[b.off : b.off+b.size] }

// close unmaps the memory.
func (a *arena) close() {
	if a.mem != nil {
		_ = sys.Munmap(a.mem) // of a whole mapping it does not fail
	}
	a.mem, a.hand = nil, nil
}
