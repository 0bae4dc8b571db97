package resolve

import (
	"bytes"
	"strings"
	"time"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// Kind is what a file is to an answer.
type Kind uint8

const (
	None    Kind = iota
	Source       // the file of the path, or an index file
	Sidecar      // a coded form of the source
	Page         // an error page
	NumKind
)

// Want is a file that an answer needs.
type Want struct {
	Kind   Kind
	Place  *site.Place // whose Root it is below
	Key    []byte      // what a cache knows it by; valid until the Answer wants another of the Kind
	Coding httpfile.Coding

	path []byte // of the source or the page, for rules and types
	file string // what stands before the name in Key; empty: all of the name is there
	name int    // where in Key the name begins
	tail int    // what stands behind the name in Key, in bytes
}

// Name returns the name below the root of Place, for a copy of the Key.
func (w *Want) Name(key string) string {
	if name := w.file + key[w.name:len(key)-w.tail]; name != "" {
		return name
	}
	return "."
}

// WritePolicy says how the file is treated if somebody writes to it.
func (w *Want) WritePolicy() openfile.Policy {
	p := w.Place.WritePolicy(string(w.path))
	p.Hashed = p.Hashed && w.Kind != Page // whose validators nobody sees
	return p
}

// keep returns a Want that stays valid.
func (w *Want) keep() Want {
	kept := *w
	kept.Key, kept.path = bytes.Clone(w.Key), bytes.Clone(w.path)
	return kept
}

func (w *Want) source(p *site.Place, key []byte) {
	*w = Want{Kind: Source, Place: p, Key: key, path: p.PathOf(key), name: p.NameAt()}
	if f := p.File(); f != "" {
		w.file, w.name = f, len(key)
	}
}

func (w *Want) page(p *site.ErrorPage) {
	*w = Want{Kind: Page, Place: p.Place, Key: p.Key, path: p.Path, name: p.NameAt}
}

// sidecar returns the Want of a sidecar of a source. Its key is put into memory. A
// NUL, which no path holds, tells it from that of the same file asked for by its own
// name: that has another type and another tag.
func (w *Want) sidecar(memory []byte, k httpfile.Coding) Want {
	key := append(append(append(memory[:0], w.Key...), k.Ext()...), 0)
	return Want{Kind: Sidecar, Place: w.Place, Key: key, Coding: k, path: w.path, file: w.file, name: w.name, tail: 1}
}

// Version is one version of a file in a place, with what its answers need. It is for
// the goroutine that opened the file.
type Version struct {
	Place *site.Place
	Facts *httpfile.Facts
	Lines []byte // of the header rules; not nil if there are rules

	gone [numCoding]int64 // monotonic ns: until when a sidecar is believed missing
}

// Version returns what the answers with a version of the wanted file need. f is what the
// file system has said of it; the rest is filled in.
func (w *Want) Version(f httpfile.File) Version {
	path, p := string(w.path), w.Place
	f.ByContent = p.ContentTags()
	f.Path, f.Coding, f.Negotiable = path, w.Coding, p.Precompressed && mayBeCoded(path)
	return Version{Place: p, Lines: p.Lines(path), Facts: p.Policy.MakeFacts(f)}
}

// numCoding is how many representations a file can have: itself and its sidecars.
const numCoding = int(httpfile.Gzip) + 1

// sidecarFresh is how long a sidecar is believed to be missing, the time for
// which caches believe a file to be there.
const sidecarFresh = int64(time.Second)

// packed are extensions of what is compressed already: it gets no sidecars, is
// not asked about, and does not vary.
var packed = func() map[string]bool {
	m := make(map[string]bool)
	for _, ext := range strings.Fields(`
		br gz tgz zst xz txz lz4 bz2 tbz2 lzma zip 7z rar jar war apk ipa aab cab deb rpm dmg whl crate nupkg
		jpg jpeg png gif webp avif heic jxl mp3 m4a aac ogg oga opus flac mp4 m4v mov mkv webm ogv woff woff2`) {
		m["."+ext] = true
	}
	return m
}()

// mayBeCoded reports whether the file of a path can have sidecars.
func mayBeCoded(path string) bool {
	dot := strings.LastIndexByte(path, '.')
	return dot < 0 || !packed[strings.ToLower(path[dot:])]
}
