package wire

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

// validIPv6 reports whether b is an IPv6 address without a zone (RFC 3986
// section 3.2.2): groups of up to four hex digits, one "::", and perhaps a
// dotted IPv4 address in place of the last two groups.
func validIPv6(b []byte) bool {
	groups, gap, i := 0, false, 0
	if len(b) >= 2 && b[0] == ':' && b[1] == ':' {
		gap, i = true, 2
	}
	for i < len(b) {
		start := i
		for i < len(b) && charClass[b[i]]&isHex != 0 {
			i++
		}
		if i < len(b) && b[i] == '.' {
			groups += 2
			return validIPv4(b[start:]) && complete(groups, gap)
		}
		if n := i - start; n == 0 || n > 4 {
			return false
		}
		groups++
		if i == len(b) {
			break
		}
		if b[i] != ':' || i+1 == len(b) {
			return false
		}
		if i++; b[i] == ':' {
			if gap {
				return false
			}
			gap, i = true, i+1
		}
	}
	return complete(groups, gap)
}

// complete reports whether so many groups, with or without "::", make an address.
func complete(groups int, gap bool) bool {
	return groups == 8 && !gap || groups < 8 && gap
}

// validIPv4 reports whether b is four decimal numbers up to 255 without leading zeros.
func validIPv4(b []byte) bool {
	i := 0
	for part := 0; part < 4; part++ {
		if part > 0 {
			if i == len(b) || b[i] != '.' {
				return false
			}
			i++
		}
		start, n := i, 0
		for i < len(b) && '0' <= b[i] && b[i] <= '9' && i-start < 3 {
			n = n*10 + int(b[i]-'0')
			i++
		}
		if i == start || n > 255 || i-start > 1 && b[start] == '0' {
			return false
		}
	}
	return i == len(b)
}
