package http2

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Types of frames, and their flags (RFC 9113 section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113 section 6.5.2, RFC 9218 section 2.1).
const (
	settingTableSize    = 0x1
	settingPush         = 0x2
	settingStreams      = 0x3
	settingWindow       = 0x4
	settingFrameSize    = 0x5
	settingHeadSize     = 0x6
	settingNoPriorities = 0x9
)

// code is why a stream or a connection ends (RFC 9113 section 7).
type code uint32

const (
	noError          code = 0x0
	protocolError    code = 0x1
	internalError    code = 0x2
	flowControlError code = 0x3
	streamClosed     code = 0x5
	frameSizeError   code = 0x6
	refusedStream    code = 0x7
	compressionError code = 0x9
	enhanceYourCalm  code = 0xb
)

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	headLen   = 9        // of a frame, in bytes
	frameSize = 16 << 10 // bounds what a frame has besides, in bytes, in both directions
	maxWindow = 1<<31 - 1
	maxStream = 1<<31 - 1
)

// frame is one that was received.
type frame struct {
	typ, flags byte
	stream     uint32
	payload    []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// parseFrame reads the frame at the beginning of p, of n bytes; 0: it is not whole. A frame
// that is too long has no payload.
func parseFrame(p []byte) (f frame, n int) {
	if len(p) < headLen {
		return f, 0
	}
	n = headLen + int(binary.BigEndian.Uint32(p)>>8)
	f = frame{typ: p[3], flags: p[4], stream: binary.BigEndian.Uint32(p[5:]) & maxStream}
	switch {
	case n > headLen+frameSize:
	case n > len(p):
		return f, 0
	default:
		f.payload = p[headLen:n]
	}
	return f, n
}

// unpad takes the padding off a payload; false: there is more of it than of that.
func (f *frame) unpad() bool {
	if !f.has(flagPadded) {
		return true
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return false
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return true
}

// putHead writes the head of a frame of n bytes.
func putHead(p []byte, n int, typ, flags byte, stream uint32) {
	binary.BigEndian.PutUint32(p, uint32(n)<<8|uint32(typ))
	p[4] = flags
	binary.BigEndian.PutUint32(p[5:], stream)
}

func appendFrame(p []byte, typ, flags byte, stream uint32, payload []byte) []byte {
	p = append(p, make([]byte, headLen)...)
	putHead(p[len(p)-headLen:], len(payload), typ, flags, stream)
	return append(p, payload...)
}

// appendNumber appends a frame whose payload is one number.
func appendNumber(p []byte, typ byte, stream, number uint32) []byte {
	return appendFrame(p, typ, 0, stream, binary.BigEndian.AppendUint32(nil, number))
}

func appendGoAway(p []byte, last uint32, why code) []byte {
	return appendFrame(p, frameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), uint32(why)))
}

func appendSetting(p []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(p, id), value)
}

// Fields go out as they are (RFC 7541 section 6.2.2): nothing of them is kept for later ones, so that a
// connection holds no memory for them, and none is allocated.

// static is where names stand in the static table (RFC 7541 appendix A).
var static = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24, "content-disposition": 25,
	"content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29, "content-range": 30, "content-type": 31,
	"date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45, "location": 46, "retry-after": 53, "server": 54,
	"set-cookie": 55, "strict-transport-security": 56, "vary": 59, "www-authenticate": 61,
}

// statuses are those of it, which stand whole in the static table.
var statuses = map[int]byte{200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}

const (
	indexed     = 0x80
	emptyTable  = 0x20 // the size of the table is 0
	statusName  = 8
	shortPrefix = 4
	textPrefix  = 7
)

func appendStatus(p []byte, status int) []byte {
	if i, ok := statuses[status]; ok {
		return append(p, indexed|i)
	}
	return strconv.AppendInt(append(p, statusName, 3), int64(status), 10)
}

// appendField appends a field, whose name is in lower case.
func appendField(p, name, value []byte) []byte {
	if i, ok := static[string(name)]; ok {
		p = appendInt(p, shortPrefix, int(i))
	} else {
		p = append(appendInt(append(p, 0), textPrefix, len(name)), name...)
	}
	return append(appendInt(p, textPrefix, len(value)), value...)
}

// appendInt appends a number (RFC 7541 section 5.1) whose first byte has room for so many bits.
func appendInt(p []byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(p, byte(n))
	}
	p = append(p, byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		p = append(p, byte(n)|0x80)
	}
	return append(p, byte(n))
}

// appendBlock appends a head in as many frames as it needs. flags has flagEndHeaders.
func appendBlock(p, block []byte, flags byte, stream uint32) []byte {
	typ := byte(frameHeaders)
	for len(block) > frameSize {
		p = appendFrame(p, typ, flags&^flagEndHeaders, stream, block[:frameSize])
		typ, flags, block = frameContinuation, flagEndHeaders, block[frameSize:]
	}
	return appendFrame(p, typ, flags, stream, block)
}

var lineEnd = []byte("\r\n")

// appendFields appends the fields of lines, but for those that belong to a connection of HTTP/1.1.
// length is -1 if nothing says it.
func appendFields(block, lines []byte) (_ []byte, length int64, chunked bool) {
	length = -1
	var lower [64]byte
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, lineEnd)
		lines = rest
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name = toLower(lower[:0], name)
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "connection", "keep-alive", "proxy-connection", "upgrade":
			continue
		case "transfer-encoding":
			chunked = true
			continue
		case "content-length":
			length, _ = strconv.ParseInt(string(value), 10, 64)
		}
		block = appendField(block, name, value)
	}
	return block, length, chunked
}

func toLower(to, p []byte) []byte {
	for _, b := range p {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		to = append(to, b)
	}
	return to
}

// firstWindow is how much may be sent before anything is said about that, in bytes (RFC 9113 section 6.9.2).
const firstWindow = 1<<16 - 1

// window is how many bytes of bodies may be sent.
type window struct {
	out int64 // to the client
	in  int64 // by the client

	owed int64 // of in, that were used
}

// giveBack notes n bytes of in that were used, and returns how many are to be given back, once they are as
// many as least.
func (w *window) giveBack(n, least int64) int64 {
	if w.owed += n; w.owed < least {
		return 0
	}
	n, w.owed = w.owed, 0
	w.in += n
	return n
}
