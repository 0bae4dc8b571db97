package site

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxHostName is the longest name of a host, in bytes (RFC 1035 section 2.3.4).
const maxHostName = 253

// appendHostName appends the name in a Host field or an authority as hosts are
// found by it: in lower case, without port and the dot at its end, an IPv6
// address in its canonical form (RFC 5952) in brackets. What is no name of a host
// becomes something that matches none, or nothing. It allocates for IPv6 only.
func appendHostName(dst, host []byte) []byte {
	if len(host) > 0 && host[0] == '[' {
		return appendLiteral(dst, host)
	}
	host = withoutPort(host)
	if bytes.IndexByte(host, ':') >= 0 {
		return dst
	}
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1] // the root of the DNS, which is left out as a rule
	}
	if len(host) > maxHostName || bytes.HasSuffix(host, dot) {
		return dst
	}
	name := dst
	for _, b := range host {
		switch {
		case 'A' <= b && b <= 'Z':
			b |= 0x20
		case b <= ' ', b == '/', b == '?', b == '#', b == '@', b == '\\':
			return dst // a URL with it would have another host
		}
		name = append(name, b)
	}
	return name
}

var dot = []byte(".")

// maxLiteral is the longest IPv6 address, with IPv4 at its end, in bytes.
const maxLiteral = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// appendLiteral appends [IPv6] without its port and its zone, which is the client's.
func appendLiteral(dst, host []byte) []byte {
	end := bytes.IndexByte(host, ']')
	if end < 0 {
		return dst
	}
	addr, _, _ := bytes.Cut(host[1:end], []byte("%"))
	if len(addr) > maxLiteral {
		return dst
	}
	if rest := host[end+1:]; len(rest) > 0 && (rest[0] != ':' || !digits(rest[1:])) {
		return dst
	}
	a, err := netip.ParseAddr(string(addr))
	if err != nil || !a.Is6() {
		return dst
	}
	return append(a.AppendTo(append(dst, '[')), ']')
}

// withoutPort returns a host other than an IPv6 address without its port; what is no port stays.
func withoutPort(host []byte) []byte {
	if i := bytes.IndexByte(host, ':'); i >= 0 && digits(host[i+1:]) {
		return host[:i]
	}
	return host
}

func digits(p []byte) bool {
	for _, b := range p {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

// CheckHostName reports what is wrong with a name of a Host. same is the form by
// which it is found: two names with the same are one.
func CheckHostName(name string) (same string, err error) {
	base, wild := strings.CutPrefix(name, "*.")
	same = string(appendHostName(nil, []byte(base)))
	switch {
	case name == "":
		return "", errors.New("a host needs a name")
	case strings.Contains(base, "*"):
		return "", fmt.Errorf("%q: a * stands for the first labels only, as in *.example.com", name)
	case strings.ContainsFunc(base, func(r rune) bool { return r > '~' }):
		return "", fmt.Errorf("%q: write it as requests have it, in ASCII (xn--…)", name)
	case wild && base != "" && base[0] == '[':
		return "", fmt.Errorf("%q is not the name of a host", name)
	case base != "" && base[0] == '[':
		if !strings.HasSuffix(base, "]") || same == "" || strings.Contains(base, "%") {
			return "", fmt.Errorf("%q is not an IPv6 address in brackets, without port and zone", name)
		}
	case strings.Count(base, ":") > 1:
		return "", fmt.Errorf("%q: an IPv6 address is written in brackets", name)
	case strings.Contains(base, ":"):
		return "", fmt.Errorf("%q: a name is without port", name)
	case !isHostName(same):
		return "", fmt.Errorf("%q is not the name of a host", name)
	}
	if wild {
		same = "*." + same
	}
	return same, nil
}

// isHostName reports whether s is made of labels. Underscores are not of host
// names, but are met.
func isHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, b := range []byte(label) {
			if !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '_') {
				return false
			}
		}
	}
	return true
}
