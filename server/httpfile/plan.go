package httpfile

import (
	"fmt"
	"strings"
)

// SegmentKind tells where a segment's bytes are.
type SegmentKind uint8

const (
	// SegmentMemory: the bytes are Mem.
	SegmentMemory SegmentKind = iota
	// SegmentFile: the bytes are N bytes of the representation's file from Off.
	SegmentFile
)

// Segment is one piece of a response's content.
type Segment struct {
	Kind SegmentKind
	Mem  []byte // SegmentMemory; not to be changed
	Off  int64  // SegmentFile: bytes from the start of the file
	N    int64  // length in bytes, of either kind
}

// Entropy is what the boundary of a multipart answer is made of. It should be
// random and unpredictable, so that the author of a file cannot write a boundary into
// it. Only a request with Range uses it.
type Entropy [2]uint64

// Plan is how one request is answered. The zero value is ready; a Plan is
// reused by calling Decide, Fail, Decline, RedirectDir or Content again.
type Plan struct {
	Status int
	// ContentLength is the value of Content-Length in bytes, -1 if the answer
	// has none (204, 304). To a HEAD it is that of the GET, and there are no
	// segments.
	ContentLength int64
	// Parts is the number of ranges in a 206, else 0.
	Parts int
	// RetryAfter is sent if it is not 0, in seconds. Fail sets it to the
	// policy's value for 429 and 503; the caller may change it.
	RetryAfter int
	// Challenge is the value of WWW-Authenticate; empty: there is none.
	Challenge string
	// Extra holds complete field lines that are appended to the head as they
	// are, each with its CRLF. Calls that fill the plan clear it.
	Extra []byte
	// Secure is as Extra, and stands behind it: what is for encrypted connections.
	Secure []byte

	policy *Policy
	facts  *Facts // what Decide was given
	kind   headKind

	attach   bool   // Content-Disposition is forced
	saveAs   string // with names of its own; empty: those of the file
	vary     bool   // heads of kind headNote
	typ      string // heads of kind headNote: value of Content-Type
	whole    int64  // size of the representation (206, 416), or sizeUnknown
	part     span   // 206 with one part
	boundary [32]byte

	n     int
	fixed [fixedSegments]Segment
	over  []Segment // instead of fixed, reused
	mem   []byte    // part headers, Location, Allow of OPTIONS; reused

	ranged spanList // the ranges of a list; reused
}

const (
	noteType = "text/plain; charset=utf-8"
	pageType = "text/html; charset=utf-8"

	problemType = "application/problem+json"
)

// fixedSegments holds an answer of two parts: two part headers, two ranges, the end.
const fixedSegments = 5

const sizeUnknown = -1

type headKind uint8

const (
	headNote  headKind = iota // fields of the policy and of the plan
	headWhole                 // the facts' own head
	headPart                  // 206 with one range
	headParts                 // 206 multipart/byteranges
	headNone                  // 304
)

// Segments returns the content in the order of sending, nothing for an answer
// without content. It is valid until the plan is filled anew.
func (p *Plan) Segments() []Segment {
	if p.n <= fixedSegments {
		return p.fixed[:p.n]
	}
	return p.over[:p.n]
}

// Fail plans an answer with a status from 400 on and the name of the status as its
// text, or as a page for those who prefer HTML. It has no validators and must not be stored by caches. A code that this package
// does not know becomes 500.
func (p *Plan) Fail(status int, req *Request, pol *Policy) {
	if status < StatusBadRequest {
		status = StatusInternalServerError
	}
	p.note(status, req, pol)
	switch {
	case PrefersHTML(req.Accept):
		p.typ = pageType
		p.memory(req, statusTexts[p.Status].page)
	case prefersProblem(req.Accept):
		p.typ = problemType
		p.memory(req, statusTexts[p.Status].problem)
	}
	p.retryLater()
	p.vary = p.Status == StatusNotAcceptable // only negotiation gives 406
}

// IsProblem reports whether the body of a failure is a problem in JSON, which no page takes the place of.
func (p *Plan) IsProblem() bool { return p.typ == problemType }

// Violates says in the problem, if the body is one, which policy a request was refused by, and sets when it
// may be made again, in seconds.
func (p *Plan) Violates(req *Request, policy string, retryAfter int) {
	p.RetryAfter = retryAfter
	if !p.IsProblem() {
		return
	}
	kind := problemQuota
	if p.Status == StatusServiceUnavailable {
		kind = problemCapacity
	}
	p.memory(req, renderProblem(p.Status, kind, fmt.Sprintf(`,"violated-policies":[%q],"retry_after":%d`, policy, retryAfter)))
}

