package wire

import "math"

// MaxChunkOverhead bounds the bytes of chunk extensions and trailer lines in one body.
const MaxChunkOverhead = 16 << 10

// maxSizeDigits bounds a chunk size: 16 hex digits say any 64-bit number.
const maxSizeDigits = 16

// Chunked decodes a body in chunked coding (RFC 9112 section 7.1) piece by piece. The zero
// value is ready for a body. Chunk extensions and trailers are checked and
// dropped. After a Reason other than OK it must not be used again.
type Chunked struct {
	left     int64 // of the chunk's size: being read, or data still to come
	size     int64
	overhead int
	digits   uint8
	state    chunkState
}

type chunkState uint8

const (
	atSize    chunkState = iota // chunk size
	atSpace                     // white space before an extension
	atExt                       // extension
	atSizeLF                    // LF of the size line
	atData                      // data
	atDataCR                    // CR after data
	atDataLF                    // LF after data
	atTrailer                   // first byte of a trailer line, or CR of the end
	atName                      // name of a trailer
	atValue                     // value of a trailer
	atValueLF                   // LF of a trailer line
	atEndLF                     // LF of the end
	atEnd                       // behind the end
)

// Done reports whether the end of the body has been read.
func (c *Chunked) Done() bool { return c.state == atEnd }

// Size returns how many bytes of data have been decoded so far.
func (c *Chunked) Size() int64 { return c.size }

// AtData reports whether the next byte is data.
func (c *Chunked) AtData() bool { return c.state == atData }

// Next decodes the beginning of src. It consumes n bytes and returns the data
// among them, if any, as one part of src. It consumes all of src unless there is data in
// the middle or the body ends: call it again with src[n:] while n > 0.
func (c *Chunked) Next(src []byte) (data []byte, n int, r Reason) {
	for i, b := range src {
		switch c.state {
		case atData:
			k := int(min(c.left, int64(len(src)-i)))
			if c.left -= int64(k); c.left == 0 {
				c.state = atDataCR
			}
			c.size += int64(k)
			return src[i : i+k : i+k], i + k, OK
		case atEnd:
			return nil, i, OK
		}
		if r := c.step(b); r != OK {
			return nil, i, r
		}
	}
	return nil, len(src), OK
}

// Append decodes src and appends the data to dst, which may not become longer than max bytes
// (BodyTooLarge). It consumes n bytes: all of them unless Done.
func (c *Chunked) Append(dst, src []byte, max int) (out []byte, n int, r Reason) {
	for n < len(src) && !c.Done() {
		data, k, r := c.Next(src[n:])
		n += k
		if r != OK {
			return dst, n, r
		}
		if len(data) > max-len(dst) {
			return dst, n, BodyTooLarge
		}
		dst = append(dst, data...)
	}
	return dst, n, OK
}

// Discard decodes src and drops the data. It consumes n bytes: all of them unless
// Done. Size tells how much was dropped.
func (c *Chunked) Discard(src []byte) (n int, r Reason) {
	for n < len(src) && !c.Done() {
		_, k, r := c.Next(src[n:])
		n += k
		if r != OK {
			return n, r
		}
	}
	return n, OK
}

// step takes one byte that is not data.
func (c *Chunked) step(b byte) Reason {
	switch c.state {
	case atSize:
		return c.sizeByte(b)
	case atSpace:
		if b == ';' {
			return c.extra(atExt)
		}
		if b == ' ' || b == '\t' {
			return c.extra(atSpace)
		}
		return BadChunk
	case atExt:
		if b == '\r' {
			c.state = atSizeLF
			return OK
		}
		if charClass[b]&isValue == 0 {
			return BadChunk
		}
		return c.extra(atExt)
	case atSizeLF:
		c.digits = 0
		if c.left == 0 {
			return c.want(b, '\n', atTrailer)
		}
		if c.left > math.MaxInt64-c.size {
			return BadChunk
		}
		return c.want(b, '\n', atData)
	case atDataCR:
		return c.want(b, '\r', atDataLF)
	case atDataLF:
		return c.want(b, '\n', atSize)
	case atEndLF:
		return c.want(b, '\n', atEnd)
	}
	return c.trailerByte(b)
}

// want takes the one byte that is allowed here.
func (c *Chunked) want(b, only byte, next chunkState) Reason {
	if b != only {
		return BadChunk
	}
	c.state = next
	return OK
}

// extra counts a byte that is neither size nor data.
func (c *Chunked) extra(next chunkState) Reason {
	if c.overhead++; c.overhead > MaxChunkOverhead {
		return ChunkOverhead
	}
	c.state = next
	return OK
}

func (c *Chunked) sizeByte(b byte) Reason {
	if charClass[b]&isHex != 0 {
		if c.digits++; c.digits > maxSizeDigits || c.left > math.MaxInt64>>4 {
			return BadChunk
		}
		c.left = c.left<<4 | int64(hexValue(b))
		return OK
	}
	if c.digits == 0 {
		return BadChunk
	}
	switch b {
	case '\r':
		c.state = atSizeLF
		return OK
	case ';':
		return c.extra(atExt)
	case ' ', '\t':
		return c.extra(atSpace)
	}
	return BadChunk
}

func hexValue(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b&^0x20 - 'A' + 10
}

// trailerByte takes a byte of the trailer section, where lines are field lines.
func (c *Chunked) trailerByte(b byte) Reason {
	switch {
	case c.state == atTrailer && b == '\r':
		c.state = atEndLF
		return OK
	case c.state == atTrailer && charClass[b]&isToken != 0,
		c.state == atName && charClass[b]&isToken != 0:
		return c.extra(atName)
	case c.state == atName && b == ':':
		return c.extra(atValue)
	case c.state == atValue && b == '\r':
		return c.extra(atValueLF)
	case c.state == atValue && charClass[b]&isValue != 0:
		return c.extra(atValue)
	case c.state == atValueLF && b == '\n':
		return c.extra(atTrailer)
	}
	return BadTrailer
}
