package httpfile

import (
	"strconv"
	"strings"
)

// youngNs is the age under which a file's tag and date are weak validators. The
// kernel stamps mtime with the clock of its timer tick. Two writes may get the same
// stamp, so a second version may look like the first. Two seconds also cover file
// systems that keep even seconds only (FAT).
const youngNs = 2e9

// File is what is known of one representation of a resource when its Facts
// are made.
type File struct {
	// Path is the normalised path of the resource, for rules, type and file
	// name. For a sidecar it is the path of its source.
	Path string
	// Size in bytes and modification time in ns, of the file that is sent:
	// for a sidecar its own.
	Size    int64
	MtimeNs int64
	Coding  Coding
	// Negotiable says that the resource has, or may get, sidecars. Every
	// answer then varies by Accept-Encoding.
	Negotiable bool
	// Hash is a content hash, for tags that are equal on every origin. It must be
	// visible ASCII without quotes, of at most 256 bytes; another one is not used.
	// Empty: the tag is made of time and size.
	Hash string
}

// Facts are one version of one representation, with all text that a response
// can need rendered once. They are immutable and may be shared.
type Facts struct {
	Size         int64
	MtimeNs      int64
	Coding       Coding
	Negotiable   bool
	ETag         string // the strong form, quotes included
	LastModified string
	ContentType  string
	CacheControl string // empty: the field is not sent

	policy *Policy
	// attachment is "Content-Disposition: attachment; …\r\n".
	attachment string

	// head is the head of the 200 answer without its last line end, with
	// some date at OKDateOffset. Offsets cut it into the pieces that the other
	// answers are made of:
	//
	//	[0, meta)       status line and Date
	//	[meta, body)    Server, Last-Modified (value at modified), ETag (value
	//	                at tag), Cache-Control, Vary: all that a 304 carries
	//	[body, typed)   Accept-Ranges, Content-Encoding, nosniff
	//	[typed, disp)   Content-Type
	//	[disp, length)  Content-Disposition
	//	[length, end)   Content-Length
	head                                           string
	meta, modified, tag, body, typed, disp, length int
}

// OKDateOffset is where the value of Date (DateLen bytes) begins in a head
// that AppendOK made.
const OKDateOffset = len(okPrefix)

const okPrefix = "HTTP/1.1 200 OK\r\nDate: "

// MakeFacts renders what responses with this version of a file need. It
// allocates; callers keep the result as long as the version lives.
func (p *Policy) MakeFacts(file File) *Facts {
	f := &Facts{
		Size: file.Size, MtimeNs: file.MtimeNs, Coding: file.Coding, Negotiable: file.Negotiable,
		ETag:         makeETag(&file),
		LastModified: string(AppendDate(nil, floorSec(file.MtimeNs))),
		ContentType:  p.ContentType(file.Path),
		CacheControl: firstMatch(p.cacheControl, file.Path),
		policy:       p,
	}
	names := dispositionNames(file.Path)
	f.attachment = "Content-Disposition: attachment" + names + "\r\n"
	shown := ""
	if kind := firstMatch(p.disposition, file.Path); kind != "" {
		shown = "Content-Disposition: " + kind + names + "\r\n"
	}
	f.render(shown)
	return f
}

// render fills head and its offsets.
func (f *Facts) render(disposition string) {
	var b strings.Builder
	b.WriteString(okPrefix + f.LastModified + "\r\n")
	f.meta = b.Len()
	b.WriteString(f.policy.server + "Last-Modified: ")
	f.modified = b.Len()
	b.WriteString(f.LastModified + "\r\nETag: ")
	f.tag = b.Len()
	b.WriteString(f.ETag + "\r\n")
	if f.CacheControl != "" {
		b.WriteString("Cache-Control: " + f.CacheControl + "\r\n")
	}
	if f.Negotiable {
		b.WriteString(varyField)
	}
	f.body = b.Len()
	b.WriteString("Accept-Ranges: bytes\r\n")
	if f.Coding != Identity {
		b.WriteString("Content-Encoding: " + f.Coding.String() + "\r\n")
	}
	b.WriteString(f.policy.sniff)
	f.typed = b.Len()
	b.WriteString("Content-Type: " + f.ContentType + "\r\n")
	f.disp = b.Len()
	b.WriteString(disposition)
	f.length = b.Len()
	b.WriteString("Content-Length: " + strconv.FormatInt(f.Size, 10) + "\r\n")
	f.head = b.String()
}

// makeETag returns the strong entity tag of a version of a file in a coding. No other
// version or coding has the same (RFC 9110 8.8.3.3).
func makeETag(f *File) string {
	suffix := ""
	if f.Coding < numCoding {
		suffix = codingNames[f.Coding].tag
	}
	if usableHash(f.Hash) {
		return `"` + f.Hash + suffix + `"`
	}
	b := make([]byte, 0, 48)
	b = append(b, '"')
	b = strconv.AppendInt(b, f.MtimeNs, 16)
	b = append(b, '-')
	b = strconv.AppendInt(b, f.Size, 16)
	b = append(b, suffix...)
	return string(append(b, '"'))
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

// Policy returns the policy that the Facts were made under. Facts of an earlier
// policy must be made anew.
func (f *Facts) Policy() *Policy { return f.policy }

// SettledAt returns the instant (Unix ns) from which the tag is strong and a
// rendered head stays right. A time of modification in the future counts as
// young too: it may come from a clock that is ahead of ours.
func (f *Facts) SettledAt() int64 { return f.MtimeNs + youngNs }

func (f *Facts) settled(now int64) bool { return now >= f.SettledAt() }

// AppendOK appends the head of a 200 answer with the whole representation: what
// Decide and AppendHead would say to a plain GET or HEAD. date is the current
// HTTP-date (DateLen bytes), now the instant in Unix ns.
//
// From SettledAt on two such heads differ only in the DateLen bytes at
// OKDateOffset, so that a caller may keep one and patch it.
func (f *Facts) AppendOK(dst, date []byte, now int64, conn Conn) []byte {
	if f.settled(now) {
		start := len(dst) + OKDateOffset
		dst = append(dst, f.head...)
		copy(dst[start:start+DateLen], date)
		return appendEnd(dst, conn)
	}
	dst = append(dst, okPrefix...)
	dst = append(dst, date...)
	dst = append(dst, "\r\n"...)
	dst = f.appendMeta(dst, date, now, f.typed)
	dst = append(dst, f.head[f.typed:]...)
	return appendEnd(dst, conn)
}

// appendMeta appends the fields from Server up to the offset end, with weak
// validators if the file is young.
func (f *Facts) appendMeta(dst, date []byte, now int64, end int) []byte {
	if f.settled(now) {
		return append(dst, f.head[f.meta:end]...)
	}
	dst = append(dst, f.head[f.meta:f.modified]...)
	if floorSec(f.MtimeNs) > floorSec(now) {
		// A date in the future is replaced by that of the message (RFC 9110 8.8.2.1).
		dst = append(dst, date...)
	} else {
		dst = append(dst, f.LastModified...)
	}
	dst = append(dst, "\r\nETag: W/"...)
	return append(dst, f.head[f.tag:end]...)
}
