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
	Made         // the source, compressed: no file
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
	p := w.Place.WritePolicy(w.path)
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

	gone  [numCoding]int64 // monotonic ns: until when a sidecar is believed missing
	may   bool             // have sidecars
	coded *compressible    // nil: the content is sent as it is
}

// Version returns what the answers with a version of the wanted file need. f is what the
// file system has said of it; the rest is filled in.
func (w *Want) Version(f httpfile.File) (v Version) {
	v.fill(w, string(w.path), f)
	return v
}

// Remake makes v what the answers with a version of the wanted file need, in its memory: nobody
// uses it for another version any more. key is as the Key of w, and valid as long as v is used.
func (w *Want) Remake(v *Version, key string, f httpfile.File) {
	path := ""
	if w.Kind == Page {
		path = string(w.path) // which is not in the key
	} else {
		path = w.Place.PathIn(key)[:len(w.path)]
	}
	v.fill(w, path, f)
}

func (v *Version) fill(w *Want, path string, f httpfile.File) {
	p := w.Place
	*v = Version{Place: p, Facts: v.Facts, Lines: p.Lines(path), may: p.Precompressed && httpfile.MayBeCoded(path)}
	f.ByContent = p.ContentTags()
	f.Path, f.Coding = path, w.Coding
	if level := w.level(path, f.Size, v.Lines); level > 0 {
		v.coded = &compressible{file: f}
		v.coded.file.Path, v.coded.file.Level = strings.Clone(path), level
	}
	f.Negotiable = v.may || v.coded != nil
	if v.Facts == nil {
		v.Facts = new(httpfile.Facts)
	}
	p.Policy.RemakeFacts(v.Facts, f)
}

// numCoding is how many representations a file can have: itself and its coded forms.
const numCoding = int(httpfile.Gzip) + 1

// codingFresh is how long a coded form is believed not to be had, the time for
// which caches believe a file to be there.
const codingFresh = int64(time.Second)
