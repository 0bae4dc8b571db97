package record

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/engine/shape"
)

const (
	// fixedParts bounds what a line has beyond the parts that a request brings, in
	// bytes: times, addresses, numbers, names.
	fixedParts = 1 << 10
	// maxEscape is the most bytes that an escape makes of one.
	maxEscape = len(`\u0009`)
)

// requestLine returns the first line of a request, or of what came in its place.
func requestLine(raw []byte) []byte {
	raw = bytes.TrimPrefix(raw, []byte("\r\n")) // RFC 9112 section 2.2
	if i := bytes.IndexAny(raw, "\r\n"); i >= 0 {
		raw = raw[:i]
	}
	return raw
}

// writeLine writes the line of a response that has ended at now (Unix ns).
func (b *buffer) writeLine(r *Record, o *engine.Outcome, now int64) {
	t := b.log.template
	most := maxEscape*len(r.raw) + fixedParts
	if t != nil {
		most = t.most(r)
	}
	p := b.room(most)
	switch {
	case p == nil:
	case t != nil:
		b.add(t.append(p, r, o, b, now))
	case b.log.format == LogJSON:
		b.add(r.appendJSON(append(p, b.time.at(now)...), o))
	default:
		p = append(r.appendUser(append(appendAddr(p, r.client, r.unix), " - "...)), b.time.at(now)...)
		b.add(r.appendCombined(p, o))
	}
}

// appendCombined appends what follows the time in a line in combined format.
func (r *Record) appendCombined(p []byte, o *engine.Outcome) []byte {
	p = appendEscaped(p, r.field(fieldLine))
	p = strconv.AppendInt(append(p, '"', ' '), int64(r.status), 10)
	p = strconv.AppendInt(append(p, ' '), r.sent(o), 10)
	p = appendQuoted(append(p, ' '), r.field(fieldReferer))
	p = appendQuoted(append(p, ' '), r.field(fieldUserAgent))
	return append(p, '\n')
}

// appendUser appends the name of the user, a dash if there is none.
func (r *Record) appendUser(p []byte) []byte {
	if user := r.field(fieldUser); len(user) > 0 {
		return appendEscaped(p, user)
	}
	return append(p, '-')
}

// sent returns how many bytes of the body were sent.
func (r *Record) sent(o *engine.Outcome) int64 { return max(0, o.Total()-int64(r.headLen)) }

// appendRequest appends what a JSON line says of the request, but for its fields.
func (r *Record) appendRequest(p []byte) []byte {
	from := len(p)
	p = appendAddr(p, r.client, r.unix)
	to := len(p)
	p = append(p, `","peer":"`...)
	switch {
	case r.peer.Addr() == r.client && r.client.Is4():
		p = append(append(p, p[from:to]...), ':')
		p = strconv.AppendUint(p, uint64(r.peer.Port()), 10)
	case r.peer.IsValid():
		p = r.peer.AppendTo(p)
	default:
		p = appendAddr(p, netip.Addr{}, r.unix)
	}
	p = appendString(append(p, `","method":`...), r.field(fieldMethod))
	p = appendString(append(p, `,"target":`...), r.field(fieldTarget))
	p = append(p, `,"protocol":"`...)
	if len(r.field(fieldMethod)) > 0 {
		p = append(p, versions[r.version]...)
	}
	p = strconv.AppendInt(append(p, `","status":`...), int64(r.status), 10)
	if r.port != 0 {
		p = strconv.AppendUint(append(p, `,"port":`...), uint64(r.port), 10)
	}
	return p
}

// jsonFields are the fields of a request in a JSON line, if the request has them.
var jsonFields = [...]struct {
	field field
	name  string
}{{fieldUser, `,"user":`}, {fieldTier, `,"tier":`}, {fieldRelease, `,"release":`}, {fieldVersion, `,"version":`}, {fieldHost, `,"host":`}, {fieldRange, `,"range":`}, {fieldReferer, `,"referer":`}, {fieldUserAgent, `,"user_agent":`}}

// jsonAtOnce is the end of the line of a response from memory that was sent in the
// turn in which it was asked for.
const jsonAtOnce = `,"ttfb_ms":0.000,"duration_ms":0.000,"sent_by":"memory","outcome":"complete"}` + "\n"

// appendJSON appends what follows the time in the line of a response that has
// ended.
func (r *Record) appendJSON(p []byte, o *engine.Outcome) []byte {
	p = append(r.appendRequest(p), `,"bytes":`...)
	p = strconv.AppendInt(p, r.sent(o), 10)
	for _, f := range jsonFields {
		if value := r.field(f.field); value != nil {
			p = appendString(append(p, f.name...), value)
		}
	}
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
