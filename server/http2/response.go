package http2

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/fserve/fserve/server/wire"
)

// response is what is known of the response of a stream, which comes as HTTP/1.1 has it.
type response struct {
	part     []byte // of its head, which is not whole
	framed   framing
	rest     int64 // bytes of a body with a length
	chunks   wire.Chunked
	bodiless bool   // a request of HEAD was answered
	lent     []byte // by Room
}

// framing says how the end of a body is known.
type framing uint8

const (
	noHead     framing = iota // the head has not come
	hasLength                 // by its length
	hasChunks                 // by the last chunk
	untilClose                // by the end of the connection
	hasEnded                  // it was sent
)

// endless reports whether the end of the connection is that of the response.
func (s *stream) endless() bool { return s.framed == untilClose }

// Send implements loop.Carrier.
func (s *stream) Send(head, body []byte) int {
	n := s.send(head)
	if n == len(head) {
		n += s.send(body)
	}
	if n < len(head)+len(body) {
		s.wait()
	}
	s.end()
	return n
}

// wait has the stream go on when it can.
func (s *stream) wait() {
	if !s.waits {
		s.waits = true
		s.of.waiting = append(s.of.waiting, s)
		s.of.touch()
	}
}

// send sends a part of the response and returns how much of it was taken.
func (s *stream) send(p []byte) (n int) {
	for n < len(p) {
		var k int
		if s.framed == noHead {
			k = s.head(p[n:])
		} else if s.framed == hasEnded {
			return len(p)
		} else if k = s.content(p[n:]); k == 0 {
			return n
		}
		n += k
	}
	return n
}

// content sends a part of the body.
func (s *stream) content(p []byte) int {
	if s.framed == hasChunks {
		return s.chunk(p)
	}
	to := s.Room(len(p))
	if len(to) == 0 {
		return 0
	}
	k := copy(to, p)
	s.Filled(k)
	return k
}

// chunk sends a part of a body that is in chunks.
func (s *stream) chunk(p []byte) int {
	if !s.of.mayFill() {
		return 0
	}
	switch n := s.most(); {
	case n > 0:
		p = p[:min(len(p), n)]
	case s.chunks.AtData():
		return 0
	default: // up to the data
		p = p[:1]
	}
	data, n, why := s.chunks.Next(p)
	if why != wire.OK {
		s.framed = hasEnded // no handler is that wrong: the connection ends it by a reset
		return n
	}
	if len(data) > 0 {
		copy(s.reserve(len(data)), data)
		s.fill(len(data), 0)
	}
	if s.chunks.Done() {
		s.finish()
	}
	return n
}

// most returns how many bytes the windows and a frame have room for.
func (s *stream) most() int {
	return int(max(0, min(s.window.out, s.of.window.out, frameSize)))
}

// Room implements loop.Carrier.
func (s *stream) Room(most int) []byte {
	if s.framed == hasLength {
		most = int(min(int64(most), s.rest))
	}
	if n := min(most, s.most()); n > 0 && s.of.mayFill() {
		if s.framed == hasChunks {
			s.lent = make([]byte, n) // of a file, which nobody does
			return s.lent
		}
		return s.reserve(n)
	}
	s.wait()
	return nil
}

// reserve returns memory for n bytes behind the head of a frame. fill follows.
func (s *stream) reserve(n int) []byte {
	m := s.of
	m.room(headLen + n)
	s.lent = m.out[len(m.out)+headLen : len(m.out)+headLen+n]
	return s.lent
}

// Filled implements loop.Carrier.
func (s *stream) Filled(n int) {
	if s.framed == hasChunks {
		s.send(s.lent[:n])
		s.lent = nil
		return
	}
	var flags byte
	if s.framed == hasLength && int64(n) == s.rest {
		flags = flagEndStream
	}
	s.fill(n, flags)
	s.end()
}

// fill sends n bytes of what was reserved.
func (s *stream) fill(n int, flags byte) {
	m := s.of
	if s.lent = nil; n == 0 {
		return
	}
	at := len(m.out)
	m.out = m.out[:at+headLen+n]
	putHead(m.out[at:], n, frameData, flags, s.id)
	s.window.out -= int64(n)
	m.window.out -= int64(n)
	s.rest -= int64(n)
	s.move()
	if flags&flagEndStream != 0 {
		s.framed, s.sent = hasEnded, true
	}
}

// move notes that the stream has moved.
func (s *stream) move() {
	m := s.of
	m.round++
	s.round, s.moved = m.round, m.loop.Now()
	m.touch()
}

// finish ends a body whose end could not be told with its last bytes.
func (s *stream) finish() {
	s.of.put(appendFrame(nil, frameData, flagEndStream, s.id, nil))
	s.framed, s.sent = hasEnded, true
	s.move()
}

var headEnd = []byte("\r\n\r\n")

// head takes a part of the head, and sends the head when it is whole. It returns how much it has taken.
func (s *stream) head(p []byte) int {
	if len(s.part) == 0 {
		if i := bytes.Index(p, headEnd); i >= 0 {
			s.sendHead(p[:i+2])
			return i + len(headEnd)
		}
	}
	from := max(0, len(s.part)-len(headEnd)+1)
	before := len(s.part)
	s.part = append(s.part, p...)
	i := bytes.Index(s.part[from:], headEnd)
	if i < 0 {
		return len(p)
	}
	end := from + i + 2
	s.sendHead(s.part[:end])
	s.part = nil
	return end + 2 - before
}

// sendHead sends a head, of which each line has its end.
func (s *stream) sendHead(p []byte) {
	m := s.of
	line, rest, _ := bytes.Cut(p, lineEnd)
	status := 0
	if len(line) >= len("HTTP/1.1 200") {
		status, _ = strconv.Atoi(string(line[9:12]))
	}
	m.room(headLen + 2*len(p) + 16)
	at := len(m.out)
	block := m.beginBlock(m.out[at : at+headLen])
	block, length, chunked := appendFields(appendStatus(block, status), rest)
	var flags byte = flagEndHeaders
	switch {
	case status < http.StatusOK: // the answer follows
	case s.bodiless, status == http.StatusNoContent, status == http.StatusNotModified, length == 0 && !chunked:
		s.framed, s.sent = hasEnded, true
		flags |= flagEndStream
	case chunked:
		s.framed = hasChunks
	case length > 0:
		s.framed, s.rest = hasLength, length
	default:
		s.framed = untilClose
	}
	m.putBlock(block[headLen:], flags, s.id)
	s.move()
}

// putBlock puts a head whose fields stand behind the room for the head of its frame.
func (m *conn) putBlock(block []byte, flags byte, id uint32) {
	if len(block) <= frameSize {
		at := len(m.out)
		m.out = m.out[:at+headLen+len(block)]
		putHead(m.out[at:], len(block), frameHeaders, flags, id)
		return
	}
	m.put(appendBlock(nil, block, flags, id))
}
