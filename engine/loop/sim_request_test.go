package loop

import (
	"fmt"
	"time"

	"github.com/fserve/fserve/internal/aio/aiosim"
)

// simKind is what a request asks for.
type simKind uint8

const (
	kindMemory simKind = iota // bytes from memory
	kindRange                 // a range of a file
	kindParts                 // several ranges of one file with memory between
	kindPair                  // two files, one after the other
	kindEcho                  // nothing but the length of what was sent
	kindClose                 // no answer: the end of the connection
	kindReset                 // no answer: a reset
)

// simRequest is one request. Its line holds its number and padding.
type simRequest struct {
	id      int
	kind    simKind
	names   []string
	ranges  [][2]int64 // offset and length, to be clipped to the file
	n       int        // kindMemory: bytes. kindEcho: bytes that follow the line
	late    time.Duration
	cold    bool // a task opens the file
	padding int  // spaces in the head of the answer
	interim bool // something is sent ahead of the answer
	last    bool // the connection closes after it
	linger  bool
	leave   bool // the session closes the connection when it is told the end
	source  bool // what follows the head is a Source, which takes its time
}

const (
	interimLine = "wait\n"
	errorLine   = "error\n"
	timeoutLine = "timeout\n"
	tooLongLine = "too long\n"

	// maxLine is the length from which on a line is refused, in bytes. Those of
	// requests are shorter.
	maxLine = 72 << 10
)

// part is a part of an answer: text, or a range of one of the files.
type part struct {
	text   []byte
	file   int
	off, n int64
}

// layout returns the parts of the answer, given the sizes of the files.
func (r *simRequest) layout(m *simulation, sizes []int64) []part {
	head := func(n int64) part { return part{text: fmt.Appendf(nil, "%d: %d%*s\n", r.id, n, r.padding, "")} }
	switch r.kind {
	case kindMemory:
		return []part{head(int64(r.n)), {text: m.memory[:r.n]}}
	case kindEcho:
		return []part{head(int64(r.n))}
	case kindRange:
		off, n := clip(r.ranges[0], sizes[0])
		return []part{head(n), {off: off, n: n}}
	case kindPair:
		return []part{head(sizes[0]), {n: sizes[0]}, head(sizes[1]), {file: 1, n: sizes[1]}}
	}
	parts := []part{head(sizes[0])}
	for i, g := range r.ranges {
		off, n := clip(g, sizes[0])
		parts = append(parts, part{text: fmt.Appendf(nil, "part %d\n", i)}, part{off: off, n: n})
	}
	return append(parts, part{text: []byte("end\n")})
}

func clip(g [2]int64, size int64) (off, n int64) {
	off = min(g[0], size)
	return off, min(g[1], size-off)
}

// expects returns how many answers come to a request.
func (r *simRequest) expects() int {
	if r.interim {
		return 2
	}
	return 1
}

// answers returns what may be answered to a request: all that its files have
// been until the answer begins, or that it cannot be answered.
func (m *simulation) answers(r *simRequest, must bool) (all [][]aiosim.Piece) {
	if !must {
		all = [][]aiosim.Piece{{aiosim.Bytes([]byte(errorLine))}, {aiosim.Bytes([]byte(timeoutLine))}}
	}
	switch {
	case r.kind == kindClose, r.kind == kindReset: // none
	case len(r.names) == 0:
		all = append(all, m.pieces(r))
	case len(r.names) == 1:
		m.eachVersion(r.names[0], func(v aiosim.Version) { all = append(all, m.pieces(r, v)) })
	case len(r.names) == 2:
		m.eachVersion(r.names[0], func(v aiosim.Version) {
			m.eachVersion(r.names[1], func(w aiosim.Version) { all = append(all, m.pieces(r, v, w)) })
		})
	}
	return all
}

func (m *simulation) eachVersion(name string, f func(aiosim.Version)) {
	for _, file := range m.files[name].files {
		for _, v := range file.Versions() {
			f(v)
		}
	}
}

// pieces returns the answer with these versions of the files.
func (m *simulation) pieces(r *simRequest, versions ...aiosim.Version) []aiosim.Piece {
	sizes := make([]int64, len(versions))
	for i, v := range versions {
		sizes[i] = v.Size
	}
	var p []aiosim.Piece
	for _, part := range r.layout(m, sizes) {
		if part.n > 0 {
			p = append(p, versions[part.file].Range(part.off, part.n))
		} else {
			p = append(p, aiosim.Bytes(part.text))
		}
	}
	return p
}
