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
type buffers struct {
	ring []byte // bufEntry array
	data []byte
	size int
	mask uint16
	tail uint16
	lent []uint16 // given out since the last Wait
}

// newBuffers registers n buffers of size bytes with r. n is a power of two.
func newBuffers(r *ring, n, size int) (*buffers, error) {
	if n <= 0 || n > 1<<15 || n&(n-1) != 0 {
		return nil, fmt.Errorf("receive buffers: %d is not a power of two up to 32768", n)
	}
	ring, err := sys.MmapAnon(n * int(unsafe.Sizeof(bufEntry{})))
	if err != nil {
		return nil, fmt.Errorf("map receive ring: %w", err)
	}
	data, err := sys.MmapAnon(n * size)
	if err != nil {
		_ = sys.Munmap(ring)
		return nil, fmt.Errorf("map receive buffers: %w", err)
	}
	b := &buffers{ring: ring, data: data, size: size, mask: uint16(n - 1), lent: make([]uint16, 0, n)}
	reg := bufReg{ringAddr: uint64(uintptr(unsafe.Pointer(&ring[0]))), ringEntries: uint32(n), bgid: bufferGroup}
	if err := r.register(registerPbufRing, unsafe.Pointer(&reg), 1); err != nil {
		return nil, errors.Join(fmt.Errorf("register receive buffers: %w", err), b.free())
	}
	for i := range n {
		b.add(uint16(i))
	}
	b.publish()
	return b, nil
}

// count returns how many buffers there are.
func (b *buffers) count() int { return int(b.mask) + 1 }

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

func (b *buffers) add(id uint16) {
	e := (*bufEntry)(unsafe.Pointer(&b.ring[uintptr(b.tail&b.mask)*unsafe.Sizeof(bufEntry{})]))
	// Field by field: the ring's tail lies over entry 0's last field.
	e.addr = uint64(uintptr(unsafe.Pointer(&b.data[int(id)*b.size])))
	e.len = uint32(b.size)
	e.bid = id
	b.tail++
}

// publish makes added buffers visible to the kernel. The 16-bit tail and the
// buffer id before it are stored as one aligned word, since sync/atomic has no
// 16-bit store; only this thread writes either.
func (b *buffers) publish() {
	word := (*uint32)(unsafe.Pointer(&b.ring[12]))
	bid := *(*uint16)(unsafe.Pointer(&b.ring[12]))
	atomic.StoreUint32(word, uint32(bid)|uint32(b.tail)<<16)
}

// free unmaps. The ring must be closed, or never have known the buffers.
func (b *buffers) free() error { return errors.Join(sys.Munmap(b.data), sys.Munmap(b.ring)) }
