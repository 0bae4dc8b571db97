package record

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
	"github.com/fserve/fserve/server/wire"
)

// fixedParts bounds what a line has beyond the parts that a request brings, in
// bytes: times, addresses, numbers, names.
const fixedParts = 1 << 10

// beginCombined keeps the parts of a line in combined format that are of the request.
func (r *Record) beginCombined(q *Request) {
	r.request = appendEscaped(r.request[:0], requestLine(q.Head.Raw()))
	r.request = append(r.request, '"', ' ')
	r.request = strconv.AppendInt(r.request, int64(q.Status), 10)
	r.request = append(r.request, ' ')
	r.suffix = append(r.suffix[:0], ' ')
	r.suffix = appendQuoted(r.suffix, q.Head.Get(wire.Referer))
	r.suffix = append(r.suffix, ' ')
	r.suffix = appendQuoted(r.suffix, q.Head.Get(wire.UserAgent))
	r.suffix = append(r.suffix, '\n')
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

// beginJSON keeps the parts of a JSON line that are of the request.
func (r *Record) beginJSON(q *Request) {
	h, client := q.Head, q.Client
	p := appendAddr(r.request[:0], client, q.Unix)
	n := len(p)
	p = append(p, `","peer":"`...)
	switch peer := q.Peer; {
	case peer.Addr() == client && client.Is4():
		p = append(append(p, p[:n]...), ':')
		p = strconv.AppendUint(p, uint64(peer.Port()), 10)
	case peer.IsValid():
		p = peer.AppendTo(p)
	default:
		p = appendAddr(p, netip.Addr{}, q.Unix)
	}
	p = appendString(append(p, `","method":`...), h.Method())
	p = appendString(append(p, `,"target":`...), h.Target())
	p = append(p, `,"protocol":"`...)
	if len(h.Method()) > 0 {
		p = strconv.AppendUint(append(p, "HTTP/1."...), uint64(h.Minor), 10)
	}
	p = strconv.AppendInt(append(p, `","status":`...), int64(q.Status), 10)
	r.request = append(p, `,"bytes":`...)
	r.suffix = r.suffix[:0]
	r.addField(`,"range":`, h.Get(wire.Range))
	r.addField(`,"referer":`, h.Get(wire.Referer))
	r.addField(`,"user_agent":`, h.Get(wire.UserAgent))
}

func (r *Record) addField(name string, value []byte) {
	if value != nil {
		r.suffix = appendString(append(r.suffix, name...), value)
	}
}

// writeLine writes the line of a response that has ended at now (Unix ns).
func (b *buffer) writeLine(r *Record, o *engine.Outcome, now int64) {
	p := b.room(len(r.request) + len(r.suffix) + fixedParts)
	if p == nil {
		return
	}
	if b.log.format == LogJSON {
		p = append(p, b.time.at(now)...)
		b.add(r.appendJSON(p, o))
		return
	}
	p = appendAddr(p, r.client, r.unix)
	p = append(p, b.time.at(now)...)
	p = append(p, r.request...)
	p = strconv.AppendInt(p, max(0, o.Total()-int64(r.headLen)), 10)
	b.add(append(p, r.suffix...))
}

// jsonAtOnce is the end of the line of a response from memory that was sent in the
// turn in which it was asked for.
const jsonAtOnce = `,"ttfb_ms":0.000,"duration_ms":0.000,"sent_by":"memory","outcome":"complete"}` + "\n"

// appendJSON appends what follows the time in the line of a response that has
// ended.
func (r *Record) appendJSON(p []byte, o *engine.Outcome) []byte {
	p = append(p, r.request...)
	p = strconv.AppendInt(p, max(0, o.Total()-int64(r.headLen)), 10)
	p = append(p, r.suffix...)
	before := o.Start - r.Began
	if before+o.First+o.Duration == 0 && o.End == engine.Complete && o.Bytes[engine.ViaMemory] == o.Total() {
		return append(p, jsonAtOnce...) // no level has held it
	}
	p = appendMS(append(p, `,"ttfb_ms":`...), before+o.First)
	p = appendMS(append(p, `,"duration_ms":`...), before+o.Duration)
	p = appendHeld(p, o)
	p = append(p, `,"sent_by":"`...)
	p = append(p, sentBy(o, r.encrypted).String()...)
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
