package aiosim

import (
	"bytes"
	"unsafe"

	"github.com/fserve/fserve/internal/aio"
)

const (
	poison = 0xDB
	// receiveSize is how much memory received bytes have, in bytes, unless
	// Config.RecvBuffers makes it less.
	receiveSize = 32 << 10
)

// poisoned is what receive memory without bytes in it looks like.
var poisoned = bytes.Repeat([]byte{poison}, receiveSize)

// receiveMemory holds received bytes until the next Wait. Each Wait uses the
// part after that of the one before, so that bytes which somebody still looks
// at afterwards are poison for long.
type receiveMemory struct {
	slab     []byte
	size     int // of one event
	from, to int // of this Wait
	budget   int // bytes that this Wait may still use
	perWait  int
}

func (m *receiveMemory) init(cfg aio.Config) {
	n := min(cfg.RecvBuffers*cfg.RecvBufferSize, receiveSize/2)
	m.slab = make([]byte, 2*n)
	copy(m.slab, poisoned)
	m.size, m.perWait, m.budget = min(cfg.RecvBufferSize, n), n, n
}

// expire ends the life of what the last Wait told.
func (m *receiveMemory) expire(w *World) {
	copy(m.slab[m.from:m.to], poisoned)
	if len(m.slab)-m.to < m.perWait {
		m.check(w)
		m.to = 0
	}
	m.from, m.budget = m.to, m.perWait
}

// check finds writes to memory without bytes in it.
func (m *receiveMemory) check(w *World) {
	if !bytes.Equal(m.slab[:m.from], poisoned[:m.from]) || !bytes.Equal(m.slab[m.to:], poisoned[m.to:len(m.slab)]) {
		w.violate("receive memory was written to")
	}
}

// fill copies what it has room for of p and returns the copy.
func (m *receiveMemory) fill(w *World, p []byte) []byte {
	n := min(len(p), m.budget, m.size)
	q := m.slab[m.to : m.to+n : m.to+n]
	if !bytes.Equal(q, poisoned[:n]) {
		w.violate("receive memory was written to")
	}
	copy(q, p)
	m.to += n
	m.budget -= n
	return q
}

// checkArgument finds bytes of an earlier Wait in what is to be sent.
func (m *receiveMemory) checkArgument(w *World, p []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	base := uintptr(unsafe.Pointer(unsafe.SliceData(m.slab)))
	if len(p) == 0 || at < base || at >= base+uintptr(len(m.slab)) {
		return
	}
	if i := int(at - base); i < m.from || i >= m.to {
		w.violate("send of bytes that were received before the last Wait")
	}
}
