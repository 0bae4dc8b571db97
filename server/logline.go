package server

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/wire"
)

// LogFormat is how an AccessLog writes its lines.
type LogFormat uint8

const (
	// LogCombined is the combined log format; %h is the client (see Trust).
	LogCombined LogFormat = iota
	// LogJSON is an object with these fields:
	//
	//	time         when the response ended, RFC 3339 with ms
	//	client       address; "unix:" for an unnamed one on a Unix socket
	//	peer         address and port of the connection, or of its PROXY header
	//	method, target, protocol, status
	//	bytes        of the body, as many as were sent
	//	range, referer, user_agent    of the request, if it has them
	//	ttfb_ms      from the request's head to the first byte of the response
	//	duration_ms  from the request's head to the last byte
	//	sent_by      memory, or how file bytes went: sendfile, splice, copy
	//	held_ms      waited for its turn, by the level of limits that held it:
	//	             global, path, client, connection; only if it waited
	//	outcome      complete, or what ended the response: see engine.End
	LogJSON
)

// fixedParts bounds what a line has beyond the parts that a request brings, in
// bytes: times, addresses, numbers, names.
const fixedParts = 1 << 10

// startLog keeps what the line needs of the request, whose bytes go away.
func (s *session) startLog(c *engine.Conn, status, headLen int) {
	x := s.takeForLog(c)
	x.logged, x.headLen = true, headLen
	if s.log.log.format == LogJSON {
		s.startJSON(c, x, status)
		return
	}
	h := &s.head
	x.client = s.client(c)
	x.request = appendEscaped(x.request[:0], requestLine(h.Raw()))
	x.request = append(x.request, '"', ' ')
	x.request = strconv.AppendInt(x.request, int64(status), 10)
	x.request = append(x.request, ' ')
	x.suffix = append(x.suffix[:0], ' ')
	x.suffix = appendQuoted(x.suffix, h.Get(wire.Referer))
	x.suffix = append(x.suffix, ' ')
	x.suffix = appendQuoted(x.suffix, h.Get(wire.UserAgent))
	x.suffix = append(x.suffix, '\n')
}

// maxRequestLine bounds the part of a request that is logged, in bytes; what was
// refused may have no end of line.
const maxRequestLine = 9 << 10

// requestLine returns the first line of a request, or of what came in its place.
func requestLine(raw []byte) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\r\n")) // RFC 9112 section 2.2
	if i := bytes.IndexAny(raw, "\r\n"); i >= 0 {
		raw = raw[:i]
	}
	return raw[:min(len(raw), maxRequestLine)]
}

// startJSON keeps the parts of the line that are of the request.
func (s *session) startJSON(c *engine.Conn, x *exchange, status int) {
	h, unix, client := &s.head, s.onUnix(c), s.client(c)
	p := appendAddr(x.request[:0], client, unix)
	n := len(p)
	p = append(p, `","peer":"`...)
	switch peer := c.RemoteAddr(); {
	case peer.Addr() == client && client.Is4():
		p = append(append(p, p[:n]...), ':')
		p = strconv.AppendUint(p, uint64(peer.Port()), 10)
	case peer.IsValid():
		p = peer.AppendTo(p)
	default:
		p = appendAddr(p, netip.Addr{}, unix)
	}
	p = appendString(append(p, `","method":`...), h.Method())
	p = appendString(append(p, `,"target":`...), h.Target())
	p = append(p, `,"protocol":"`...)
	if len(h.Method()) > 0 {
		p = strconv.AppendUint(append(p, "HTTP/1."...), uint64(h.Minor), 10)
	}
	p = strconv.AppendInt(append(p, `","status":`...), int64(status), 10)
	x.request = append(p, `,"bytes":`...)
	x.suffix = x.suffix[:0]
	x.addField(`,"range":`, h.Get(wire.Range))
	x.addField(`,"referer":`, h.Get(wire.Referer))
	x.addField(`,"user_agent":`, h.Get(wire.UserAgent))
}

func (x *exchange) addField(name string, value []byte) {
	if value != nil {
		x.suffix = appendString(append(x.suffix, name...), value)
	}
}

// finish writes the line of a response that has ended at now (Unix ns).
func (b *logBuffer) finish(x *exchange, o *engine.Outcome, now int64) {
	p := b.room(len(x.request) + len(x.suffix) + fixedParts)
	if p == nil {
		return
	}
	if b.log.format == LogJSON {
		p = append(p, b.time.at(now)...)
		b.add(x.appendJSON(p, o))
		return
	}
	p = appendAddr(p, x.client, x.s.onUnix(x.conn))
	p = append(p, b.time.at(now)...)
	p = append(p, x.request...)
	p = strconv.AppendInt(p, max(0, o.Total()-int64(x.headLen)), 10)
	b.add(append(p, x.suffix...))
}

// jsonAtOnce is the end of the line of a response from memory that was sent in the
// turn in which it was asked for.
const jsonAtOnce = `,"ttfb_ms":0.000,"duration_ms":0.000,"sent_by":"memory","outcome":"complete"}` + "\n"

// appendJSON appends what follows the time in the line of a response that has
// ended.
func (x *exchange) appendJSON(p []byte, o *engine.Outcome) []byte {
	p = append(p, x.request...)
	p = strconv.AppendInt(p, max(0, o.Total()-int64(x.headLen)), 10)
	p = append(p, x.suffix...)
	before := o.Start - x.began
	if before+o.First+o.Duration == 0 && o.End == engine.Complete && o.Bytes[engine.ViaMemory] == o.Total() {
		return append(p, jsonAtOnce...) // no level has held it
	}
	p = appendMS(append(p, `,"ttfb_ms":`...), before+o.First)
	p = appendMS(append(p, `,"duration_ms":`...), before+o.Duration)
	p = appendHeld(p, o)
	p = append(p, `,"sent_by":"`...)
	p = append(p, sentBy(o, x.conn.Adopted() != nil).String()...)
	p = append(p, `","outcome":"`...)
	p = append(p, o.End.String()...)
	return append(p, "\"}\n"...)
}

// appendHeld appends for how long each level of limits held the response.
func appendHeld(p []byte, o *engine.Outcome) []byte {
	open := false
	for level, ns := range o.Held {
		if ns == 0 || shape.Level(level) == shape.LevelNone {
			continue
		}
		if !open {
			p = append(p, `,"held_ms":{`...)
			open = true
		} else {
			p = append(p, ',')
		}
		p = append(append(append(p, '"'), shape.Level(level).String()...), `":`...)
		p = appendMS(p, ns)
	}
	if open {
		p = append(p, '}')
	}
	return p
}

// sentBy returns how file bytes went, memory if there were none. What TLS has
// encrypted was copied, whatever the engine did.
func sentBy(o *engine.Outcome, encrypted bool) engine.Via {
	via := o.FileVia()
	if encrypted && via != engine.ViaMemory {
		return engine.ViaCopy
	}
	return via
}
