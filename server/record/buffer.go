package record

import (
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// blockBytes is the size of a block of lines. What is written while it is
	// still in the core's cache costs a fourth of what 4 MiB at once do, and the
	// writer, whose goroutine shares the core, is woken once for 2,000 lines.
	blockBytes = 512 << 10
	// placeBlock is that of the logs of hosts and locations, of which there may be many.
	placeBlock = 256 << 10
	// maxBlocks bounds the blocks of one loop. If all of them wait to be written lines are
	// dropped and counted, since the loop must not wait for a disk.
	maxBlocks = 8
)

// buffer is one loop's part of an AccessLog: blocks of whole lines. The loop
// adds to the last one without a lock, while the writer may write what it has so
// far; the lock is for passing blocks on.
type buffer struct {
	log  *AccessLog
	cur  *block // the last one, which the loop fills; nil: there is no room
	time lineTime

	local, iso lineTime // of templates

	mu    sync.Mutex
	queue []*block // to be written, in order; cur is the last
	spare []*block // the one that was used last, and is still in the cache, is the last
	held  int      // all blocks
}

// block is memory for lines.
type block struct {
	mem     []byte       // fixed
	used    int          // the loop's
	whole   atomic.Int64 // used, for the writer: bytes below it do not change
	written int64        // the writer's
	sealed  bool         // nothing is added any more; guarded by buffer.mu
}

// room returns memory at the end of the last block, with a capacity of n bytes or
// more, nil if the line must be dropped. What is appended to it
// counts from add on.
func (b *buffer) room(n int) []byte {
	k := b.cur
	if k == nil || len(k.mem)-k.used < n {
		if k = b.advance(); k == nil || len(k.mem) < n {
			b.log.dropped.Add(1)
			return nil
		}
	}
	return k.mem[k.used:k.used]
}

// add adds a line that was put into the memory of room.
func (b *buffer) add(line []byte) {
	k := b.cur
	k.used += len(line)
	k.whole.Store(int64(k.used))
}

// advance begins a block, if there may be one more.
func (b *buffer) advance() *block {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cur != nil {
		b.cur.sealed, b.cur = true, nil
		b.log.of.wake()
	}
	switch last := len(b.spare) - 1; {
	case last >= 0:
		b.cur = b.spare[last]
		b.spare = b.spare[:last]
	case b.held == maxBlocks: // all that may be held waits to be written
		return nil
	default:
		b.held++
		b.cur = &block{mem: make([]byte, b.log.block)}
	}
	b.queue = append(b.queue, b.cur)
	return b.cur
}

// pending returns lines that are to be written next, nil if there are none; all
// says that also those of the block that is being filled are. They are valid until
// the next call.
func (b *buffer) pending(all bool) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 {
		k := b.queue[0]
		if !all && !k.sealed {
			return nil
		}
		from := k.written
		if k.written = k.whole.Load(); k.written > from {
			return k.mem[from:k.written]
		}
		if !k.sealed {
			return nil
		}
		b.queue = slices.Delete(b.queue, 0, 1)
		b.recycle(k)
	}
	return nil
}

// recycle takes back a block that is written.
func (b *buffer) recycle(k *block) {
	k.used, k.written, k.sealed = 0, 0, false
	k.whole.Store(0)
	b.spare = append(b.spare, k)
}
