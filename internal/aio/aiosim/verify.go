package aiosim

import "bytes"

// Piece is a part of an expected response: literal bytes, a range of some
// content, or any bytes.
type Piece struct {
	literal []byte
	content Content
	off, n  int64
	kind    pieceKind
}

type pieceKind uint8

const (
	literalPiece pieceKind = iota
	contentPiece
	anyPiece
)

// Bytes expects p, which is not copied.
func Bytes(p []byte) Piece { return Piece{literal: p, n: int64(len(p))} }

// Any expects n bytes of whatever value.
func Any(n int64) Piece { return Piece{kind: anyPiece, n: n} }

// Range expects n bytes from off of this version.
func (v Version) Range(off, n int64) Piece {
	return Piece{kind: contentPiece, content: v.Content, off: off, n: n}
}

// Whole expects all bytes of this version.
func (v Version) Whole() Piece { return v.Range(0, v.Size) }

// Range expects n bytes from off of what the file is now.
func (f *File) Range(off, n int64) Piece { return f.Version().Range(off, n) }

// Whole expects all bytes of what the file is now.
func (f *File) Whole() Piece { return f.Version().Whole() }

// chunk is a part of a stream of bytes: in memory, or a range of some content.
type chunk struct {
	mem     []byte
	content Content
	off, n  int64
	isFile  bool
	lent    *File // whose pages these are; nil: copies
}

// cut returns the n bytes of c from i on.
func (c chunk) cut(i, n int64) chunk {
	if !c.isFile {
		return chunk{mem: c.mem[i : i+n], n: n}
	}
	c.off, c.n = c.off+i, n
	return c
}

// fill writes the bytes of c into p, which is as long.
func (c chunk) fill(p []byte) {
	if c.isFile {
		c.content.Fill(p, c.off)
		return
	}
	copy(p, c.mem)
}

// cut returns the chunk that the piece expects at [i, i+n); not for anyPiece.
func (p *Piece) cut(i, n int64) chunk {
	if p.kind == contentPiece {
		return chunk{content: p.content, off: p.off + i, n: n, isFile: true}
	}
	return chunk{mem: p.literal[i : i+n], n: n}
}

// same returns how many bytes of a and b, which are equally long, are equal
// before the first difference.
func (w *World) same(a, b chunk) int64 {
	if a.isFile && b.isFile && a.content == b.content && a.off == b.off {
		return a.n
	}
	const step = 4 << 10
	for i := int64(0); i < a.n; i += step {
		m := min(step, a.n-i)
		p, q := w.materialise(0, a.cut(i, m)), w.materialise(1, b.cut(i, m))
		if bytes.Equal(p, q) {
			continue
		}
		for j := range p {
			if p[j] != q[j] {
				return i + int64(j)
			}
		}
	}
	return a.n
}

// materialise returns the bytes of c, in memory that is reused.
func (w *World) materialise(i int, c chunk) []byte {
	if !c.isFile {
		return c.mem
	}
	if int64(cap(w.scratch[i])) < c.n {
		w.scratch[i] = make([]byte, c.n)
	}
	p := w.scratch[i][:c.n]
	c.fill(p)
	return p
}

// response is one expected response, or a choice of several.
type response struct {
	either [][]Piece
	late   func() [][]Piece // evaluated when the first byte arrives
}

// cursor is one way to read what has arrived so far.
type cursor struct {
	response int
	begun    bool // pieces is chosen; until the first byte arrives it is not
	pieces   []Piece
	i        int   // in pieces
	pos      int64 // in pieces[i]
}

// verifier compares a stream with what is expected. Where there is a choice it
// follows all ways that are still right. When the last of them turns out
// wrong it goes on along that one by length alone, since a wrong body does no
// harm as long as the peer can see that it is not whole.
type verifier struct {
	w         *World
	expected  []response
	live      []cursor
	spare     []cursor // memory for the next live
	pos       int64    // bytes seen
	whole     int      // right responses
	wrongAt   int64    // where the first wrong byte was; -1: nowhere
	wrongBody bool     // a wrong response looked whole
	extra     bool     // bytes came after the last response

	// The cursor that was right for longest in this chunk, of those that are not any more.
	best              cursor
	bestFrom, bestEnd int64
	extraFrom         int64 // where bytes after the last response begin
}

// take compares the next chunk.
func (v *verifier) take(c chunk) {
	if len(v.expected) > 0 && !v.wrongBody && !v.extra {
		v.follow(c)
	}
	v.pos += c.n
}

func (v *verifier) follow(c chunk) {
	if v.live == nil {
		v.live = append(v.live, cursor{})
	}
	live := v.live
	v.live, v.spare = v.spare[:0], live
	v.bestEnd, v.extraFrom = -1, 0
	for i := range live {
		v.advance(live[i], c, 0)
	}
	if len(v.live) > 0 || v.wrongBody {
		return
	}
	if v.bestEnd < 0 {
		v.extra = true
		v.wrongAt = v.pos + v.extraFrom
		return
	}
	v.wrongAt = v.pos + v.bestEnd
	v.advance(v.best, c, v.bestFrom)
}

// advance moves a cursor over the bytes of c from at on. It is kept in live if
// all of them are right.
func (v *verifier) advance(cur cursor, c chunk, at int64) {
	if !cur.begun {
		v.begin(cur.response, c, at)
		return
	}
	for cur.i < len(cur.pieces) {
		p := &cur.pieces[cur.i]
		m := min(p.n-cur.pos, c.n-at)
		if v.wrongAt < 0 && p.kind != anyPiece && m > 0 {
			if right := v.w.same(c.cut(at, m), p.cut(cur.pos, m)); right < m {
				v.drop(cur, at, at+right)
				return
			}
		}
		at, cur.pos = at+m, cur.pos+m
		if cur.pos < p.n {
			v.live = append(v.live, cur)
			return
		}
		cur.i, cur.pos = cur.i+1, 0
	}
	v.complete(cur.response, c, at)
}

// begin starts a response with the bytes of c from at on, once there are any.
func (v *verifier) begin(i int, c chunk, at int64) {
	if at == c.n {
		v.live = append(v.live, cursor{response: i})
		return
	}
	if i == len(v.expected) { // extra bytes: this way is not right
		v.extraFrom = max(v.extraFrom, at)
		return
	}
	r := &v.expected[i]
	if r.late != nil {
		r.either, r.late = r.late(), nil
	}
	for _, pieces := range r.either {
		v.advance(cursor{response: i, begun: true, pieces: pieces}, c, at)
	}
}

// complete is called when a cursor is at the end of its response.
func (v *verifier) complete(i int, c chunk, at int64) {
	if v.wrongAt >= 0 {
		v.wrongBody = true
		return
	}
	v.whole = max(v.whole, i+1)
	v.begin(i+1, c, at)
}

// drop remembers the cursor that was right for longest.
func (v *verifier) drop(cur cursor, from, end int64) {
	if end > v.bestEnd {
		v.best, v.bestFrom, v.bestEnd = cur, from, end
	}
}