// retryLater says when to come again, with the codes that are about that.
func (p *Plan) retryLater() {
	if p.Status == StatusTooManyRequests || p.Status == StatusServiceUnavailable {
		p.RetryAfter = p.policy.retryAfter
	}
}

// note plans an answer whose content is the name of its status.
func (p *Plan) note(status int, req *Request, pol *Policy) {
	p.reset(pol)
	p.Status = known(status)
	p.typ = noteType
	p.memory(req, statusTexts[p.Status].note)
}

// UsePage replaces the short text of a planned failure (by Fail, Decide or
// Decline) with a file, the page of the configuration. Its type and bytes are
// used, but not its validators; the other fields stay as planned.
func (p *Plan) UsePage(req *Request, page *Facts) {
	p.typ, p.ContentLength, p.n = page.ContentType, page.Size, 0
	if req.Method != MethodHead && page.Size > 0 {
		p.file(0, page.Size)
	}
}

// Decline plans the answer to a method other than GET and HEAD, which needs no path
// and no file. OPTIONS (of "*" too) gets 204 with Allow, other known methods get 405
// with Allow, and unknown ones 501.
func (p *Plan) Decline(req *Request, pol *Policy) {
	switch req.Method {
	case MethodOptions:
		p.reset(pol)
		p.Status, p.ContentLength = StatusNoContent, -1
		p.mem = append(p.mem, allowField...)
	case MethodUnknown:
		p.Fail(StatusNotImplemented, req, pol)
	default:
		p.Fail(StatusMethodNotAllowed, req, pol)
	}
}

// RedirectDir plans the 301 from a directory without its slash to that with it,
// with the request's query.
func (p *Plan) RedirectDir(req *Request, pol *Policy) {
	p.note(StatusMovedPermanently, req, pol)
	p.mem = append(p.mem, "Location: "...)
	p.mem = AppendLocation(p.mem, req.Path, nil)
	if n := len(req.Path); n > 0 && req.Path[n-1] != '/' {
		p.mem = append(p.mem, '/')
	}
	p.mem = appendQuery(p.mem, req.Query)
	p.mem = append(p.mem, "\r\n"...)
}

// SaveAs makes a planned answer about a file an attachment that clients save under a name.
func (p *Plan) SaveAs(name string) {
	p.attach, p.saveAs = true, dispositionNames("/"+strings.ReplaceAll(name, "/", "_"))
}

// Redirect plans a redirect to a URL, percent-encoded as it is sent.
func (p *Plan) Redirect(status int, req *Request, pol *Policy, url []byte) {
	p.note(status, req, pol)
	p.mem = append(append(append(p.mem, "Location: "...), url...), "\r\n"...)
}

// Content plans a 200 with content that the caller has made (a listing, say).
// contentType is the value of the field. The caller adds what else it wants by
// Extra, Cache-Control for example; body is kept until the plan is filled anew.
func (p *Plan) Content(req *Request, pol *Policy, contentType string, body []byte) {
	p.Respond(StatusOK, req, pol, contentType, body)
}

// Respond is Content with another status. A 204 has no body.
func (p *Plan) Respond(status int, req *Request, pol *Policy, contentType string, body []byte) {
	p.reset(pol)
	p.Status = status
	if status == StatusNoContent {
		p.ContentLength = -1
		return
	}
	p.typ = contentType
	p.memory(req, body)
	p.retryLater()
}

// reset empties p and keeps its memory.
func (p *Plan) reset(pol *Policy) {
	p.Status, p.ContentLength, p.Parts = 0, 0, 0
	p.RetryAfter, p.Challenge, p.Extra, p.Secure = 0, "", nil, nil
	p.policy, p.facts, p.kind = pol, nil, headNote
	p.attach, p.saveAs, p.vary, p.typ, p.whole = false, "", false, "", sizeUnknown
	p.n = 0
	p.mem = p.mem[:0]
}

func (p *Plan) file(off, n int64) {
	p.n = 1
	p.fixed[0] = Segment{Kind: SegmentFile, Off: off, N: n}
}

func (p *Plan) memory(req *Request, body []byte) {
	p.ContentLength = int64(len(body))
	p.n = 0
	if req.Method != MethodHead && len(body) > 0 {
		p.n = 1
		p.fixed[0] = Segment{Kind: SegmentMemory, Mem: body, N: int64(len(body))}
	}
}
