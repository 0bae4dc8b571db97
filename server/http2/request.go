package http2

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"

	"github.com/fserve/fserve/server/wire"
)

// request is the head of one, as its fields come.
type request struct {
	most int // bytes that are kept of it

	method, scheme, path, authority string

	fields, cookies []byte // as HTTP/1.1 has them
	length          int64  // content-length; -1: there is none
	regular         bool   // a field that is no pseudo-field has come
	bad, large      bool
	text            []byte
}

var requests = sync.Pool{New: func() any { return new(request) }}

// maxKeptText bounds the memory that a request keeps for later ones, in bytes.
const maxKeptText = 64 << 10

func newRequest(most int) *request {
	r := requests.Get().(*request)
	*r = request{most: most, length: -1, fields: r.fields[:0], cookies: r.cookies[:0], text: r.text[:0]}
	return r
}

func (r *request) free() {
	if cap(r.fields)+cap(r.cookies)+cap(r.text) <= maxKeptText {
		requests.Put(r)
	}
}

// field takes a field.
func (r *request) field(f hpack.HeaderField) {
	switch {
	case len(r.fields)+len(r.cookies)+len(f.Name)+len(f.Value) > r.most:
		r.large = true
	case strings.HasPrefix(f.Name, ":"):
		r.pseudo(f)
	default:
		r.regular = true
		r.ordinary(f)
	}
}

// pseudo takes a pseudo-field (RFC 9113 section 8.3.1).
func (r *request) pseudo(f hpack.HeaderField) {
	var to *string
	switch f.Name {
	case ":method":
		to = &r.method
	case ":scheme":
		to = &r.scheme
	case ":path":
		to = &r.path
	case ":authority":
		to = &r.authority
	}
	if to == nil || *to != "" || f.Value == "" || r.regular || !isWord(f.Value) {
		r.bad = true
		return
	}
	*to = f.Value
}

// ordinary takes a field (RFC 9113 section 8.2).
func (r *request) ordinary(f hpack.HeaderField) {
	if !isName(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") {
		r.bad = true
		return
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		r.bad = true
	case "te":
		r.bad = r.bad || f.Value != "trailers"
	case "host":
		if r.authority == "" {
			r.authority = f.Value
			r.bad = r.bad || !isWord(f.Value)
		}
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 63)
		r.bad = r.bad || err != nil || r.length >= 0 && r.length != int64(n)
		r.length = int64(n)
	case "cookie":
		if len(r.cookies) > 0 {
			r.cookies = append(r.cookies, "; "...)
		}
		r.cookies = append(r.cookies, f.Value...)
	default:
		r.fields = append(append(append(append(r.fields, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
}

// head returns the head as HTTP/1.1 has it; ends says that no body follows. false: there is none.
func (r *request) head(ends bool) ([]byte, bool) {
	switch {
	case r.bad, r.method == "", ends && r.length > 0:
		return nil, false
	case r.method == "CONNECT":
		if r.scheme != "" || r.path != "" || r.authority == "" {
			return nil, false
		}
		r.path = r.authority
	case r.scheme == "", r.path == "", r.path[0] != '/' && (r.path != "*" || r.method != "OPTIONS"):
		return nil, false
	}
	p := append(append(append(append(r.text, r.method...), ' '), r.path...), " HTTP/1.1\r\n"...)
	if r.authority != "" {
		p = append(append(append(p, "Host: "...), r.authority...), "\r\n"...)
	}
	p = append(p, r.fields...)
	if len(r.cookies) > 0 {
		p = append(append(append(p, "Cookie: "...), r.cookies...), "\r\n"...)
	}
	switch {
	case ends:
	case r.length >= 0:
		p = append(strconv.AppendInt(append(p, "Content-Length: "...), r.length, 10), "\r\n"...)
	default:
		p = append(p, "Transfer-Encoding: chunked\r\n"...)
	}
	r.text = append(p, "\r\n"...)
	return r.text, true
}

// isWord reports whether s has neither spaces nor control characters: what it means is found out by
// the loop, but it is one part of a line.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isName reports whether s is a name of a field, in lower case.
func isName(s string) bool {
	for i := range len(s) {
		if b := s[i]; b >= 'A' && b <= 'Z' || !wire.IsToken(b) {
			return false
		}
	}
	return s != ""
}
