package aiosim

import (
	"encoding/binary"
	"fmt"

	"github.com/fserve/fserve/internal/aio"
)

// Content is a pattern of bytes without end, of which any part can be computed.
type Content uint64

// word returns bytes 8*i to 8*i+7 (SplitMix64).
func (c Content) word(i int64) uint64 {
	z := uint64(c) + uint64(i)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Fill writes the bytes from off on into p.
func (c Content) Fill(p []byte, off int64) {
	var b [8]byte
	if r := off & 7; r != 0 {
		binary.LittleEndian.PutUint64(b[:], c.word(off>>3))
		n := copy(p, b[r:])
		p, off = p[n:], off+int64(n)
	}
	i := off >> 3
	for ; len(p) >= 8; p, i = p[8:], i+1 {
		binary.LittleEndian.PutUint64(p, c.word(i))
	}
	if len(p) > 0 {
		binary.LittleEndian.PutUint64(b[:], c.word(i))
		copy(p, b[:])
	}
}

// Version is what a file was during a part of its life.
type Version struct {
	Content Content
	Size    int64
	MtimeNs int64
	SinceNs int64 // when it became so
}

// File is a virtual file (an inode: a name that is replaced gets another File).
// Its methods change it at once; called while the driver is not in Wait they
// change it between two calls of the driver.
type File struct {
	w        *World
	name     string
	versions []Version
	cold     []extent // not in memory
	bad      []extent // cannot be read

	leases  []int32 // descriptors with one
	writers int     // who have it open for writing, or wait to
	waiting []writer
	opened  []int64 // when each of those came
}

// extent is the range [from, to) of a file.
type extent struct{ from, to int64 }

// AddFile makes a file with size bytes of its own content, all in memory. A
// file that has the name already is replaced.
func (w *World) AddFile(name string, size int64) *File {
	f := &File{w: w, name: name, versions: make([]Version, 1, 4)}
	f.versions[0] = Version{Content: w.newContent(), Size: size, MtimeNs: w.now, SinceNs: w.now}
	if w.files == nil {
		w.files = make(map[string]*File)
	} else if w.files[name] != nil {
		w.note(kReplace, 0, size, 0, 0, 0)
	}
	w.files[name] = f
	return f
}

// chunk returns n bytes from off: of what the file is now, or its pages.
func (f *File) chunk(off, n int64, copied bool) chunk {
	c := chunk{content: f.Version().Content, off: off, n: n, isFile: true}
	if f.w.leases != nil && !copied {
		c.lent = f
	}
	return c
}

// RemoveFile takes a name away. Descriptors that are open stay valid.
func (w *World) RemoveFile(name string) { delete(w.files, name) }

func (w *World) newContent() Content {
	w.contents++
	return Content(Content(w.cfg.Seed ^ streamContent<<56).word(int64(w.contents)))
}

// Name returns the name that the file was made with.
func (f *File) Name() string { return f.name }

// Version returns what the file is now.
func (f *File) Version() Version { return f.versions[len(f.versions)-1] }

// Versions returns what the file was and is, the oldest first.
func (f *File) Versions() []Version { return f.versions }

// Size returns the file's size now, in bytes.
func (f *File) Size() int64 { return f.Version().Size }

// Truncate sets the size and the mtime; the content stays the same.
func (f *File) Truncate(size int64) {
	f.w.note(kTruncate, 0, size, 0, 0, 0)
	v := f.Version()
	v.Size = size
	f.change(v)
}

// Modify gives every byte of the file another content, in place.
func (f *File) Modify() {
	f.w.note(kModify, 0, 0, 0, 0, 0)
	v := f.Version()
	v.Content = f.w.newContent()
	f.change(v)
}

// Touch sets the mtime and nothing else.
func (f *File) Touch() {
	f.w.note(kTouch, 0, 0, 0, 0, 0)
	f.change(f.Version())
}

// change appends a version with a later mtime.
func (f *File) change(v Version) {
	v.MtimeNs, v.SinceNs = max(f.w.now, v.MtimeNs+1), f.w.now
	f.versions = append(f.versions, v)
}

// SetCold takes n bytes from off out of memory: they must be fetched before
// they can be sent. Evict does so with the whole file.
func (f *File) SetCold(off, n int64) { f.cold = append(f.cold, extent{off, off + n}) }

// Evict takes the whole file out of memory.
func (f *File) Evict() { f.SetCold(0, f.Size()) }

// SetBad makes n bytes from off unreadable: reading them gives EIO.
func (f *File) SetBad(off, n int64) { f.bad = append(f.bad, extent{off, off + n}) }

// warm puts n bytes from off into memory.
func (f *File) warm(off, n int64) {
	end := off + n
	kept := f.cold[:0:0]
	for _, e := range f.cold {
		if e.from < off {
			kept = append(kept, extent{e.from, min(e.to, off)})
		}
		if e.to > end {
			kept = append(kept, extent{max(e.from, end), e.to})
		}
	}
	f.cold = kept
}

// clear returns how many of n bytes from off come before the first of list.
func clear(list []extent, off, n int64) int64 {
	for _, e := range list {
		if e.to > off && e.from < off+n {
			n = max(e.from-off, 0)
		}
	}
	return n
}

// stat returns what fstat(2) would.
func (f *File) stat() aio.FileStat {
	v := f.Version()
	return aio.FileStat{Size: v.Size, MtimeNs: v.MtimeNs}
}

func (f *File) String() string { return fmt.Sprintf("file %q", f.name) }
