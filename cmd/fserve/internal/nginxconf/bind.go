package nginxconf

import (
	"slices"
	"strconv"
	"strings"
)

// addressesOf returns where a server listens, each address once.
func (s *host) addressesOf() (list []string) {
	for _, l := range s.listens {
		if !slices.Contains(list, l.address) {
			list = append(list, l.address)
		}
	}
	return list
}

// listensAt reports whether a server listens at an address.
func (s *host) listensAt(address string) bool { return slices.Contains(s.addressesOf(), address) }

// port is that of an address, with its colon.
func port(address string) string { return address[strings.LastIndexByte(address, ':'):] }

// apartFrom gives a server whose names others have, at other addresses, a key of its own. It
// reports whether that can be.
func (s *host) apartFrom(named map[string]*host) bool {
	at := s.addressesOf()
	for _, n := range s.names {
		if o := named[n]; o != nil && slices.ContainsFunc(at, o.listensAt) {
			return false
		}
	}
	s.key = s.names[0] + port(at[0])
	return !strings.HasPrefix(at[0], "unix:") && !slices.ContainsFunc(s.names, func(n string) bool { return named[n] != nil && named[n].key == s.key })
}

// bind binds hosts to where their servers listen, if that is not everywhere, and names those that
// answer there for all other names, where the one outside of hosts does not. It returns hosts that
// refuse these, where nobody can answer for them.
func (t *translator) bind(servers, hosts []*host, base *host) (closed []*host) {
	var all []string
	for _, path := range []string{"listen", "tls.listen"} {
		list, _ := t.top[path].([]string)
		all = append(all, list...)
	}
	for _, h := range hosts {
		if at := h.addressesOf(); h.key != "" || slices.ContainsFunc(all, func(a string) bool { return !slices.Contains(at, a) }) {
			h.bound = at
		}
	}
	firsts := make(map[string]*host)
	for _, a := range all {
		firsts[a] = firstAt(servers, a)
	}
	for _, a := range all {
		first := firsts[a]
		switch {
		case base == nil, first == nil, base.listensAt(a):
		case slices.Contains(hosts, first) && first.defaults(firsts):
			first.fallback = true
		default:
			h := &host{scope: *newScope(t.main), names: []string{"_" + strconv.Itoa(len(closed)+1)}, bound: []string{a}, fallback: true}
			h.server, h.answers = h, settings{"respond": "404"}
			closed = append(closed, h)
			t.remarks = append(t.remarks, Note{first.place.String(), "listen " + a, "names that no server has get 404 here"})
		}
	}
	return closed
}

// firstAt returns the server that nginx has for unknown names at an address; nil: none listens there.
func firstAt(servers []*host, address string) (found *host) {
	for _, s := range servers {
		for _, l := range s.listens {
			if l.address == address && (found == nil || l.first) {
				found = s
			}
		}
	}
	return found
}

// defaults reports whether a host may answer for unknown names wherever it listens: it is first
// there, and does not send clients to names that they choose.
func (s *host) defaults(firsts map[string]*host) bool {
	to, _ := s.answers["redirect"].(string)
	return !strings.Contains(to, "{host}") && s.answers["closed"] == nil && !slices.ContainsFunc(s.addressesOf(), func(a string) bool { return firsts[a] != s })
}
