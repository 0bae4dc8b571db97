// Package wire reads HTTP/1.1 from the wire: request heads and chunked bodies,
// strictly by RFC 9112 and RFC 9110, without allocating. It stands in front of
// everything else. Whatever it accepts has one meaning only, so that no program before
// or behind it can read other requests in the same bytes.
//
// It is pure: bytes in, positions out. Refusals are a Reason, with the status to answer.
//
// Where the RFCs leave a choice:
//
//   - Lines end in CRLF; a lone LF or CR is refused. One empty line before the request
//     line is skipped (RFC 9112 section 2.2).
//   - A repeated Content-Length is refused even when the values are equal, as is a
//     list of values (RFC 9110 section 8.6 allows it).
//   - Transfer-Encoding must be one line with the one value "chunked". Other codings are 501;
//     chunked twice or before another coding is 400, as is any Transfer-Encoding on HTTP/1.0 or
//     together with Content-Length.
//   - Expect other than 100-continue is 417; on HTTP/1.0 Expect is ignored.
//   - Any HTTP/1.x with x > 0 is taken as 1.1; other versions are 505.
//   - In absolute-form the target's authority replaces Host (RFC 9112 section 3.2.2),
//     which must still be there and valid. Only http and https targets are
//     taken, without userinfo (RFC 9110 section 4.2.4).
//   - Targets may hold the bytes that browsers do not escape although RFC 3986 wants it;
//     an invalid percent-encoding is refused in the path and passes in the query.
//   - White space before a chunk extension is skipped (RFC 9112 section 7.1.1), after a
//     bare chunk size it is refused. Trailers are checked and dropped.
//   - An empty Host is valid, as its grammar says. The server decides which site it names.
package wire

// Limits bound a request head. Zero fields take the defaults.
type Limits struct {
	MaxHead   int // bytes of the whole head, its empty line included; default 16 KiB, at most 1 GiB
	MaxTarget int // bytes of the request-target; default 8 KiB, at most MaxHead
	MaxFields int // field lines; default 100
}

// WithDefaults returns l with its zero fields filled in and the others bounded.
func (l Limits) WithDefaults() Limits {
	if l.MaxHead <= 0 {
		l.MaxHead = 16 << 10
	}
	if l.MaxTarget <= 0 {
		l.MaxTarget = 8 << 10
	}
	if l.MaxFields <= 0 {
		l.MaxFields = 100
	}
	l.MaxHead = min(l.MaxHead, 1<<30)
	l.MaxTarget = min(l.MaxTarget, l.MaxHead)
	return l
}

// Form is the form of a request-target (RFC 9112 section 3.2).
type Form uint8

const (
	OriginForm    Form = iota // /path?query
	AbsoluteForm              // http://authority/path?query
	AuthorityForm             // host:port, with CONNECT only
	AsteriskForm              // *, with OPTIONS only
)

// span is a part of the input; both zero: not there.
type span struct{ start, end uint32 }

// Head is a parsed request head. Its views point into the bytes given to Parse
// and are valid as long as those are, and until the next Parse. After a refusal it
// holds what was read before the fault, for a log. When Parse needs more bytes it holds
// nothing of use.
//
// One Head serves one goroutine, request after request; it needs no
// initialisation and keeps only a scratch buffer (for repeated list fields).
type Head struct {
	// ContentLength is the body's length in bytes, -1 if none is given: then the
	// request has no body unless it is Chunked.
	ContentLength int64
	// Chunked: the body is in chunked coding; see the type of this name.
	Chunked bool
	// KeepAlive: by its version and its Connection fields, the request lets the
	// connection serve another one. On HTTP/1.0 the answer must then say
	// "Connection: keep-alive".
	KeepAlive bool
	// Expect100: the client asked for 100 Continue before it sends the body, if
	// there is any (see HasBody). Never set on HTTP/1.0.
	Expect100 bool
	// Minor is the minor version, 0 or 1.
	Minor uint8
	// Form is the form of the target.
	Form Form

	buf     []byte // the head, from the first byte to the last
	scratch []byte // lists joined from several lines
	parts
}

