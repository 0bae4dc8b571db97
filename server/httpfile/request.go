package httpfile

// Method is a request method, as far as a file server tells methods apart.
type Method uint8

const (
	// MethodUnknown is a token that this server does not recognise: 501.
	MethodUnknown Method = iota
	MethodGet
	MethodHead
	MethodOptions
	// MethodRefused stands for the methods that are known and not allowed on
	// a file: 405.
	MethodRefused
)

// ParseMethod returns the method that the token b names. Methods are
// case-sensitive (RFC 9110 9.1).
func ParseMethod(b []byte) Method {
	switch string(b) {
	case "GET":
		return MethodGet
	case "HEAD":
		return MethodHead
	case "OPTIONS":
		return MethodOptions
	case "CONNECT", "DELETE", "PATCH", "POST", "PUT", "QUERY", "TRACE",
		// WebDAV and its extensions (RFC 4918, 3253, 3648, 3744, 4437, 4791, 5323, 5842)
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "ACL", "SEARCH", "REPORT",
		"MKCALENDAR", "ORDERPATCH", "BIND", "UNBIND", "REBIND", "LINK", "UNLINK", "MKREDIRECTREF", "UPDATEREDIRECTREF",
		"BASELINE-CONTROL", "CHECKIN", "CHECKOUT", "LABEL", "MERGE", "MKACTIVITY", "MKWORKSPACE", "UNCHECKOUT", "UPDATE", "VERSION-CONTROL":
		return MethodRefused
	}
	return MethodUnknown
}

// Request holds the parts of a request that decide how a file is answered.
// The slices are views of the caller's buffer. An absent field is nil; a field
// with an empty value is empty but not nil.
type Request struct {
	Method Method
	// HTTP10 is set for HTTP/1.0, where keeping the connection must be said.
	HTTP10 bool
	// Path is what NormalizePath returned. Query is without its '?'.
	Path, Query []byte

	// List fields. Repeated lines are one list, joined by commas (RFC 9110 5.3).
	IfMatch, IfNoneMatch, AcceptEncoding, Accept []byte
	// Fields with a single value. For one with repeated lines see Single.
	IfModifiedSince, IfUnmodifiedSince, IfRange, Range []byte

	joined []byte // memory of joined lines, reused
}

// Reset makes r an empty request and keeps its memory.
func (r *Request) Reset() { *r = Request{joined: r.joined[:0]} }

// Single returns the value of a field with a single value. If the field came on more
// than one line it returns a value that is valid for no field. By RFC 9110 an invalid
// Range is ignored (14.2), and so are invalid If-Modified-Since and
// If-Unmodified-Since (13.1.3, 13.1.4). An invalid If-Range does not hold, so the whole
// file is sent (13.1.5).
func Single(value []byte, repeated bool) []byte {
	if repeated {
		return notValid
	}
	return value
}

var (
	notValid   = []byte("repeated")
	emptyValue = []byte{}
)

// AddField adds one field line if its name (in any case) matters for files, and reports
// whether it does. The value is kept as a view, unless lines of a list have to be
// joined. It is for callers that meet the lines one by one; others set the fields.
func (r *Request) AddField(name, value []byte) bool {
	field, list := r.field(name)
	if field == nil {
		return false
	}
	if value == nil {
		value = emptyValue
	}
	switch {
	case *field == nil:
		*field = value
	case list:
		*field = r.join(*field, value)
	default:
		*field = notValid
	}
	return true
}

// field returns where the field of that name is kept, nil if it is none of
// ours, and whether its value is a list.
func (r *Request) field(name []byte) (field *[]byte, list bool) {
	switch len(name) {
	case len("accept"):
		if equalFold(name, "accept") {
			return &r.Accept, true
		}
	case len("range"):
		if equalFold(name, "range") {
			return &r.Range, false
		}
	case len("if-match"):
		if equalFold(name, "if-match") {
			return &r.IfMatch, true
		}
		if equalFold(name, "if-range") {
			return &r.IfRange, false
		}
	case len("if-none-match"):
		if equalFold(name, "if-none-match") {
			return &r.IfNoneMatch, true
		}
	case len("accept-encoding"):
		if equalFold(name, "accept-encoding") {
			return &r.AcceptEncoding, true
		}
	case len("if-modified-since"):
		if equalFold(name, "if-modified-since") {
			return &r.IfModifiedSince, false
		}
	case len("if-unmodified-since"):
		if equalFold(name, "if-unmodified-since") {
			return &r.IfUnmodifiedSince, false
		}
	}
	return nil, false
}

// join returns "a, b" in r's own memory. Growing leaves earlier joined values
// in the old memory, where they stay valid.
func (r *Request) join(a, b []byte) []byte {
	start := len(r.joined)
	r.joined = append(r.joined, a...)
	r.joined = append(r.joined, ", "...)
	r.joined = append(r.joined, b...)
	return r.joined[start:len(r.joined):len(r.joined)]
}

// Plain reports whether the answer is 200 with the whole representation and
// with the head that Facts.AppendOK renders: a GET without preconditions,
// ranges or a query (which may ask for a download). Accept-Encoding has no part
// in it: the representation is chosen before.
func (r *Request) Plain() bool {
	return r.Method == MethodGet && r.Range == nil && r.IfNoneMatch == nil &&
		r.IfModifiedSince == nil && r.IfMatch == nil &&
		r.IfUnmodifiedSince == nil && len(r.Query) == 0
}

// Conn is what a response says about its connection.
type Conn uint8

const (
	// ConnImplied says nothing: HTTP/1.1 and the connection stays.
	ConnImplied Conn = iota
	// ConnClose says "close".
	ConnClose
	// ConnKeepAlive says "keep-alive", which HTTP/1.0 needs to hear.
	ConnKeepAlive
)

// Conn returns what the response to r must say when the connection is to be
// kept or not.
func (r *Request) Conn(keep bool) Conn {
	switch {
	case !keep:
		return ConnClose
	case r.HTTP10:
		return ConnKeepAlive
	}
	return ConnImplied
}

// equalFold reports whether b is lower, which is in lower case, in any case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range lower {
		if toLower(b[i]) != lower[i] {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func isOWS(c byte) bool { return c == ' ' || c == '\t' }

// trimOWS returns b without the spaces and tabs around it.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && isOWS(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isOWS(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}
