package httpfile

import "strconv"

// multipart plans a 206 with several ranges (RFC 9110 15.3.7.2): per range a
// part header from memory and the bytes from the file, and at the end the last
// boundary. All memory is one slice of the plan, so that its growth is one
// allocation at most, and Content-Length is the sum of the segments.
func (p *Plan) multipart(spans []span, entropy Entropy) {
	p.Status, p.kind, p.Parts = StatusPartialContent, headParts, len(spans)
	p.whole = p.facts.Size
	p.setBoundary(entropy)
	p.growSegments(2*len(spans) + 1)

	p.mem = growCap(p.mem, (len(spans)+1)*p.partHeaderMax())
	segs, total := p.Segments(), int64(0)
	for i, s := range spans {
		start := len(p.mem)
		p.mem = p.appendPartHeader(p.mem, s)
		segs[2*i] = memorySegment(p.mem[start:])
		segs[2*i+1] = Segment{Kind: SegmentFile, Off: s.off, N: s.end - s.off}
		total += segs[2*i].N + segs[2*i+1].N
	}
	start := len(p.mem)
	p.mem = append(p.mem, "\r\n--"...)
	p.mem = append(p.mem, p.boundary[:]...)
	p.mem = append(p.mem, "--\r\n"...)
	segs[len(segs)-1] = memorySegment(p.mem[start:])
	p.ContentLength = total + segs[len(segs)-1].N
}

func memorySegment(b []byte) Segment {
	return Segment{Kind: SegmentMemory, Mem: b[:len(b):len(b)], N: int64(len(b))}
}

// appendPartHeader appends what stands before the bytes of a part. The first one begins
// with an empty line, too, as other servers have it: zsync takes the first line for that
// and asks again and again where it is none.
func (p *Plan) appendPartHeader(dst []byte, s span) []byte {
	dst = append(dst, "\r\n--"...)
	dst = append(dst, p.boundary[:]...)
	dst = append(dst, "\r\nContent-Type: "...)
	dst = append(dst, p.facts.ContentType...)
	dst = append(dst, "\r\n"...)
	dst = appendContentRange(dst, s, p.whole)
	return append(dst, "\r\n"...)
}

// partHeaderMax is at least the length of a part header.
func (p *Plan) partHeaderMax() int {
	const rest = len("\r\n--\r\nContent-Type: \r\nContent-Range: bytes -/\r\n\r\n")
	const digits = len("9223372036854775807")
	return rest + len(p.boundary) + len(p.facts.ContentType) + 3*digits
}

// setBoundary writes the entropy as hexadecimal digits.
func (p *Plan) setBoundary(e Entropy) {
	const hex = "0123456789abcdef"
	for i := range p.boundary {
		word := e[i/16]
		p.boundary[i] = hex[word>>(uint(i%16)*4)&15]
	}
}

// growSegments makes room for n segments.
func (p *Plan) growSegments(n int) {
	p.n = n
	if n > fixedSegments && cap(p.over) < n {
		p.over = make([]Segment, n)
	}
	p.over = p.over[:cap(p.over)]
}

// growCap returns b emptied, with room for n bytes.
func growCap(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, 0, n)
	}
	return b[:0]
}

// appendContentRange appends the Content-Range line of a range.
func appendContentRange(dst []byte, s span, whole int64) []byte {
	dst = append(dst, "Content-Range: bytes "...)
	dst = strconv.AppendInt(dst, s.off, 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, s.end-1, 10)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, whole, 10)
	return append(dst, "\r\n"...)
}
