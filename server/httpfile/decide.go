package httpfile

import "bytes"

// Decide plans the answer to a request for the file that f describes. now is
// the instant in Unix ns.
func (p *Plan) Decide(req *Request, f *Facts, now int64, entropy Entropy) {
	p.reset(f.policy)
	p.facts = f
	if req.Method != MethodGet && req.Method != MethodHead {
		p.Decline(req, f.policy)
		p.vary = f.Negotiable
		return
	}
	p.attach = len(req.Query) > 0 && f.policy.Download(req.Query)
	switch precondition(req, f, now) {
	case StatusNotModified:
		p.Status, p.kind, p.ContentLength = StatusNotModified, headNone, -1
		return
	case StatusPreconditionFailed:
		p.Fail(StatusPreconditionFailed, req, f.policy)
		p.vary = f.Negotiable
		return
	}
	// Range is defined for GET only (RFC 9110 14.2). No range of an empty file
	// exists, and the whole file is all that one could give.
	if req.Range != nil && req.Method == MethodGet && f.Size > 0 && !f.made && p.ranges(req, now, entropy) {
		return
	}
	p.Status, p.kind, p.ContentLength = StatusOK, headWhole, f.Size
	if req.Method == MethodGet && f.Size > 0 {
		p.file(0, f.Size)
	}
}

// ranges plans a 206 or a 416. It returns false if the whole file is to be sent.
func (p *Plan) ranges(req *Request, now int64, entropy Entropy) bool {
	f := p.facts
	set, ok := rangeSet(req.Range)
	if !ok || !rangeHolds(req, f, now) {
		return false
	}
	if bytes.IndexByte(set, ',') < 0 {
		s, valid, have := parseSpan(set, f.Size)
		if !valid || !have {
			p.notSatisfiable(req)
			return true
		}
		p.onePart(s)
		return true
	}
	return p.rangeList(req, set, entropy)
}

// rangeList is ranges for more than one.
func (p *Plan) rangeList(req *Request, set []byte, entropy Entropy) bool {
	f := p.facts
	l := &p.ranged
	l.start(f.policy)
	switch l.parseRanges(set, f.Size) {
	case rangeInvalid:
		p.notSatisfiable(req)
		return true
	case rangeIgnored:
		return false
	}
	if len(l.spans) == 1 {
		p.onePart(l.spans[0])
		return true
	}
	if f.Coding != Identity {
		// The ranges would be of the encoded bytes, but the multipart framing is
		// not encoded: clients disagree on where Content-Encoding then belongs.
		return false
	}
	p.multipart(l.spans, entropy)
	return true
}

func (p *Plan) onePart(s span) {
	p.Status, p.kind, p.Parts = StatusPartialContent, headPart, 1
	p.part, p.whole = s, p.facts.Size
	p.ContentLength = s.end - s.off
	p.file(s.off, s.end-s.off)
}

func (p *Plan) notSatisfiable(req *Request) {
	f := p.facts
	p.Fail(StatusRangeNotSatisfiable, req, f.policy)
	p.vary, p.whole = f.Negotiable, f.Size
}
