package loop

import (
	"bytes"
	"math"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/aio"
)

// Segment is a part of a body: memory, or a range of a file.
type Segment struct {
	// Mem is sent if it is not nil. It must not change until Sent, unless it is of File.Brief.
	Mem []byte
	// File lends its bytes [Off, Off+N) if Mem is nil. With Mem it is only
	// held, so that its InUse tells whether the memory may be changed. The
	// loop holds a reference of its own for as long as it sends the segment.
	File   *openfile.File
	Off, N int64

	// trusted: the file is looked at with a later segment of it. It is looked at before the
	// last bytes of this one leave, if not.
	trusted bool
}

func (s *Segment) inMemory() bool { return s.Mem != nil || s.File == nil }

func (s *Segment) left() int64 {
	if s.inMemory() {
		return int64(len(s.Mem))
	}
	return s.N
}

// skip takes n bytes that were sent off the front.
func (s *Segment) skip(n int64) {
	if s.inMemory() {
		s.Mem = s.Mem[n:]
		return
	}
	s.Off += n
	s.N -= n
}

// Status is what a Body says of what it gives.
type Status uint8

const (
	More   Status = iota // the segment, and others follow it
	Last                 // the segment, which may be empty, and no other
	Later                // nothing now: Conn.Pull tells that there is more
	Failed               // nothing ever: the response ends with FileFailed
)

// Body is the content of a response, which is pulled as the socket takes it. Its methods
// are called on the loop, must not block, and must not call those of the connection.
type Body interface {
	// Next returns the next segment. budget is how many bytes may be sent in this turn, at
	// least one: a body that has to make what it gives need not make more. With More the
	// segment is not empty; with Later and Failed it is not looked at. After Last or Failed
	// Next is not called again.
	Next(budget int64) (Segment, Status)

	// Left returns how many bytes are to come from Next, as far as that is known when the
	// response begins: grants are sized by it.
	Left() int64

	// Close tells that the response has ended, however, and that neither the loop nor the
	// driver uses anything of the body any more. It is called once. When the engine ends it
	// comes after all tasks have: none may wait for it.
	Close()
}

const (
	// gatherPart is the size up to which a range of a file is copied rather than
	// sent from where it lies, in bytes. Below it the system calls of a zero-copy
	// send cost more than the copy: 9.3 us against 6.9 at 4 KiB; 9.3 against 9.8
	// at 10 KiB.
	gatherPart = 8 << 10

	// gatherBytes bounds a response that is gathered, in bytes.
	gatherBytes = 16 << 10

	// maxKeptCopy bounds the memory that free parts keep, in bytes.
	maxKeptCopy = 64 << 10
)

// parts is the Body of what a session has at hand: segments, which it holds.
type parts struct {
	list   []Segment
	next   int
	left   int64
	copied []byte // memory that the session did not promise to keep
}

// Next implements Body.
func (p *parts) Next(int64) (Segment, Status) {
	if p.next == len(p.list) {
		return Segment{}, Last
	}
	s := p.list[p.next]
	p.next++
	p.left -= s.left()
	if p.next == len(p.list) {
		return s, Last
	}
	return s, More
}

// Left implements Body.
func (p *parts) Left() int64 { return p.left }

// Close implements Body.
func (p *parts) Close() {
	for i := range p.list {
		if f := p.list[i].File; f != nil {
			f.Release()
		}
	}
	clear(p.list)
	if cap(p.copied) > maxKeptCopy {
		p.copied = nil
	}
	*p = parts{list: p.list[:0], copied: p.copied[:0]}
}

func (p *parts) add(s Segment) {
	if s.left() <= 0 {
		return
	}
	if s.File != nil {
		if s.Mem != nil && s.File.Brief() != nil {
			s.Mem = bytes.Clone(s.Mem)
		}
		s.File.Retain()
	}
	p.list = append(p.list, s)
	p.left = sum(p.left, s.left())
}

// sum adds numbers of bytes, up to the greatest there is: a file may be as long as that, and
// has a head.
func sum(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

// keepRequest copies a request and returns the copy, which is as it was until parts are used
// for another response.
func (p *parts) keepRequest(request []byte) []byte {
	p.copied = append(p.copied, request...)
	return p.copied[len(p.copied)-len(request):]
}

// copyOf adds memory that is not to be kept by its owner.
func (p *parts) copyOf(mem []byte) {
	if len(mem) > 0 {
		p.copied = append(p.copied[:0], mem...)
		p.add(Segment{Mem: p.copied})
	}
}

// keep takes a response that involves files, before anything of it is sent. ranges is how
// many segments are of files, and corked that it leaves in more pieces than its head and a
// range that is staged whole.
func (p *parts) keep(head []byte, body []Segment) (ranges int, corked bool) {
	p.copyOf(head)
	for i := range body {
		p.add(body[i])
	}
	var later *openfile.File
	for i := len(p.list) - 1; i >= 0; i-- {
		s := &p.list[i]
		if s.inMemory() {
			continue
		}
		if ranges++; ranges == 1 {
			corked = s.N > aio.StageMax
		}
		s.trusted, later = s.File == later, s.File
	}
	return ranges, corked || ranges > 1
}

// keepRest takes what is left of head and body after n bytes were sent.
func (p *parts) keepRest(head []byte, body *Segment, n int64) {
	inHead := min(n, int64(len(head)))
	p.copyOf(head[inHead:])
	switch rest := body.Mem[n-inHead:]; {
	case len(rest) == 0:
	case body.File != nil && body.File.Brief() != nil && len(p.list) == 0:
		p.copyOf(rest)
	default:
		p.add(Segment{Mem: rest, File: body.File})
	}
}

// small reports whether all of it may be gathered into memory.
func (p *parts) small() bool {
	if p.left > gatherBytes {
		return false
	}
	for i := range p.list {
		if s := &p.list[i]; !s.inMemory() && s.N > gatherPart {
			return false
		}
	}
	return true
}

func (p *parts) distrust() {
	for i := range p.list {
		if f := p.list[i].File; f != nil {
			f.Distrust()
		}
	}
}
