package httpfile

import (
	"strconv"
	"unsafe"
)

// File is what is known of one representation of a resource when its Facts
// are made.
type File struct {
	// Path is the normalised path of the resource, for rules, type and file
	// name. For a sidecar it is the path of its source.
	Path string
	// Size in bytes and times in Unix ns, of the file that is sent: for a sidecar
	// its own. The time of change (of content or inode) is 0 if it is not known.
	Size    int64
	MtimeNs int64
	CtimeNs int64
	Inode   uint64
	// SeenNs is when the file system said so, in Unix ns; 0: not known. Indistinct says
	// that the file may have changed since without a trace in size and times: it has
	// no tag then, and its date is no strong validator.
	SeenNs     int64
	Indistinct bool
	Coding     Coding
	// Level is set if the representation is made of the file, by compressing it: Size is that of the
	// file then, and Length of what is sent. 0: it is a file itself.
	Level  int
	Length int64
	// Negotiable says that the resource has, or may get, other codings. Every
	// answer then varies by Accept-Encoding.
	Negotiable bool
	// Hash is a content hash, for tags that are equal on every origin. It must be
	// visible ASCII without quotes, of at most 256 bytes; another one is not used.
	// Empty: the tag is made of time and size, or with ByContent there is none.
	Hash      string
	ByContent bool
}

// Facts are one version of one representation, with all text that a response
// can need rendered once. They are immutable and may be shared, but for RemakeFacts.
type Facts struct {
	Size         int64
	MtimeNs      int64
	Coding       Coding
	Negotiable   bool
	ETag         string // strong, quotes included; empty: nothing tells this version for certain
	LastModified string // empty: the file says no time that can be believed
	ContentType  string
	CacheControl string // empty: the field is not sent

	policy     *Policy
	names      string // parameters of Content-Disposition, if it may be sent
	modified   int64  // Unix s: LastModified
	indistinct bool
	made       bool // of a file, which ranges are of

	// head is the head of the 200 answer without its last line end, with
	// some date at OKDateOffset. Offsets cut it into the pieces that the other
	// answers are made of:
	//
	//	[0, meta)       status line and Date
	//	[meta, body)    Server, Last-Modified, ETag, Cache-Control, Vary: all
	//	                that a 304 carries
	//	[body, typed)   Accept-Ranges, Content-Encoding, nosniff
	//	[typed, disp)   Content-Type
	//	[disp, length)  Content-Disposition
	//	[length, end)   Content-Length
	head                            string
	meta, body, typed, disp, length int
	memory                          []byte // of head
}

// OKDateOffset is where the value of Date (DateLen bytes) begins in a head
// that AppendOK made.
const OKDateOffset = len(okPrefix)

const okPrefix = "HTTP/1.1 200 OK\r\nDate: "

// MakeFacts renders what responses with this version of a file need. It
// allocates; callers keep the result as long as the version lives.
func (p *Policy) MakeFacts(file File) *Facts {
	f := new(Facts)
	p.RemakeFacts(f, file)
	return f
}

// RemakeFacts is MakeFacts in the memory of other Facts, whose text nobody uses any more. It does
// not allocate, as a rule.
func (p *Policy) RemakeFacts(f *Facts, file File) {
	*f = Facts{
		Size: file.Size, MtimeNs: file.MtimeNs, Coding: file.Coding, Negotiable: file.Negotiable,
		CacheControl: firstMatch(p.cacheControl, file.Path),
		policy:       p,
		indistinct:   file.Indistinct,
		made:         file.Level > 0,
		memory:       f.memory[:0],
	}
	if f.made {
		f.Size = file.Length
	}
	f.render(&file)
}

// render fills head and its offsets, and what is a part of head. It is done for each request for
// a file that is not open, so all of it is in one piece of memory.
func (f *Facts) render(file *File) {
	modifiedAt, tagAt, tagEnd, typeAt := 0, 0, 0, 0
	b := append(make([]byte, 0, usualHead), okPrefix+dateLayout+"\r\n"...)
	f.meta = len(b)
	b = append(b, f.policy.server...)
	if sec, ok := file.modified(); ok {
		f.modified = sec
		b = append(b, "Last-Modified: "...)
		modifiedAt = len(b)
		b = append(AppendDate(b, sec), "\r\n"...)
	}
	if hasETag(file) {
		b = append(b, "ETag: "...)
		tagAt = len(b)
		b = appendETag(b, file)
		tagEnd = len(b)
		b = append(b, "\r\n"...)
	}
	b = appendField(b, "Cache-Control: ", f.CacheControl)
	if f.Negotiable {
		b = append(b, varyField...)
	}
	f.body = len(b)
	if !f.made {
		b = append(b, "Accept-Ranges: bytes\r\n"...)
	}
	if f.Coding != Identity {
		b = appendField(b, "Content-Encoding: ", f.Coding.String())
	}
	b = append(b, f.policy.sniff...)
	f.typed = len(b)
	if typ := f.policy.lookupType(file.Path); typ != "" {
		b = append(b, "Content-Type: "...)
		typeAt = len(b)
		b = append(f.policy.appendTyped(b, typ), "\r\n"...)
	}
	f.disp = len(b)
	kind := firstMatch(f.policy.disposition, file.Path)
	if kind != "" || f.policy.download != "" {
		f.names = dispositionNames(file.Path)
	}
	if kind != "" {
		b = appendDisposition(b, kind, f.names)
	}
	f.length = len(b)
	b = append(b, "Content-Length: "...)
	b = append(strconv.AppendInt(b, f.Size, 10), "\r\n"...)
	f.memory = append(f.memory, b...)
	f.head = unsafe.String(unsafe.SliceData(f.memory), len(f.memory))
	f.ETag = f.head[tagAt:tagEnd]
	if modifiedAt > 0 {
		f.LastModified = f.head[modifiedAt : modifiedAt+DateLen]
	}
	if typeAt > 0 {
		f.ContentType = f.head[typeAt : f.disp-len("\r\n")]
	}
}

