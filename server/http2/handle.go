package http2

import (
	"encoding/binary"

	"github.com/fserve/fserve/engine/loop"
)

// Receive implements loop.Multiplexer.
func (m *conn) Receive(_ *loop.Conn, p []byte) (n int, request bool) {
	if m.over {
		return len(p), false
	}
	if m.phase == awaitsPreface {
		k := min(len(p), len(preface))
		switch {
		case string(p[:k]) != preface[:k]:
			m.fail(protocolError)
			return len(p), false
		case k < len(preface):
			return 0, false
		}
		m.begin()
		return k, false
	}
	f, n := parseFrame(p)
	if n == 0 {
		return 0, false
	}
	before := m.lastID
	if why := m.handle(&f, n-headLen); why != noError {
		m.fail(why)
		return len(p), false
	}
	return n, m.lastID != before
}

// begin says what is spoken here.
func (m *conn) begin() {
	m.phase = awaitsSettings
	var p []byte
	p = appendSetting(p, settingStreams, maxStreams)
	p = appendSetting(p, settingWindow, streamWindow)
	p = appendSetting(p, settingHeadSize, uint32(m.maxHead()))
	p = appendSetting(p, settingNoPriorities, 1)
	m.put(appendFrame(nil, frameSettings, 0, 0, p))
	m.put(appendNumber(nil, frameWindow, 0, connWindow-firstWindow))
}

// handle handles a frame of n bytes. What it returns ends the connection.
func (m *conn) handle(f *frame, n int) code {
	switch {
	case n > frameSize:
		return frameSizeError
	case m.blockID != 0 && (f.typ != frameContinuation || f.stream != m.blockID):
		return protocolError
	case m.phase == awaitsSettings && (f.typ != frameSettings || f.has(flagAck)):
		return protocolError
	}
	switch f.typ {
	case frameData:
		return m.data(f)
	case frameHeaders:
		return m.headers(f)
	case framePriority:
		return (*control)(m).priority(f)
	case frameReset:
		return (*control)(m).reset(f)
	case frameSettings:
		return (*control)(m).settings(f)
	case framePushPromise:
		return protocolError
	case framePing:
		return (*control)(m).ping(f)
	case frameGoAway:
		if f.stream != 0 {
			return protocolError
		}
	case frameWindow:
		return (*control)(m).windowUpdate(f)
	case frameContinuation:
		return m.continuation(f)
	}
	return noError
}

// data handles a part of the body of a request.
func (m *conn) data(f *frame) code {
	n := int64(len(f.payload))
	switch {
	case f.stream == 0, f.stream > m.lastID:
		return protocolError
	case n > m.window.in:
		return flowControlError
	case n == 0 && !f.has(flagEndStream) && !m.mayBother():
		return enhanceYourCalm
	}
	m.window.in -= n
	if !f.unpad() {
		return protocolError
	}
	s := m.streams[f.stream]
	if s == nil || s.received {
		m.giveBack(n)
		if s != nil {
			return m.endStream(s, streamClosed)
		}
		return m.late(f.stream)
	}
	if n > s.window.in {
		return m.endStream(s, flowControlError)
	}
	s.window.in -= n
	s.owe(n - int64(len(f.payload)))
	return s.takeBody(f.payload, f.has(flagEndStream))
}

// late handles what comes for a stream that has ended.
func (m *conn) late(id uint32) code {
	for _, ours := range m.ours {
		if ours == id {
			return noError // it was on its way
		}
	}
	return m.resetStream(id, streamClosed)
}

// headers handles the beginning of a head.
func (m *conn) headers(f *frame) code {
	if f.stream == 0 || f.stream%2 == 0 || !f.unpad() {
		return protocolError
	}
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return frameSizeError
		}
		if binary.BigEndian.Uint32(f.payload)&maxStream == f.stream {
			return protocolError // a stream that depends on itself; the block is lost
		}
		f.payload = f.payload[5:]
	}
	if f.has(flagEndHeaders) {
		return m.head(f.stream, f.flags, f.payload)
	}
	m.blockID, m.blockFlags, m.block = f.stream, f.flags, append(m.block[:0], f.payload...)
	m.headAt = m.loop.Now() + int64(m.of.cfg.Engine.Config().HeaderTimeout)
	m.touch()
	return noError
}

// continuation handles another part of it.
func (m *conn) continuation(f *frame) code {
	switch {
	case m.blockID == 0:
		return protocolError
	case len(m.block)+len(f.payload) > m.maxBlock(), len(f.payload) == 0 && !m.mayBother():
		return enhanceYourCalm
	}
	m.block = append(m.block, f.payload...)
	if !f.has(flagEndHeaders) {
		return noError
	}
	id := m.blockID
	m.blockID, m.headAt = 0, 0
	why := m.head(id, m.blockFlags, m.block)
	m.block = nil
	return why
}

// head handles a whole head, which is of a request or of trailers.
func (m *conn) head(id uint32, flags byte, block []byte) code {
	r := newRequest(m.maxHead())
	defer r.free()
	m.request = r
	_, err := m.fields.Write(block)
	if err == nil {
		err = m.fields.Close()
	}
	m.request = nil
	ends := flags&flagEndStream != 0
	s := m.streams[id]
	switch {
	case err != nil:
		return compressionError
	case s != nil && s.received:
		return m.endStream(s, streamClosed)
	case s != nil && (!ends || r.bad || r.method != ""):
		return m.endStream(s, protocolError)
	case s != nil: // trailers, which nobody wants
		return s.takeBody(nil, true)
	case id <= m.lastID:
		for _, ours := range m.ours {
			if ours == id {
				return noError // trailers that were on their way
			}
		}
		return streamClosed
	}
	m.lastID = id
	switch {
	case id > m.mostID: // GOAWAY has said so
		return noError
	case len(m.streams) >= maxStreams, isUnread(m):
		return m.resetStream(id, refusedStream)
	}
	return m.serve(id, r, ends)
}