// parts are what Parse notes of a request; they are cleared by assignment.
type parts struct {
	coding    coding // what Transfer-Encoding said
	close     bool   // Connection: close
	keepAlive bool   // Connection: keep-alive
	strange   bool   // Expect: something other than 100-continue

	present  uint32 // bit per Field: there
	repeated uint32 // bit per Field: on more than one line
	joined   uint32 // bit per Field: the span is of scratch, not buf

	method    span
	target    span
	authority span // of an absolute or authority target
	path      span
	query     span
	lines     uint32 // where the field lines begin
	known     [numField]span
}

func (h *Head) reset(buf []byte) {
	h.ContentLength = -1
	h.Chunked, h.KeepAlive, h.Expect100 = false, false, false
	h.Minor, h.Form = 0, OriginForm
	h.buf = buf
	h.parts = parts{}
}

// Method returns the method, never empty. It is case-sensitive.
func (h *Head) Method() []byte { return h.view(h.method) }

// Target returns the request-target as it was sent, never empty.
func (h *Head) Target() []byte { return h.view(h.target) }

// Path returns the target's path as it was sent, still percent-encoded and not
// normalised. It begins with '/'; for an absolute target without a path it is
// "/", and in authority-form and asterisk-form it is nil.
func (h *Head) Path() []byte {
	if h.Form == AbsoluteForm && h.path.start == h.path.end {
		return root
	}
	return h.view(h.path)
}

var root = []byte("/")

// Query returns what follows the first '?' of the target; nil if there is no '?'.
func (h *Head) Query() []byte { return h.view(h.query) }

// Host returns the authority that the request is for: of the target if it has
// one, otherwise of the Host field. It is as sent: of any case, perhaps with a
// port, perhaps empty (and nil on HTTP/1.0 without Host).
func (h *Head) Host() []byte {
	if h.authority.end != 0 {
		return h.view(h.authority)
	}
	return h.Get(Host)
}

// Get returns the value of a field without surrounding white space: nil if the
// field is absent, empty and not nil if it is there without a value.
// Of a list field on several lines (see Repeated) it returns all values, joined by ", ". Of
// any other field on several lines it returns the first.
func (h *Head) Get(f Field) []byte {
	if h.joined>>f&1 != 0 {
		s := h.known[f]
		return h.scratch[s.start:s.end:s.end]
	}
	return h.view(h.known[f])
}

// Repeated reports whether the field came on more than one line. Host and ContentLength
// never do. Lists (Connection, If-Match, If-None-Match, Accept, Accept-Encoding,
// Forwarded, X-Forwarded-For, Expect) may. Of any other field programs may then disagree
// on the value.
func (h *Head) Repeated(f Field) bool { return h.repeated>>f&1 != 0 }

// Unconditional reports that the request has neither a range nor a precondition.
func (h *Head) Unconditional() bool {
	return h.present&(1<<Range|1<<IfRange|1<<IfMatch|1<<IfNoneMatch|
		1<<IfModifiedSince|1<<IfUnmodifiedSince) == 0
}

// HasBody reports whether bytes of a body follow the head.
func (h *Head) HasBody() bool { return h.Chunked || h.ContentLength > 0 }

// Raw returns the bytes of the head, its empty line included.
func (h *Head) Raw() []byte { return h.buf }

// Len returns the length of the head in bytes, as Parse did.
func (h *Head) Len() int { return len(h.buf) }

// Fields calls yield for each field line in order, until it returns false. Names are
// as sent, values without surrounding white space.
//
//	for name, value := range h.Fields { … }
func (h *Head) Fields(yield func(name, value []byte) bool) {
	for i := int(h.lines); i > 0 && i+2 < len(h.buf); {
		l, r := scanField(h.buf, i)
		if r != OK || !yield(h.buf[i:l.colon:l.colon], h.buf[l.start:l.end:l.end]) {
			return
		}
		i = l.next
	}
}

func (h *Head) view(s span) []byte {
	if s.end == 0 {
		return nil
	}
	return h.buf[s.start:s.end:s.end]
}
