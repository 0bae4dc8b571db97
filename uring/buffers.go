package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/fserve/fserve/internal/sys"
)

// bufferGroup is the only buffer group of a ring.
const bufferGroup = 0

// buffers is a ring of receive buffers that the kernel takes from as bytes
// arrive (IORING_REGISTER_PBUF_RING, Linux 5.19), so that idle connections
// hold none. The life of a buffer:
//
//  1. give puts it on the ring: the kernel owns it.
//  2. A receive fills it, its completion names it: we own it.
//  3. Its bytes are lent to the engine until the next Wait, which gives it back (1).
//
// One thread calls its methods. The kernel only reads the entries and the tail;
// an entry is written before the tail that covers it is stored.
type buffers struct {
	ring    []byte // mapping of entries and tail
	entries []bufEntry
	tail    *atomic.Uint32 // the word that ends with the kernel's 16-bit tail, see publish

	data  []byte
	size  int
	mask  uint16
	added uint16   // what the tail will be
	lent  []uint16 // given out since the last Wait
}

// newBuffers registers n buffers of size bytes with r. n is a power of two.
func newBuffers(r *ring, n, size int) (*buffers, error) {
	if n <= 0 || n > 1<<15 || n&(n-1) != 0 {
		return nil, fmt.Errorf("receive buffers: %d is not a power of two up to 32768", n)
	}
	b := &buffers{size: size, mask: uint16(n - 1), lent: make([]uint16, 0, n)}
	if err := b.mmap(n); err != nil {
		return nil, err
	}
	reg := bufReg{ringAddr: uint64(uintptr(unsafe.Pointer(&b.entries[0]))), ringEntries: uint32(n), bgid: bufferGroup}
	if err := r.register(registerPbufRing, unsafe.Pointer(&reg), 1); err != nil {
		return nil, errors.Join(fmt.Errorf("register receive buffers: %w", err), b.free())
	}
	for i := range n {
		b.add(uint16(i))
	}
	b.publish()
	return b, nil
}

// mmap makes the ring of n entries and the memory that they name.
func (b *buffers) mmap(n int) error {
	ring, err := sys.MmapAnon(n * int(unsafe.Sizeof(bufEntry{})))
	if err != nil {
		return fmt.Errorf("map receive ring: %w", err)
	}
	if b.data, err = sys.MmapAnon(n * b.size); err != nil {
		_ = sys.Munmap(ring)
		return fmt.Errorf("map receive buffers: %w", err)
	}
	b.ring = ring
	b.entries = unsafe.Slice((*bufEntry)(unsafe.Pointer(&ring[0])), n)
	b.tail = (*atomic.Uint32)(unsafe.Pointer(&ring[bufTailWord]))
	return nil
}

// count returns how many buffers there are.
func (b *buffers) count() int { return int(b.mask) + 1 }

// of returns the bytes that a completion has brought; they are valid until the
// next Wait. A buffer may come without any.
func (b *buffers) of(c completion) []byte {
	if c.flags&cqeBuffer == 0 {
		return nil
	}
	return b.lend(uint16(c.flags>>cqeBufferShift), int(max(c.res, 0)))
}

// lend returns the first n bytes of buffer id until the next giveBack.
func (b *buffers) lend(id uint16, n int) []byte {
	b.lent = append(b.lent, id)
	off := int(id) * b.size
	return b.data[off : off+n : off+n]
}

// giveBack returns all lent buffers to the kernel.
func (b *buffers) giveBack() {
	if len(b.lent) == 0 {
		return
	}
	for _, id := range b.lent {
		b.add(id)
	}
	b.lent = b.lent[:0]
	b.publish()
}

// add puts a buffer on the ring, where the kernel does not see it before publish.
func (b *buffers) add(id uint16) {
	e := &b.entries[b.added&b.mask]
	// Field by field: the tail lies over what follows them in entry 0.
	e.addr = uint64(uintptr(unsafe.Pointer(&b.data[int(id)*b.size])))
	e.len = uint32(b.size)
	e.bid = id
	b.added++
}

// publish shows the kernel the added buffers. There is no atomic store of 16
// bits, so the id of entry 0, which lies before the tail, is stored with it.
func (b *buffers) publish() {
	b.tail.Store(uint32(b.entries[0].bid) | uint32(b.added)<<16)
}

// free unmaps. The ring must be closed, or never have known the buffers.
func (b *buffers) free() error { return errors.Join(sys.Munmap(b.data), sys.Munmap(b.ring)) }
