package difftest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// how a file gets its next version.
type how int

const (
	renamed     how = iota // another file takes its name: the way to deploy
	rewritten              // truncated to nothing, then written piece by piece
	overwritten            // written over piece by piece; its size stays
	numHow
)

func (h how) String() string { return [...]string{"renamed", "rewritten", "overwritten"}[h] }

// versioned is a file that one goroutine changes and many read over HTTP. Each
// version says its number in the first bytes and has content of its own, so
// that a mix of two is recognised wherever the seam is. The time of modification of a
// version that is complete is long past and unlike any other's by nanoseconds
// only, so that it is settled at once and has a strong tag.
type versioned struct {
	name string // in the root
	path string
	how  how
	size int64 // of version 0

	mu      sync.Mutex
	begun   int         // the greatest version that has been begun
	ended   []time.Time // by version: when the next one was complete
	byTag   map[string]int
	cut     int // responses that were cut off
	whole   int
	same    int // 304
	partial int // bodies that are what a file was while it was written
	unsure  int // bodies that were overwritten on their way, see checkOverwritten
}

const stamp = 8 // bytes at the start of a version that hold its number

// length is the size of a version. Those that follow each other differ, except
// where the file is overwritten.
func (f *versioned) length(v int) int64 {
	if f.how == overwritten {
		return f.size
	}
	return f.size + int64(v%7)*13
}

// bytes returns the content of a version in b, which it grows if need be.
func (f *versioned) bytes(b []byte, v int) []byte {
	if n := f.length(v); int64(cap(b)) < n {
		b = make([]byte, n)
	}
	b = b[:f.length(v)]
	binary.BigEndian.PutUint64(b, uint64(v))
	testenv.NewPattern(uint64(v)).Fill(b[stamp:], stamp)
	return b
}

// match returns the version that b is the beginning of, all of it if whole.
func (f *versioned) match(b []byte) (v int, whole bool, err error) {
	if len(b) < stamp {
		return 0, false, nil
	}
	n := binary.BigEndian.Uint64(b)
	if n > 1<<30 {
		return 0, false, fmt.Errorf("no version begins with %x", b[:stamp])
	}
	v = int(n)
	if size := f.length(v); int64(len(b)) > size {
		return v, false, fmt.Errorf("%d bytes of version %d, which has %d", len(b), v, size)
	}
	return v, int64(len(b)) == f.length(v), testenv.NewPattern(n).Check(b[stamp:], stamp)
}

// isBetween reports whether a tag is that of a file that was being written: it has the time
// of the last write then, and gets that of its version at the end. No tag says as much.
func isBetween(tag string) bool {
	mtime, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	ns, err := strconv.ParseInt(mtime, 16, 64)
	return tag == "" || err == nil && time.Since(time.Unix(0, ns)) < time.Hour
}

// versionOf returns the version whose time of modification a strong tag names.
func (f *versioned) versionOf(tag string) (int, error) {
	mtime, _, ok := strings.Cut(strings.Trim(tag, `"`), "-")
	ns, err := strconv.ParseInt(mtime, 16, 64)
	if v := ns - settled.UnixNano(); ok && err == nil && v >= 0 && v <= int64(f.lastBegun()) {
		return int(v), nil
	}
	return 0, fmt.Errorf("the strong tag %s is of no version", tag)
}

// stale reports whether a page of b begins with bytes of a version before v.
func (f *versioned) stale(b []byte, v int) error {
	const page = 4 << 10
	var p [16]byte
	for off := page; off < len(b)-len(p); off += page { // the first one says its version itself
		for old := range v {
			testenv.NewPattern(uint64(old)).Fill(p[:], int64(off))
			if bytes.Equal(p[:], b[off:off+len(p)]) {
				return fmt.Errorf("bytes from %d on are of version %d, which was over before %d", off, old, v)
			}
		}
	}
	return nil
}

// piece is how much is written at once, in bytes: a version takes many writes,
// and a reader may come between any two.
const piece = 16 << 10

// change makes the next version.
func (f *versioned) change(buf []byte) (_ []byte, err error) {
	f.mu.Lock()
	f.begun++
	v := f.begun
	f.mu.Unlock()
	buf = f.bytes(buf, v)
	path, flags := f.path, os.O_WRONLY
	switch f.how {
	case renamed:
		path, flags = f.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC
	case rewritten:
		flags |= os.O_TRUNC
	}
	if err := write(path, flags, buf, settled.Add(time.Duration(v))); err != nil {
		return buf, err
	}
	if f.how == renamed {
		if err := os.Rename(path, f.path); err != nil {
			return buf, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, time.Now())
	return buf, nil
}

// write writes b piece by piece and then sets the time of modification.
func write(path string, flags int, b []byte, mtime time.Time) error {
	w, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	for err == nil && len(b) > 0 {
		var n int
		n, err = w.Write(b[:min(piece, len(b))])
		b = b[n:]
	}
	return errors.Join(err, w.Close(), os.Chtimes(path, mtime, mtime))
}

// isOver reports whether a version had been replaced for longer than it may
// still be believed when a request was sent. One second is promised.
func (f *versioned) isOver(v int, sent time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return v < len(f.ended) && sent.Sub(f.ended[v]) > 3*time.Second
}

// tagged holds a strong tag to one version.
func (f *versioned) tagged(tag string, v int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.byTag[tag]; ok && old != v {
		return fmt.Errorf("tag %s of version %d was that of version %d", tag, v, old)
	}
	f.byTag[tag] = v
	return nil
}

func (f *versioned) lastBegun() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

func (f *versioned) count(n *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

// makeVersioned makes files for every way of changing and every way of sending.
func makeVersioned(t *testing.T, root string, each int) (files []*versioned) {
	t.Helper()
	for h := range numHow {
		// Sent from memory, from a copy, from the file.
		for _, size := range []int64{6 << 10, 100 << 10, 600 << 10} {
			for i := range each {
				name := fmt.Sprintf("/%v-%d-%d.bin", h, size, i)
				f := &versioned{name: name, path: root + name, how: h, size: size, byTag: make(map[string]int)}
				put(t, f.path, string(f.bytes(nil, 0)), settled)
				files = append(files, f)
			}
		}
	}
	return files
}
