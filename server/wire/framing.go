package wire

import "math"

// coding is what the Transfer-Encoding lines add up to.
type coding uint8

const (
	codingNone    coding = iota
	codingChunked        // exactly "chunked"
	codingUnknown        // begins with another coding
	codingBroken         // chunked, then something after it
)

// record notes a known field and acts on those that frame the message.
func (h *Head) record(f Field, start, end int) Reason {
	bit := uint32(1) << f
	if h.present&bit != 0 {
		h.repeated |= bit
	} else {
		h.present |= bit
		h.known[f] = makeSpan(start, end)
	}
	if f > Expect {
		return OK
	}
	value := h.buf[start:end]
	again := h.repeated&bit != 0
	switch f {
	case Host:
		return hostLine(value, again)
	case ContentLength:
		return h.contentLengthLine(value, again)
	case TransferEncoding:
		h.transferEncodingLine(value)
	case Connection:
		h.connectionLine(value)
	case Expect:
		h.expectLine(value)
	}
	return OK
}

func hostLine(value []byte, again bool) Reason {
	if again {
		return RepeatedHost
	}
	if ok, _ := validAuthority(value); !ok {
		return BadHost
	}
	return OK
}

func (h *Head) contentLengthLine(value []byte, again bool) Reason {
	if again {
		return RepeatedLength
	}
	if len(value) == 0 {
		return BadContentLength
	}
	var n int64
	for _, c := range value {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return BadContentLength
		}
		n = n*10 + d
	}
	h.ContentLength = n
	return OK
}

// transferEncodingLine adds a line's codings to those of earlier lines. A coding
// of no name (an empty member) counts as unknown.
func (h *Head) transferEncodingLine(value []byte) {
	for more := true; more; {
		var member []byte
		member, value, more = nextMember(value)
		switch {
		case h.coding == codingChunked: // it is neither the only one nor the last
			h.coding = codingBroken
		case h.coding == codingNone && equalFold(member, "chunked"):
			h.coding = codingChunked
		case h.coding == codingNone:
			h.coding = codingUnknown
		}
	}
}

func (h *Head) connectionLine(value []byte) {
	for more := true; more; {
		var member []byte
		member, value, more = nextMember(value)
		switch {
		case equalFold(member, "close"):
			h.close = true
		case equalFold(member, "keep-alive"):
			h.keepAlive = true
		}
	}
}

func (h *Head) expectLine(value []byte) {
	for more := true; more; {
		var member []byte
		member, value, more = nextMember(value)
		switch {
		case equalFold(member, "100-continue"):
			h.Expect100 = true
		case len(member) > 0:
			h.strange = true
		}
	}
}

// finish applies the rules that concern the head as a whole.
func (h *Head) finish() Reason {
	if h.Minor == 0 {
		h.KeepAlive = h.keepAlive && !h.close
		h.Expect100, h.strange = false, false
	} else {
		h.KeepAlive = !h.close
		if h.present&(1<<Host) == 0 {
			return NoHost
		}
	}
	if h.coding != codingNone {
		if r := h.transferCoding(); r != OK {
			return r
		}
	}
	if h.strange {
		return UnknownExpectation
	}
	if h.repeated&lists != 0 {
		h.join()
	}
	return OK
}

// transferCoding applies RFC 9112 section 6.1 to a request with Transfer-Encoding.
func (h *Head) transferCoding() Reason {
	switch {
	case h.present&(1<<ContentLength) != 0:
		return LengthAndEncoding
	case h.Minor == 0 || h.coding == codingBroken:
		return BadTransferEncoding
	case h.coding == codingUnknown:
		return UnknownTransferCoding
	}
	h.Chunked = true
	return OK
}

// join gathers the values of list fields that came on several lines in scratch.
func (h *Head) join() {
	h.scratch = h.scratch[:0]
	for f := noField + 1; f < numField; f++ {
		if h.repeated&lists>>f&1 == 0 {
			continue
		}
		start := len(h.scratch)
		sep := ""
		for name, value := range h.Fields {
			if lookup(name) == f {
				h.scratch = append(append(h.scratch, sep...), value...)
				sep = ", "
			}
		}
		h.known[f] = makeSpan(start, len(h.scratch))
		h.joined |= 1 << f
	}
}
