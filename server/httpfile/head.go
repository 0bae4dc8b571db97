package httpfile

import "strconv"

// AppendHead appends the complete head of the planned response: status line,
// fields, empty line. date is the current HTTP-date (DateLen bytes). It may be
// called more than once for a plan.
func (p *Plan) AppendHead(dst, date []byte, conn Conn) []byte {
	dst = append(dst, statusTexts[known(p.Status)].line...)
	dst = append(dst, date...)
	dst = append(dst, "\r\n"...)
	if p.kind == headNote {
		dst = p.appendNoteFields(dst)
	} else {
		dst = p.appendFileFields(dst)
	}
	dst = append(append(dst, p.Extra...), p.Secure...)
	return appendEnd(dst, conn)
}

// appendFileFields appends the fields of an answer that is about a file.
func (p *Plan) appendFileFields(dst []byte) []byte {
	f := p.facts
	switch p.kind {
	case headNone:
		return append(dst, f.head[f.meta:f.body]...)
	case headWhole:
		if !p.attach {
			return append(dst, f.head[f.meta:]...)
		}
	case headPart:
		if !p.attach {
			dst = append(dst, f.head[f.meta:f.length]...)
			return p.appendPartFields(dst)
		}
	}
	// The rare ones: another Content-Type or Content-Disposition.
	dst = append(dst, f.head[f.meta:f.typed]...)
	dst = p.appendType(dst)
	if p.attach {
		names := f.names
		if p.saveAs != "" {
			names = p.saveAs
		}
		dst = appendDisposition(dst, "attachment", names)
	} else {
		dst = append(dst, f.head[f.disp:f.length]...)
	}
	if p.kind == headWhole {
		return append(dst, f.head[f.length:]...)
	}
	return p.appendPartFields(dst)
}

// appendType appends Content-Type: the file's, or that of several ranges.
func (p *Plan) appendType(dst []byte) []byte {
	if p.kind != headParts {
		return append(dst, p.facts.head[p.facts.typed:p.facts.disp]...)
	}
	dst = append(dst, "Content-Type: multipart/byteranges; boundary="...)
	dst = append(dst, p.boundary[:]...)
	return append(dst, "\r\n"...)
}

// appendPartFields appends what only a 206 has. With several ranges there is no
// Content-Range: each part has its own (RFC 9110 15.3.7.2).
func (p *Plan) appendPartFields(dst []byte) []byte {
	if p.kind == headPart {
		dst = appendContentRange(dst, p.part, p.whole)
	}
	return appendLength(dst, p.ContentLength)
}

// appendNoteFields appends the fields of an answer that is not about a file.
func (p *Plan) appendNoteFields(dst []byte) []byte {
	dst = append(dst, p.policy.server...)
	switch {
	case p.Status == StatusMethodNotAllowed:
		dst = append(dst, allowField...)
	case p.Status == StatusRangeNotSatisfiable && p.whole != sizeUnknown:
		dst = append(dst, "Content-Range: bytes */"...)
		dst = strconv.AppendInt(dst, p.whole, 10)
		dst = append(dst, "\r\n"...)
	}
	if p.RetryAfter > 0 {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, int64(p.RetryAfter), 10)
		dst = append(dst, "\r\n"...)
	}
	if p.Challenge != "" {
		dst = append(append(append(dst, "WWW-Authenticate: "...), p.Challenge...), "\r\n"...)
	}
	dst = append(dst, p.mem...) // Location
	if p.Status >= 400 {
		dst = append(dst, "Cache-Control: no-store\r\n"...)
	}
	if p.vary {
		dst = append(dst, varyField...)
	}
	if p.ContentLength < 0 {
		return dst
	}
	dst = append(dst, p.policy.sniff...)
	dst = append(dst, "Content-Type: "...)
	dst = append(dst, p.typ...)
	dst = append(dst, "\r\n"...)
	return appendLength(dst, p.ContentLength)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// appendEnd appends the Connection field where it says something, and the empty line.
func appendEnd(dst []byte, conn Conn) []byte {
	switch conn {
	case ConnClose:
		return append(dst, "Connection: close\r\n\r\n"...)
	case ConnKeepAlive:
		return append(dst, "Connection: keep-alive\r\n\r\n"...)
	}
	return append(dst, "\r\n"...)
}
