package link

import (
	"bytes"
	"crypto/hmac"
	"iter"
	"math"
	"net/netip"
	"strconv"
)

// Verdict is what becomes of a link.
type Verdict uint8

const (
	Good Verdict = iota
	// Expired: it was good.
	Expired
	// Bad: it was never made, or is for something else.
	Bad
)

// Link is what a link says that was verified. It is used again by Verify, and what it says is valid
// until then.
type Link struct {
	Key, User, Tier, ID, FileName []byte // nil: it does not say
	Rate                          int64  // bytes per second; 0: it does not say
	Connections                   int    // 0: it does not say
	Bytes                         int64  // that all who use it may have; 0: it does not say
	Expires                       int64  // Unix seconds

	path, host, networks []byte
	notBefore            int64
	memory               []byte
}

// Request is what a link is compared with.
type Request struct {
	// Path is the one that is routed: decoded and normalised.
	Path []byte
	// Host is as it was sent.
	Host   []byte
	Client netip.Addr // zero: not known
	Now    int64      // Unix seconds
}

// Find returns the value of a parameter of a query, as it came, and how many there are of its name.
func Find(query []byte, name string) (value []byte, n int) {
	for part := range bytes.SplitSeq(query, []byte("&")) {
		if len(part) > len(name) && part[len(name)] == '=' && string(part[:len(name)]) == name {
			value, n = part[len(name)+1:], n+1
		}
	}
	return value, n
}

// Cookies are the values of a name in a field Cookie (RFC 6265): the same name may be there with several
// paths, the longest first.
func Cookies(field []byte, name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for part := range bytes.SplitSeq(field, []byte(";")) {
			key, v, ok := bytes.Cut(bytes.TrimLeft(part, " "), []byte("="))
			if ok && string(key) == name && !yield(bytes.Trim(v, `"`)) {
				return
			}
		}
	}
}

// Verify reports whether a link, the value of its parameter as it came, is good for a request. It
// does not allocate, but for links that name networks.
func (k *Keys) Verify(l *Link, value []byte, r *Request) Verdict {
	text, mac, ok := bytes.Cut(value, []byte("."))
	if !ok || len(mac) != macLen || len(text) > policyLen || !l.decode(text) {
		return Bad
	}
	s := k.find(l.Key)
	if s == nil || !s.made(text, mac) {
		return Bad
	}
	return l.judge(k, r)
}

// made reports whether a text has a code that was made with the key.
func (s *signer) made(text, code []byte) bool {
	m := s.free.Get().(*state)
	defer s.free.Put(m)
	if n, err := encoding.Decode(m.sent[:], code); err != nil || n != len(m.sent) {
		return false
	}
	m.mac.Reset()
	m.mac.Write(signedBytes)
	m.mac.Write(text)
	return hmac.Equal(m.mac.Sum(m.sum[:0]), m.sent[:])
}

var signedBytes = []byte(signed)

// judge compares a link that was made with a request.
func (l *Link) judge(k *Keys, r *Request) Verdict {
	covers := bytes.Equal(l.path, r.Path) || l.path[len(l.path)-1] == '/' && bytes.HasPrefix(r.Path, l.path)
	switch {
	case !covers,
		l.host != nil && !bytes.EqualFold(l.host, withoutPort(r.Host)),
		l.networks != nil && !within(l.networks, r.Client),
		r.Now < l.notBefore,
		k.lifetime > 0 && l.Expires-r.Now > int64(k.lifetime.Seconds()):
		return Bad
	case l.Expires <= r.Now:
		return Expired
	}
	return Good
}

// decode reads a policy. It is not believed yet.
func (l *Link) decode(text []byte) bool {
	memory := l.memory
	if cap(memory) < maxPolicy {
		memory = make([]byte, maxPolicy)
	}
	*l = Link{Expires: -1, memory: memory}
	n, err := encoding.Decode(memory[:maxPolicy], text)
	if err != nil || n > maxPolicy {
		return false
	}
	seen := uint32(0)
	for field := range bytes.SplitSeq(memory[:n], []byte(";")) {
		if len(field) < 3 || field[1] != '=' || field[0] < 'a' || field[0] > 'z' {
			return false
		}
		value, ok := unescape(field[2:])
		bit := uint32(1) << (field[0] - 'a')
		if !ok || seen&bit != 0 || !l.set(field[0], value) {
			return false
		}
		seen |= bit
	}
	return l.Key != nil && (l.Bytes == 0 || l.ID != nil) && len(l.path) > 0 && l.path[0] == '/' && l.Expires >= 0
}

// set sets what a field says; false: there is no such field, or not with such a value.
func (l *Link) set(name byte, value []byte) (ok bool) {
	switch name {
	case 'k':
		l.Key = value
	case 'p':
		l.path = value
	case 'h':
		l.host = value
	case 'a':
		l.networks = value
	case 'u':
		l.User = value
	case 't':
		l.Tier = value
	case 'i':
		l.ID = value
	case 'f':
		l.FileName = value
	case 'e':
		l.Expires, ok = number(value)
		return ok
	case 'n':
		l.notBefore, ok = number(value)
		return ok
	case 'r':
		l.Rate, ok = number(value)
		return ok && l.Rate > 0
	case 'q':
		l.Bytes, ok = number(value)
		return ok && l.Bytes > 0
	case 'c':
		n, ok := number(value)
		l.Connections = int(n)
		return ok && 0 < n && n <= math.MaxInt32
	default:
		return false
	}
	return true
}

// number reads digits.
func number(s []byte) (int64, bool) {
	n, err := strconv.ParseUint(string(s), 10, 63)
	return int64(n), err == nil
}

// unescape decodes percent-encodings in place.
func unescape(s []byte) ([]byte, bool) {
	if bytes.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := s[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return nil, false
			}
			n, err := strconv.ParseUint(string(s[i+1:i+3]), 16, 8)
			if err != nil {
				return nil, false
			}
			c, i = byte(n), i+2
		}
		out = append(out, c)
	}
	return out, true
}

func withoutPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

// within reports whether a client is in one of the networks of a list. One that cannot be read
// has nobody in it.
func within(list []byte, client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for part := range bytes.SplitSeq(list, []byte(",")) {
		p, err := netip.ParsePrefix(string(part))
		if err == nil && p.Contains(client) {
			return true
		}
	}
	return false
}
