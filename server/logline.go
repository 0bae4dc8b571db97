package server

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

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

// startJSON keeps the parts of the line that are of the request.
func (x *exchange) startJSON(h *wire.Head, status int) {
	p := append(x.request[:0], `,"method":`...)
	p = appendString(p, h.Method())
	p = append(p, `,"target":`...)
	p = appendString(p, h.Target())
	p = append(p, `,"protocol":"`...)
	if len(h.Method()) > 0 {
		p = strconv.AppendUint(append(p, "HTTP/1."...), uint64(h.Minor), 10)
	}
	p = append(p, `","status":`...)
	x.request = strconv.AppendInt(p, int64(status), 10)
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

// appendJSON appends the line of a response that has ended at now (Unix ns).
func (x *exchange) appendJSON(p []byte, o *engine.Outcome, now int64) []byte {
	unix := x.s.onUnix(x.conn)
	p = append(p, `{"time":"`...)
	p = time.Unix(0, now).AppendFormat(p, "2006-01-02T15:04:05.000Z07:00")
	p = append(p, `","client":"`...)
	p = appendAddr(p, x.client, unix)
	p = append(p, `","peer":"`...)
	if peer := x.conn.RemoteAddr(); peer.IsValid() {
		p = peer.AppendTo(p)
	} else {
		p = appendAddr(p, netip.Addr{}, unix)
	}
	p = append(append(p, '"'), x.request...)
	p = append(p, `,"bytes":`...)
	p = strconv.AppendInt(p, max(0, o.Total()-int64(x.headLen)), 10)
	p = append(p, x.suffix...)
	before := o.Start - x.began
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

// appendAddr appends an address, or in its place what nginx writes for Unix
// sockets, or a dash.
func appendAddr(p []byte, a netip.Addr, unix bool) []byte {
	switch {
	case a.IsValid():
		return a.AppendTo(p)
	case unix:
		return append(p, "unix:"...)
	}
	return append(p, '-')
}

// appendMS appends ns as milliseconds.
func appendMS(p []byte, ns int64) []byte {
	return strconv.AppendFloat(p, float64(ns)/1e6, 'f', 3, 64)
}

// appendString appends v as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(p, v []byte) []byte {
	const hex = "0123456789abcdef"
	p = append(p, '"')
	for len(v) > 0 {
		b := v[0]
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(v)
			p, v = utf8.AppendRune(p, r), v[n:]
			continue
		}
		switch {
		case b == '"' || b == '\\':
			p = append(p, '\\', b)
		case b < ' ' || b == 0x7f:
			p = append(p, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			p = append(p, b)
		}
		v = v[1:]
	}
	return append(p, '"')
}
