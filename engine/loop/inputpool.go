package loop

import "sync/atomic"

// inputPool pools the buffers of unconsumed input by powers of two, so that
// ten thousand clients that trickle a request hold little more than they sent.
type inputPool struct {
	free [inputClasses][][]byte
	held *atomic.Int64 // bytes that are in use, by all loops
}

const (
	inputClasses  = 13
	smallestInput = 32        // bytes; the largest pooled is 128 KiB
	maxPooled     = 128 << 10 // bytes of buffers of a class
)

func inputClass(n int) int {
	k, size := 0, smallestInput
	for size < n {
		size *= 2
		k++
	}
	return k
}

// append adds data to *buf, which the pool owns.
func (p *inputPool) append(buf *[]byte, data []byte) {
	need := len(*buf) + len(data)
	if need > cap(*buf) {
		grown := p.get(need)
		grown = append(grown, *buf...)
		p.put(buf)
		*buf = grown
	}
	*buf = append(*buf, data...)
}

func (p *inputPool) get(n int) []byte {
	k := inputClass(n)
	p.held.Add(smallestInput << k)
	if k < inputClasses {
		if f := p.free[k]; len(f) > 0 {
			b := f[len(f)-1]
			p.free[k] = f[:len(f)-1]
			return b
		}
	}
	return make([]byte, 0, smallestInput<<k)
}

// put takes *buf back and clears it.
func (p *inputPool) put(buf *[]byte) {
	b := *buf
	*buf = nil
	if cap(b) < smallestInput {
		return
	}
	p.held.Add(-int64(cap(b)))
	k := inputClass(cap(b))
	if k < inputClasses && (len(p.free[k])+1)*cap(b) <= maxPooled {
		p.free[k] = append(p.free[k], b[:0])
	}
}
