package wire

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// validAuthority reports whether b is uri-host [ ":" port ] (RFC 9110 section
// 7.2) and whether a port was given. The empty text is valid: a client sends it if its
// target has no authority.
//
// Two things are refused although the grammar allows them: percent-encoding in names, and
// IPvFuture literals. No client sends them, and programs disagree on their meaning.
func validAuthority(b []byte) (ok, port bool) {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		for i < len(b) && b[i] != ']' {
			i++
		}
		if i == len(b) || !validIPv6(b[1:i]) {
			return false, false
		}
		i++
	} else {
		for i < len(b) && charClass[b[i]]&isHost != 0 {
			i++
		}
	}
	if i == len(b) {
		return true, false
	}
	if b[i] != ':' || i == 0 {
		return false, false
	}
	return validPort(b[i+1:]), i+1 < len(b)
}

// validPort reports whether b is empty or a decimal number up to 65535.
func validPort(b []byte) bool {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
		if n = n*10 + int(c-'0'); n > 65535 {
			return false
		}
	}
	return true
}

// validIPv6 reports whether b is an IPv6address of RFC 3986, or one with a zone behind a
// "%". RFC 3986 has no zones and a server has no use for them (RFC 6874 section 3), but
// clients send what stands in their URL. The string is not kept: an address without a zone
// is numbers.
func validIPv6(b []byte) bool {
	if i := bytes.IndexByte(b, '%'); i >= 0 {
		for _, c := range b[i+1:] {
			if charClass[c]&isHost == 0 && c != '%' {
				return false
			}
		}
		if i+1 == len(b) {
			return false
		}
		b = b[:i]
	}
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	return err == nil && a.Is6()
}