// usualHead is the length that most heads do not exceed, in bytes.
const usualHead = 512

// appendField appends a field line, nothing if the value is empty.
func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return append(append(append(dst, name...), value...), "\r\n"...)
}

// appendDisposition appends Content-Disposition with the names of a file.
func appendDisposition(dst []byte, kind, names string) []byte {
	dst = append(append(dst, "Content-Disposition: "...), kind...)
	return append(append(dst, names...), "\r\n"...)
}

// hasETag reports whether something tells the version for certain.
func hasETag(f *File) bool { return !f.Indistinct && (usableHash(f.Hash) || !f.ByContent) }

// appendETag appends the strong entity tag of a version of a file in a coding. No other
// version or coding has the same (RFC 9110 8.8.3.3), and the version has it for life.
func appendETag(b []byte, f *File) []byte {
	b = append(b, '"')
	if usableHash(f.Hash) {
		return append(appendCoding(append(b, f.Hash...), f), '"')
	}
	b = strconv.AppendInt(b, f.MtimeNs, 16)
	b = append(b, '-')
	b = strconv.AppendInt(b, f.Size, 16)
	if isNormalised(f.MtimeNs) {
		b = append(b, '-')
		b = strconv.AppendUint(b, f.Inode, 16)
		b = append(b, '-')
		b = strconv.AppendInt(b, f.CtimeNs, 16)
	}
	return append(appendCoding(b, f), '"')
}

// appendCoding appends what tells the tags of the codings apart: also what is made of a file from a
// sidecar of it, which has a time and a size of its own.
func appendCoding(b []byte, f *File) []byte {
	if f.Coding < numCoding {
		b = append(b, codingNames[f.Coding].tag...)
	}
	if f.Level > 0 {
		b = strconv.AppendInt(append(b, '.'), int64(f.Level), 10)
	}
	return b
}

// modified returns the Unix time in seconds of Last-Modified, not ok if there is none. A
// time of modification that was in the future when it was set (archives store local times)
// is not believed: the time of change is when that was. A date in the future is not sent
// (RFC 9110 8.8.2.1).
func (f *File) modified() (sec int64, ok bool) {
	ns := f.MtimeNs
	if f.CtimeNs != 0 {
		ns = min(ns, f.CtimeNs)
	}
	sec = floorSec(ns)
	return sec, !isNormalised(f.MtimeNs) && (f.SeenNs == 0 || sec <= floorSec(f.SeenNs))
}

// normalTimes are what tools set the times of all files to, in Unix seconds, so that what
// they make is always the same: two versions have the same time then.
var normalTimes = [...]int64{
	0,         // OSTree
	1,         // Nix, Guix
	312768000, // 1979-11-30: a zip archive without times
	315532800, // 1980-01-01: the first time that a zip archive can have
	318211200, // 1980-02-01: Gradle
	499162500, // 1985-10-26 08:15: npm
}

// isNormalised reports whether a time was set for its sameness, in whatever time zone.
func isNormalised(ns int64) bool {
	const zones = 14 * 3600
	for _, t := range normalTimes {
		if ns%1e9 == 0 && ns/1e9 >= t-zones && ns/1e9 <= t+zones {
			return true
		}
	}
	return false
}

const maxHash = 256 // bytes; a SHA-512 in hexadecimal has 128

func usableHash(h string) bool {
	for i := range len(h) {
		if h[i] <= ' ' || h[i] >= 0x7f || h[i] == '"' {
			return false
		}
	}
	return h != "" && len(h) <= maxHash
}

// Distinct reports whether times and size tell this version from all others.
func (f *Facts) Distinct() bool { return !f.indistinct }

// Policy returns the policy that the Facts were made under. Facts of an earlier
// policy must be made anew.
func (f *Facts) Policy() *Policy { return f.policy }

// AppendOK appends the head of a 200 answer with the whole representation: what
// Decide and AppendHead would say to a plain GET or HEAD. date is the current
// HTTP-date (DateLen bytes).
//
// Two such heads differ only in the DateLen bytes at OKDateOffset, so that a caller may
// keep one and patch it.
func (f *Facts) AppendOK(dst, date []byte, conn Conn) []byte {
	start := len(dst) + OKDateOffset
	dst = append(dst, f.head...)
	copy(dst[start:start+DateLen], date)
	return appendEnd(dst, conn)
}
