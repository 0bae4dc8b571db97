package httpfile

import (
	"bytes"
	"errors"
	"slices"
)

// Config is what a Policy is made from. The zero value works.
type Config struct {
	// Server is the value of the Server field. Empty: the field is not sent.
	Server string

	// Charset is added to text types that name none. Empty: "utf-8".
	// "none": nothing is added.
	Charset string

	// AllowSniffing leaves out X-Content-Type-Options: nosniff.
	AllowSniffing bool

	// ContentTypes adds to the built-in table, or overrides it: extension
	// (with or without its dot, in any case) -> media type. A slash before it
	// makes it a name without extension: /README.
	ContentTypes map[string]string

	// DefaultType is the type of what the table does not have.
	// Empty: "application/octet-stream".
	DefaultType string

	// CacheControl rules give the value of Cache-Control for answers that
	// carry a file and for 304. No match: the field is not sent.
	CacheControl []Rule

	// Disposition rules have the value "attachment" or "inline". No match:
	// Content-Disposition is not sent.
	Disposition []Rule

	// DownloadParam is the name of a query parameter whose presence makes the answer
	// an attachment ("download" for /f?download). Its value is not used: the author
	// of a link could have a file saved under another file's name. Empty: no
	// parameter does.
	DownloadParam string

	// MaxRanges is the most parts of a 206, from 1 to 256. Default 64: zsync asks for 20,
	// zchunk for 41.
	MaxRanges int

	// MergeGap is the number of bytes between two ranges up to which (itself
	// excluded) they are sent as one, when there are too many or they
	// overlap. Default 80, the cost of a part (RFC 9110 15.3.7.2).
	MergeGap int64

	// RefuseEncodedSlash answers 400 to paths with an encoded slash. Otherwise it is a
	// slash. It is for origins behind proxies that take it for a part of a name, and
	// decide by that what a client may have.
	RefuseEncodedSlash bool

	// Compress has what is worth it compressed for the clients that accept that. nil: nothing is.
	Compress *Compression

	// Dotfiles serves paths with a segment that begins with a dot.
	Dotfiles bool

	// DotDirs are the first segments that begin with a dot and are served
	// anyway. nil: ".well-known" (RFC 8615). Deeper segments are still
	// checked.
	DotDirs []string

	// RetryAfter is sent with 429 and 503, in seconds. Default 1.
	RetryAfter int
}

// Policy is a compiled Config. It is immutable.
type Policy struct {
	charset      string
	types        map[string]string
	defaultType  string
	cacheControl []rule
	compress     *Compression // with its defaults; nil: none
	disposition  []rule
	download     string
	maxRanges    int
	mergeGap     int64
	refuseSlash  bool
	dotfiles     bool
	dotDirs      []string
	retryAfter   int

	server string // "Server: …\r\n" or empty
	sniff  string // "X-Content-Type-Options: nosniff\r\n" or empty
}

const (
	defaultMaxRanges = 64
	maxMaxRanges     = 256 // a part costs a send: a request for more is an attack
	defaultMergeGap  = 80
	maxMergeGap      = 1 << 30 // bytes
	maxRetryAfter    = 86400   // seconds
	allowField       = "Allow: GET, HEAD, OPTIONS\r\n"
	varyField        = "Vary: Accept-Encoding\r\n"
	nosniffField     = "X-Content-Type-Options: nosniff\r\n"
)

// NewPolicy checks and compiles a Config. The error names every fault.
func NewPolicy(c Config) (*Policy, error) {
	p := &Policy{
		charset:     orDefault(c.Charset, "utf-8"),
		defaultType: orDefault(c.DefaultType, "application/octet-stream"),
		download:    c.DownloadParam,
		maxRanges:   orDefault(c.MaxRanges, defaultMaxRanges),
		mergeGap:    orDefault(c.MergeGap, defaultMergeGap),
		refuseSlash: c.RefuseEncodedSlash,
		dotfiles:    c.Dotfiles,
		dotDirs:     slices.Clone(c.DotDirs),
		retryAfter:  orDefault(c.RetryAfter, 1),
	}
	if c.Server != "" {
		p.server = "Server: " + c.Server + "\r\n"
	}
	if !c.AllowSniffing {
		p.sniff = nosniffField
	}
	if c.DotDirs == nil {
		p.dotDirs = []string{".well-known"}
	}
	var types, caching, disposition, compress error
	p.compress, compress = compileCompression(c.Compress)
	p.types, types = compileTypes(c.ContentTypes)
	p.cacheControl, caching = compileRules("cache control", c.CacheControl)
	p.disposition, disposition = compileRules("disposition", c.Disposition)
	err := errors.Join(
		checkValue("server", c.Server),
		checkToken("charset", p.charset),
		checkType("default type", p.defaultType),
		checkToken("download parameter", p.download),
		checkRange("max ranges", int64(p.maxRanges), 1, maxMaxRanges),
		checkRange("merge gap", p.mergeGap, 1, maxMergeGap),
		checkRange("retry after", int64(p.retryAfter), 1, maxRetryAfter),
		types, caching, disposition, compress, checkDisposition(c.Disposition))
	if err != nil {
		return nil, err
	}
	return p, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Refuses reports whether a raw path, percent-encoded as it came, is to be answered by 400,
// although NormalizePath takes it.
func (p *Policy) Refuses(raw []byte) bool {
	if !p.refuseSlash {
		return false
	}
	for i, c := range raw {
		if c == '%' && isSlash(raw[i:]) {
			return true
		}
	}
	return false
}

// Hidden reports whether a normalised path is to be answered as if it did not
// exist (404): one of its segments begins with a dot and it is not allowed.
func (p *Policy) Hidden(path []byte) bool {
	if p.dotfiles {
		return false
	}
	switch i := bytes.Index(path, slashDot); {
	case i < 0:
		return false
	case i > 0 || !p.dotDir(path[1:]):
		return true
	}
	return bytes.Contains(path[1:], slashDot)
}

// dotDir reports whether the first segment of rest is an allowed one, and a
// directory: the path goes on after it.
func (p *Policy) dotDir(rest []byte) bool {
	for _, d := range p.dotDirs {
		if len(rest) >= len(d) && string(rest[:len(d)]) == d && (len(rest) == len(d) || rest[len(d)] == '/') {
			return true
		}
	}
	return false
}

// Download reports whether a query asks for an attachment.
func (p *Policy) Download(query []byte) bool {
	if p.download == "" {
		return false
	}
	for len(query) > 0 {
		param := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			param, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		if i := bytes.IndexByte(param, '='); i >= 0 {
			param = param[:i]
		}
		if string(param) == p.download {
			return true
		}
	}
	return false
}
