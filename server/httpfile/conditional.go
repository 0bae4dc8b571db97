package httpfile

import "bytes"

// precondition evaluates the preconditions of a GET or HEAD in the order of RFC
// 9110 13.2.2 and returns 200 (go on), 304 or 412.
func precondition(req *Request, f *Facts, now int64) int {
	switch {
	case req.IfMatch != nil:
		// The comparison is strong: a weak tag matches nothing (13.1.1).
		if !matchAny(req.IfMatch, f.ETag) {
			return StatusPreconditionFailed
		}
	case req.IfUnmodifiedSince != nil && f.LastModified != "":
		since, ok := parseDate(req.IfUnmodifiedSince, now)
		if ok && f.modified > since {
			return StatusPreconditionFailed
		}
	}
	switch {
	case req.IfNoneMatch != nil:
		if matchNone(req.IfNoneMatch, f.ETag) {
			return StatusNotModified
		}
	case req.IfModifiedSince != nil && f.LastModified != "":
		if notModifiedSince(req.IfModifiedSince, f, now) {
			return StatusNotModified
		}
	}
	return StatusOK
}

func notModifiedSince(field []byte, f *Facts, now int64) bool {
	if string(field) == f.LastModified {
		return true
	}
	since, ok := parseDate(field, now)
	return ok && f.modified <= since
}

// rangeHolds evaluates If-Range: whether Range may be honoured. Without
// If-Range it may. The tag must match strongly, the date exactly and be a
// strong validator, which it is not in its own second (13.1.5, 8.8.2.2).
func rangeHolds(req *Request, f *Facts, now int64) bool {
	if req.IfRange == nil {
		return true
	}
	v := trimOWS(req.IfRange)
	if f.ETag != "" && string(v) == f.ETag {
		return true
	}
	if f.LastModified == "" || f.indistinct || f.modified >= floorSec(now) {
		return false
	}
	sec, ok := parseDate(v, now)
	return ok && sec == f.modified
}

// matchAny evaluates an If-Match value against the strong tag of what is there, which may
// have none. "*" matches what exists.
func matchAny(list []byte, tag string) bool {
	list = trimOWS(list)
	return string(list) == "*" || tag != "" && scanTags(list, tag, false)
}

// matchNone evaluates an If-None-Match value by weak comparison.
func matchNone(list []byte, tag string) bool {
	if string(list) == tag && tag != "" { // what nearly every client sends
		return true
	}
	list = trimOWS(list)
	return string(list) == "*" || tag != "" && scanTags(list, tag, true)
}

// scanTags reports whether the list (RFC 9110 8.8.3, 5.6.1) holds tag, where
// weak ones count only if weakToo. It ends at the first element that is no
// entity tag: what follows cannot be told apart with certainty.
func scanTags(list []byte, tag string, weakToo bool) bool {
	for {
		for len(list) > 0 && (isOWS(list[0]) || list[0] == ',') {
			list = list[1:]
		}
		weak := len(list) >= 2 && list[0] == 'W' && list[1] == '/'
		if weak {
			list = list[2:]
		}
		n := opaqueTagLen(list)
		if n == 0 {
			return false
		}
		rest := list[n:]
		for len(rest) > 0 && isOWS(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0] != ',' {
			return false
		}
		if string(list[:n]) == tag && (weakToo || !weak) {
			return true
		}
		list = rest
	}
}

// opaqueTagLen returns the length of the opaque-tag at the start of b, 0 if
// there is none.
func opaqueTagLen(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c <= ' ' || c == 0x7f: // not etagc
			return 0
		}
	}
	return 0
}

// NamesVersion reports whether the request is for one version of the file: a strong tag says which.
func (r *Request) NamesVersion() bool {
	v := trimOWS(r.IfRange)
	return len(v) > 0 && v[0] == '"' || bytes.IndexByte(r.IfMatch, '"') >= 0
}

// IsOf reports whether that is the version.
func (r *Request) IsOf(f *Facts) bool {
	if f.ETag == "" {
		return false
	}
	if r.IfMatch != nil && !scanTags(trimOWS(r.IfMatch), f.ETag, false) {
		return false
	}
	return r.IfRange == nil || string(trimOWS(r.IfRange)) == f.ETag
}
