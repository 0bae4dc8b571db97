package wire

import "bytes"

// scanTarget returns the index of the SP after the target that begins at i, and
// of the first '?' in it, or 0.
func scanTarget(src []byte, i, maxTarget int) (end, query int, r Reason) {
	start := i
	// The first byte too many decides. If bytes beyond it were looked at, the reason
	// would depend on how many have arrived.
	stop := min(len(src), start+maxTarget+1)
scan:
	for ; i < stop; i++ {
		switch c := src[i]; {
		case charClass[c]&isPlain != 0:
		case c == '?':
			if query == 0 {
				query = i
			}
		case c == '%':
			if query != 0 {
				continue // browsers send "?rate=50%" as it is
			}
			if r := pctEncoded(src, i, stop); r != OK {
				return 0, 0, r
			}
		default:
			break scan
		}
	}
	if i-start > maxTarget {
		return 0, 0, TargetTooLong
	}
	if i == len(src) {
		return 0, 0, more
	}
	if src[i] == ' ' && i > start {
		return i, query, OK
	}
	if src[i] == '\r' && i > start {
		return 0, 0, lineFault(src, i, BadVersion) // HTTP/0.9
	}
	return 0, 0, lineFault(src, i, BadTarget)
}

// pctEncoded checks "%" HEXDIG HEXDIG at i, as far as it is before stop.
func pctEncoded(src []byte, i, stop int) Reason {
	for j := i + 1; j < min(i+3, stop); j++ {
		if charClass[src[j]]&isHex == 0 {
			return lineFault(src, j, BadTarget)
		}
	}
	return OK
}

// targetForm checks the target against its method and splits it. query is the index of '?', or 0.
func (h *Head) targetForm(src []byte, query int) Reason {
	i, end := int(h.target.start), int(h.target.end)
	switch method := h.Method(); {
	case string(method) == "CONNECT":
		h.Form = AuthorityForm
		h.authority = h.target
		ok, port := validAuthority(src[i:end])
		if !ok || !port {
			return BadTarget
		}
		return OK
	case src[i] == '/':
		h.split(i, end, query)
		return OK
	case src[i] == '*':
		h.Form = AsteriskForm
		if end-i > 1 || string(method) != "OPTIONS" {
			return BadTarget
		}
		return OK
	}
	h.Form = AbsoluteForm
	return h.absolute(src, i, end, query)
}

// absolute splits a target in absolute-form.
func (h *Head) absolute(src []byte, i, end, query int) Reason {
	scheme := bytes.IndexByte(src[i:end], ':')
	if scheme < 0 || !equalFold(src[i:i+scheme], "http") && !equalFold(src[i:i+scheme], "https") {
		return BadTarget
	}
	i += scheme + 1
	if end-i < 3 || src[i] != '/' || src[i+1] != '/' {
		return BadTarget
	}
	i += 2
	path := i
	for path < end && src[path] != '/' && src[path] != '?' {
		path++
	}
	if ok, _ := validAuthority(src[i:path]); !ok || path == i {
		return BadTarget
	}
	h.authority = makeSpan(i, path)
	h.split(path, end, query)
	return OK
}

func (h *Head) split(i, end, query int) {
	if query != 0 {
		h.query = makeSpan(query+1, end)
		end = query
	}
	h.path = makeSpan(i, end)
}
