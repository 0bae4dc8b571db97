package httpfile

// Coding is a content coding of a representation.
type Coding uint8

const (
	// Identity is the file itself.
	Identity Coding = iota
	Brotli
	Zstd
	Gzip
	numCoding

	// NotAcceptable is Negotiate's answer when the client refuses all there is.
	NotAcceptable Coding = 0xff
)

var codingNames = [numCoding]struct{ token, ext, tag string }{
	Identity: {"identity", "", ""},
	Brotli:   {"br", ".br", "-br"},
	Zstd:     {"zstd", ".zst", "-zst"},
	Gzip:     {"gzip", ".gz", "-gz"},
}

// String returns the coding's token as Content-Encoding has it.
func (c Coding) String() string {
	if c < numCoding {
		return codingNames[c].token
	}
	return "not acceptable"
}

// Ext returns what a sidecar's name has after the name of its source: ".br",
// ".zst", ".gz", and nothing for Identity.
func (c Coding) Ext() string {
	if c < numCoding {
		return codingNames[c].ext
	}
	return ""
}

// ServerOrder is the usual order of preference among the sidecars: the
// smallest first. It must not be changed.
var ServerOrder = []Coding{Brotli, Zstd, Gzip}

// SidecarFresh reports whether a sidecar may stand for its source. An older sidecar
// was made from an earlier version. One of the same time is fresh, since gzip -k copies
// the time. Times are in ns.
func SidecarFresh(sourceMtimeNs, sidecarMtimeNs int64) bool {
	return sidecarMtimeNs >= sourceMtimeNs
}

const qUnset = -1

// accepted holds the weights of one Accept-Encoding field in thousandths.
type accepted struct {
	q   [numCoding]int16
	any int16
}

// Negotiate chooses the representation for an Accept-Encoding field among
// Identity and avail, the codings that exist, in the server's order of
// preference: highest q first, then server order, Identity last (RFC 9110
// 12.5.3). An absent, empty or malformed field gets Identity. NotAcceptable
// (406) is answered when Identity is refused and nothing else is accepted;
// where nothing is available there is nothing to negotiate and the answer is
// Identity whatever the field says (RFC 9110 12.1).
func Negotiate(accept []byte, avail []Coding) Coding {
	if accept == nil || len(avail) == 0 {
		return Identity
	}
	a, ok := parseAcceptEncoding(accept)
	if !ok {
		return Identity
	}
	best, bestQ := Identity, int16(0)
	for _, c := range avail {
		if c == Identity || c >= numCoding {
			continue
		}
		if q := a.weight(c); q > bestQ {
			best, bestQ = c, q
		}
	}
	switch q := a.weight(Identity); {
	case q == 0 && bestQ == 0:
		return NotAcceptable
	case q > bestQ:
		return Identity
	}
	return best
}

// weight returns the q of c: its own, else that of "*". A coding that is not
// mentioned is refused. Identity is not: it comes last then, which qUnset says.
func (a *accepted) weight(c Coding) int16 {
	switch {
	case a.q[c] != qUnset:
		return a.q[c]
	case a.any != qUnset:
		return a.any
	case c == Identity:
		return qUnset
	}
	return 0
}

// parseAcceptEncoding reads #( codings [ weight ] ). Of a coding named twice
// the first counts.
func parseAcceptEncoding(b []byte) (a accepted, ok bool) {
	a = accepted{q: [numCoding]int16{qUnset, qUnset, qUnset, qUnset}, any: qUnset}
	for len(b) > 0 {
		var elem []byte
		elem, b = cutList(b)
		if len(elem) == 0 {
			continue
		}
		name, q, ok := parseWeighted(elem)
		if !ok {
			return a, false
		}
		if dst := a.slot(name); dst != nil && *dst == qUnset {
			*dst = q
		}
	}
	return a, true
}

// slot returns where the weight of the named coding goes, nil for codings that
// no sidecar has.
func (a *accepted) slot(name []byte) *int16 {
	switch {
	case len(name) == 1 && name[0] == '*':
		return &a.any
	case equalFold(name, "gzip"), equalFold(name, "x-gzip"): // RFC 9110 8.4.1.3
		return &a.q[Gzip]
	case equalFold(name, "br"):
		return &a.q[Brotli]
	case equalFold(name, "zstd"):
		return &a.q[Zstd]
	case equalFold(name, "identity"):
		return &a.q[Identity]
	}
	return nil
}

// cutList returns the first element of a comma-separated list without the
// white space around it, and what follows its comma. Elements hold no quotes.
func cutList(b []byte) (elem, rest []byte) {
	for i, c := range b {
		if c == ',' {
			return trimOWS(b[:i]), b[i+1:]
		}
	}
	return trimOWS(b), nil
}

// parseWeighted splits `token [ OWS ";" OWS "q=" qvalue ]`.
func parseWeighted(elem []byte) (name []byte, q int16, ok bool) {
	n := 0
	for n < len(elem) && isToken[elem[n]] {
		n++
	}
	name, rest := elem[:n], trimOWS(elem[n:])
	if n == 0 {
		return nil, 0, false
	}
	if len(rest) == 0 {
		return name, 1000, true
	}
	if rest[0] != ';' {
		return nil, 0, false
	}
	rest = trimOWS(rest[1:])
	if len(rest) < len("q=0") || toLower(rest[0]) != 'q' || rest[1] != '=' {
		return nil, 0, false
	}
	q, ok = parseQ(rest[2:])
	return name, q, ok
}

// parseQ reads a qvalue (RFC 9110 12.4.2) in thousandths: 0, 1, up to three
// decimals. b is not empty.
func parseQ(b []byte) (q int16, ok bool) {
	if len(b) > len("0.000") || b[0] != '0' && b[0] != '1' {
		return 0, false
	}
	q = int16(b[0]-'0') * 1000
	if len(b) > 1 && b[1] != '.' {
		return 0, false
	}
	for i, unit := 2, int16(100); i < len(b); i, unit = i+1, unit/10 {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
		q += int16(b[i]-'0') * unit
	}
	return q, q <= 1000
}

// isToken marks tchar (RFC 9110 5.6.2).
var isToken = byteSet("!#$%&'*+-.^_`|~0123456789" +
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

func byteSet(members string) (set [256]bool) {
	for i := range len(members) {
		set[members[i]] = true
	}
	return set
}
