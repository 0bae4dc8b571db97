package resolve

import (
	"bytes"
	"math"

	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/site"
)

// compressible is what a Version that is worth compressing has for that.
type compressible struct {
	file httpfile.File // of the source, with the level
	made [numCoding]made
}

// made is what was made of a Version in a coding.
type made struct {
	Version
	body *compress.Body // nil: it was not made
	not  int64          // monotonic ns: until when it is not asked for again
}

// never is later than every time.
const never = math.MaxInt64

// level returns that of the compression of the wanted file, 0: it is sent as it is.
func (w *Want) level(path string, size int64, lines []byte) int {
	p := w.Place.Policy
	if w.Kind != Source || !p.Compresses() || !httpfile.MayBeCoded(path) || w.WritePolicy().Growing || site.HasField(lines, "Content-Encoding") {
		return 0
	}
	return p.Level(p.ContentType(path), size)
}

// uncoded goes on with the source where there is no sidecar that the client takes.
func uncoded(a *Answer) Step {
	c, q := a.source.coded, &a.Request
	dated := q.IfRange != nil && bytes.IndexByte(q.IfRange, '"') < 0
	if c == nil || q.Range != nil && !dated { // ranges are of the file
		return plainly(a)
	}
	k := httpfile.Negotiate(q.AcceptEncoding, httpfile.MadeOrder)
	switch {
	case k == httpfile.NotAcceptable:
		return a.Fail(httpfile.StatusNotAcceptable)
	case k == httpfile.Identity:
		return plainly(a)
	}
	a.Coding = k
	m := &c.made[k]
	if m.not != never {
		q.Range = nil // what the client has of that date may be the beginning of a form
	}
	if m.body.Retain() {
		a.Body, a.Version, a.Chosen = m.body, &m.Version, Made
		return Send
	}
	if m.not > a.now || !a.source.Facts.Distinct() {
		return plainly(a)
	}
	return Compress
}

// plainly goes on with the source as it is, unless the client refuses it and there is something
// else.
func plainly(a *Answer) Step {
	if a.refused {
		return a.Fail(httpfile.StatusNotAcceptable)
	}
	return Send
}

// SourceOf returns the file that Compress is about.
func SourceOf(a *Answer) *compress.Source {
	f := &a.source.coded.file
	p := a.source.Place
	return &compress.Source{
		Root: p.Root, Name: a.base.Name(string(a.base.Key)), Inode: f.Inode, Size: f.Size, MtimeNs: f.MtimeNs, CtimeNs: f.CtimeNs,
		Coding: a.Coding, Level: f.Level,
	}
}

// Compressed goes on after Compress: with the content, which is the Answer's Body then, or
// nil: the source is sent as it is, and asked about again after a while.
func (a *Answer) Compressed(b *compress.Body) Step {
	c := a.source.coded
	m := &c.made[a.Coding]
	switch {
	case b == nil:
		m.not = a.now + codingFresh
		return plainly(a)
	case b.Useless():
		b.Release()
		m.not = never
		return plainly(a)
	}
	f := c.file
	f.Coding, f.Length, f.Negotiable = a.Coding, int64(len(b.Bytes())), true
	m.body = b
	m.Version = Version{Place: a.source.Place, Lines: a.source.Lines, Facts: a.source.Place.Policy.MakeFacts(f)}
	a.Body, a.Version, a.Chosen = b, &m.Version, Made
	return Send
}