// serve begins a stream.
func (m *conn) serve(id uint32, r *request, ends bool) code {
	head, ok := r.head(ends)
	switch {
	case r.large:
		return m.answer(id, 431, ends)
	case !ok:
		return m.resetStream(id, protocolError)
	case m.refused:
		if m.goneAt == 0 {
			m.goneAt = m.loop.Now() + int64(goneAfter)
			m.put(appendGoAway(nil, maxStream, noError))
		}
		return m.answer(id, 503, ends)
	}
	s := m.stream()
	if s == nil {
		return m.resetStream(id, refusedStream)
	}
	s.begin(id, r, ends)
	m.streams[id] = s
	m.touch()
	s.stopped = !loop.Feed(s.c, head)
	return noError
}

// answer answers a request of which no loop hears.
func (m *conn) answer(id uint32, status int, ends bool) code {
	p := appendStatus(m.beginBlock(nil), status)
	p = appendField(p, []byte("content-length"), []byte("0"))
	if status == 503 {
		p = appendField(p, []byte("retry-after"), []byte("1"))
	}
	m.put(appendFrame(nil, frameHeaders, flagEndHeaders|flagEndStream, id, p))
	if ends {
		return noError
	}
	return m.resetStream(id, noError)
}

// stream returns one that is not in use; nil: there are too many connections.
func (m *conn) stream() *stream {
	if n := len(m.idle); n > 0 {
		s := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return s
	}
	s := &stream{of: m}
	if s.c = loop.Carry(m.c, s, s); s.c == nil {
		return nil
	}
	return s
}

// control is a connection as far as frames are concerned that carry nothing of requests.
type control conn

func (t *control) priority(f *frame) code {
	m := (*conn)(t)
	switch {
	case f.stream == 0:
		return protocolError
	case len(f.payload) != 5:
		return m.streamError(f.stream, frameSizeError)
	case binary.BigEndian.Uint32(f.payload)&maxStream == f.stream:
		return m.streamError(f.stream, protocolError)
	}
	return noError
}

// streamError ends a stream, if there is one.
func (m *conn) streamError(id uint32, why code) code {
	if s := m.streams[id]; s != nil {
		return m.endStream(s, why)
	}
	return m.resetStream(id, why)
}

// reset handles the end of a stream by its client.
func (t *control) reset(f *frame) code {
	m := (*conn)(t)
	switch {
	case f.stream == 0, f.stream > m.lastID:
		return protocolError
	case len(f.payload) != 4:
		return frameSizeError
	}
	s := m.streams[f.stream]
	if s == nil {
		return noError
	}
	m.cut(s)
	if !m.mayBother() {
		return enhanceYourCalm
	}
	return noError
}

func (t *control) settings(f *frame) code {
	m := (*conn)(t)
	switch {
	case f.stream != 0:
		return protocolError
	case f.has(flagAck) && len(f.payload) > 0, len(f.payload)%6 != 0:
		return frameSizeError
	case f.has(flagAck):
		return noError
	case !m.mayBother():
		return enhanceYourCalm
	}
	for p := f.payload; len(p) > 0; p = p[6:] {
		if why := t.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); why != noError {
			return why
		}
	}
	if m.phase == awaitsSettings {
		m.phase, m.headAt = open, 0
	}
	m.put(appendFrame(nil, frameSettings, flagAck, 0, nil))
	return noError
}

func (t *control) setting(id uint16, value uint32) code {
	m := (*conn)(t)
	switch id {
	case settingTableSize:
		m.shrinks = true
	case settingPush:
		if value > 1 {
			return protocolError
		}
	case settingFrameSize:
		if value < frameSize || value >= 1<<24 {
			return protocolError
		}
	case settingWindow:
		if value > maxWindow {
			return flowControlError
		}
		more := int64(value) - m.initial
		m.initial = int64(value)
		for _, s := range m.streams {
			if s.window.out += more; s.window.out > maxWindow {
				return flowControlError
			}
		}
		m.wake()
	}
	return noError
}

func (t *control) ping(f *frame) code {
	m := (*conn)(t)
	switch {
	case f.stream != 0:
		return protocolError
	case len(f.payload) != 8:
		return frameSizeError
	case f.has(flagAck):
		return noError
	case !m.mayBother():
		return enhanceYourCalm
	}
	m.put(appendFrame(nil, framePing, flagAck, 0, f.payload))
	return noError
}

// windowUpdate lets more be sent.
func (t *control) windowUpdate(f *frame) code {
	m := (*conn)(t)
	if len(f.payload) != 4 {
		return frameSizeError
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	if f.stream == 0 {
		if m.window.out += n; n == 0 {
			return protocolError
		} else if m.window.out > maxWindow {
			return flowControlError
		}
		m.wake()
		return noError
	}
	s := m.streams[f.stream]
	switch {
	case f.stream > m.lastID:
		return protocolError
	case s == nil:
		return noError
	case n == 0:
		return m.endStream(s, protocolError)
	}
	if s.window.out += n; s.window.out > maxWindow {
		return m.endStream(s, flowControlError)
	}
	m.wake()
	return noError
}
