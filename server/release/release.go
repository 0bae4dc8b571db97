// Package release decides from which version of what is served a request is answered, and when a new
// version is given to more clients or taken back. It does no I/O and is told the time.
//
// A client's version is a hash of who it is: it needs no cookie, and two servers agree. Versions lie on
// a line with the canary at its low end, so a larger share moves clients to the canary only, and a
// smaller one only those back that it has moved.
package release

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Index is which of the versions of a release it is.
type Index uint8

const (
	// Stable is what everybody gets who gets nothing else.
	Stable Index = iota
	// Canary is the new version.
	Canary
	// Previous is the one before: it is for downloads that have begun with it.
	Previous
	NumVersions
)

// Version is one of the versions of a release. The zero value is none.
type Version struct {
	Name  string // each another
	Root  string // directory
	Alias bool   // it takes the place of the prefix of a location
}

// Request is what a request tells of who asks. It refers to memory of the caller.
type Request struct {
	User   []byte // who has proved to be that; nil: nobody
	Client netip.Addr
	Query  []byte
	Values [MaxFields][]byte // of the fields that FieldAt has asked for; nil: the request has none
	Now    int64             // monotonic ns

	Path []byte
	// Begins is set for a download from its beginning, Resumes for one that goes on.
	Begins, Resumes bool
}

// MaxFields bounds the fields of a request that a release goes by.
const MaxFields = 8

// SubjectKind is what of a request tells who asks.
type SubjectKind uint8

const (
	// ByUser is who has proved to be that.
	ByUser SubjectKind = iota
	// ByClient is the address; of IPv6 the network of 64 bits.
	ByClient
	// ByHeader is the value of a field, ByCookie that of a cookie.
	ByHeader
	ByCookie
)

// Subject is one of those that are looked for, in turn.
type Subject struct {
	Kind SubjectKind
	Name string // of the field or cookie
}

// Release is a release as a configuration has it, with the State that it shares with those of other
// configurations. Its methods are safe for concurrent use.
type Release struct {
	Config
	*State

	Name string

	seed   uint64
	fields []string // lower case
}

// New returns a release with its defaults by its name, which salts the hash: each release has other first clients.
func New(name string, c Config, s *State) *Release {
	r := &Release{Config: c, State: s, Name: name, seed: xxhash.Sum64String(name)}
	if len(r.Subject) == 0 {
		r.Subject = []Subject{{Kind: ByUser}, {Kind: ByClient}}
	}
	r.ask(c.Override.Header)
	if c.Override.Cookie != "" {
		r.ask("cookie")
	}
	for _, s := range r.Subject {
		switch s.Kind {
		case ByHeader:
			r.ask(s.Name)
		case ByCookie:
			r.ask("cookie")
		}
	}
	return r
}

// ask has the field of a name brought by requests.
func (r *Release) ask(name string) {
	if name = strings.ToLower(name); name != "" && !slices.Contains(r.fields, name) {
		r.fields = append(r.fields, name)
	}
}

// FieldAt returns where in Request.Values a field of requests belongs; -1: it does not count.
func (r *Release) FieldAt(name []byte) int {
	for i, want := range r.fields {
		if len(want) == len(name) && strings.EqualFold(want, string(name)) {
			return i
		}
	}
	return -1
}

// AsksFields reports whether any field counts.
func (r *Release) AsksFields() bool { return len(r.fields) > 0 }

// value returns that of a field; nil: the request has none.
func (r *Release) value(q *Request, name string) []byte {
	if i := r.FieldAt([]byte(name)); i >= 0 {
		return q.Values[i]
	}
	return nil
}

// Choose returns the version that a request is answered from.
func (r *Release) Choose(q *Request) Index {
	s := r.split.Load()
	if r.Override.any() {
		if v, ok := r.Override.choose(r, s, q); ok {
			r.Overridden.Add(1)
			return v
		}
	}
	point := r.point(q)
	own := s.side(point)
	if len(s.changes) > 0 {
		return r.held(s, point, q, own)
	}
	return own
}

// whole is the end of the line of points.
const whole = 1 << 63

// point returns where on the line who asks is, from 0 to whole.
func (r *Release) point(q *Request) uint64 {
	var mem [1 + 8]byte
	for _, s := range r.Subject {
		switch s.Kind {
		case ByUser:
			if len(q.User) > 0 {
				return r.hash('u', q.User)
			}
		case ByClient:
			if q.Client.IsValid() {
				return r.hash('c', network(mem[:0], q.Client))
			}
		case ByHeader:
			if v := r.value(q, s.Name); len(v) > 0 {
				return r.hash('h', v)
			}
		case ByCookie:
			if v := r.cookie(q, s.Name); len(v) > 0 {
				return r.hash('h', v)
			}
		}
	}
	return whole - 1 // of nobody in particular: it is among the last to be moved
}

// hash returns the point of a subject of a kind.
func (r *Release) hash(kind byte, subject []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(r.seed ^ uint64(kind))
	_, _ = d.Write(subject) // never fails
	return d.Sum64() >> 1
}

// network appends the bytes of an address that stand for a client.
func network(dst []byte, a netip.Addr) []byte {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return append(dst, b[:]...)
	}
	b := a.As16()
	return binary.NativeEndian.AppendUint64(dst, binary.NativeEndian.Uint64(b[:8]))
}

// cookie returns the value of a cookie; nil: the request has none of the name, or there is no name.
func (r *Release) cookie(q *Request, name string) []byte {
	for field := r.value(q, "cookie"); len(field) > 0 && name != ""; {
		var one []byte
		one, field, _ = bytes.Cut(field, []byte{';'})
		if key, value, ok := bytes.Cut(bytes.TrimSpace(one), []byte{'='}); ok && string(key) == name {
			return value
		}
	}
	return nil
}
