package testenv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// patternPeriod is the length of the block that patterns repeat, in bytes. It
// is a prime: bytes that come from the wrong page, chunk or 4 GiB multiple
// never look like the right ones.
const patternPeriod = 1<<20 - 3

// Pattern is content that can be computed at any offset, so that any range of
// a file or stream can be verified without keeping the data.
type Pattern struct{ shift int64 }

// NewPattern returns a pattern; different seeds differ in content.
func NewPattern(seed uint64) Pattern {
	return Pattern{shift: int64(mix(seed) % patternPeriod)}
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// block is the period of all patterns.
var block = sync.OnceValue(func() []byte {
	b := make([]byte, 0, patternPeriod+8)
	for i := uint64(0); len(b) < patternPeriod; i++ {
		w := mix(i)
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
	}
	return b[:patternPeriod]
})

// rest returns the pattern from off to the end of the period.
func (p Pattern) rest(off int64) []byte {
	return block()[(off+p.shift)%patternPeriod:]
}

// Fill sets b to the pattern's content at off.
func (p Pattern) Fill(b []byte, off int64) {
	for len(b) > 0 {
		n := copy(b, p.rest(off))
		b, off = b[n:], off+int64(n)
	}
}

// Bytes returns n bytes of the pattern's content at off.
func (p Pattern) Bytes(off int64, n int) []byte {
	b := make([]byte, n)
	p.Fill(b, off)
	return b
}

// Check compares b with the pattern's content at off. The error tells where
// the first difference is.
func (p Pattern) Check(b []byte, off int64) error {
	for len(b) > 0 {
		want := p.rest(off)
		n := min(len(b), len(want))
		if !bytes.Equal(b[:n], want[:n]) {
			i := 0
			for b[i] == want[i] {
				i++
			}
			return p.mismatch(b[i:], off+int64(i))
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// mismatch describes the difference at off, and where the bytes that are there
// would belong, which usually names the fault.
func (p Pattern) mismatch(got []byte, off int64) error {
	head := got[:min(len(got), 16)]
	err := fmt.Errorf("content differs at offset %d: got %x, want %x", off, head, p.Bytes(off, len(head)))
	if len(head) < 8 {
		return err
	}
	at := bytes.Index(append(block()[:patternPeriod:patternPeriod], block()[:16]...), head)
	if at < 0 {
		return err
	}
	delta := (int64(at) - (off+p.shift)%patternPeriod + patternPeriod) % patternPeriod
	return fmt.Errorf("%w: these bytes belong %d bytes further on, modulo %d", err, delta, patternPeriod)
}

// WriteAt writes n bytes of the pattern to f from off.
func (p Pattern) WriteAt(f *os.File, off, n int64) error {
	for n > 0 {
		b := p.rest(off)
		b = b[:min(int64(len(b)), n)]
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return nil
}

// File makes a file of n bytes of the pattern in dir. It is closed at the end
// of the test.
func (p Pattern) File(t testing.TB, dir string, n int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("pattern-%d-%d", p.shift, n)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := p.WriteAt(f, 0, n); err != nil {
		t.Fatal(err)
	}
	return f
}
