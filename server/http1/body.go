package http1

import (
	"time"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/server/wire"
)

// wants says what the bytes of a body are for.
type wants uint8

const (
	wantsNothing wants = iota
	wantsDiscard       // they are dropped
	wantsHandler       // a handler gets them
)

// body is the body of a request, as far as it has arrived.
type body struct {
	wants   wants
	left    int64 // bytes of a body with a length
	chunks  wire.Chunked
	chunked bool
	data    []byte
	counted int64 // bytes of data's memory that the loop counts
	began   int64 // monotonic ns
	size    int64 // bytes that have arrived, framing included
}

const (
	// maxKept bounds the memory for a body that a pooled exchange keeps, in bytes.
	maxKept = 4 << 10
	// leastRate is how fast a body must arrive on the whole, beyond Config.BodyTimeout, in
	// bytes per second.
	leastRate = 8 << 10
)

// due returns until when more of the body must have arrived, in monotonic ns.
func (b *body) due(timeout time.Duration) int64 {
	return b.began + int64(timeout) + b.size*int64(time.Second/leastRate)
}

// count counts the memory of what has arrived, and reports whether there is as much.
func (b *body) count(l *loop.Loop) bool {
	more := int64(cap(b.data)) - b.counted
	if more > 0 && !l.Buffer(more) {
		return false
	}
	b.counted += max(more, 0)
	return true
}

// uncount ends that.
func (b *body) uncount(l *loop.Loop) {
	l.Buffer(-b.counted)
	b.counted = 0
}

// expect begins a body.
func (b *body) expect(h *wire.Head, w wants) {
	b.wants, b.left, b.chunked = w, max(h.ContentLength, 0), h.Chunked
	b.chunks = wire.Chunked{}
}

// reset makes b ready for another request.
func (b *body) reset() {
	if cap(b.data) > maxKept {
		b.data = nil
	}
	*b = body{data: b.data[:0]}
}

// receive takes the bytes of the body at the beginning of p, n of them. A reason other
// than OK says that nobody knows where the next request begins.
func (b *body) receive(p []byte, cfg *Config) (n int, done bool, r wire.Reason) {
	if b.chunked {
		return b.receiveChunks(p, cfg)
	}
	n = int(min(b.left, int64(len(p))))
	b.left -= int64(n)
	if b.wants == wantsHandler {
		b.data = append(b.data, p[:n]...)
	}
	return n, b.left == 0, wire.OK
}

func (b *body) receiveChunks(p []byte, cfg *Config) (n int, done bool, r wire.Reason) {
	if b.wants == wantsHandler {
		b.data, n, r = b.chunks.Append(b.data, p, int(cfg.MaxBody))
	} else if n, r = b.chunks.Discard(p); r == wire.OK && b.chunks.Size() > cfg.MaxDrain {
		r = wire.BodyTooLarge
	}
	return n, b.chunks.Done(), r
}
