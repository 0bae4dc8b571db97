package nginxconf

import (
	"cmp"
	"slices"
	"strings"
)

// moved is a name that if ($host = NAME) sends elsewhere.
type moved struct{ name, to string }

// absorb leaves out servers whose only purpose is to send their names to https: secured are the
// names for which servers that speak TLS do it themselves; the empty one stands for all.
func (t *translator) absorb() (rest []*host, secured map[string]bool) {
	secured = make(map[string]bool)
	for _, s := range t.servers {
		if s.isTLS() || len(s.secured) == 0 || len(s.places) > 0 {
			rest = append(rest, s)
			continue
		}
		if len(s.names) == 0 {
			secured[""] = true
		}
		var left []string
		for _, n := range s.names {
			if t.isSecure(n) {
				secured[n] = true
			} else { // something in front of it speaks TLS
				left = append(left, n)
			}
		}
		if len(left) > 0 {
			if s.names = left; s.answers["redirect"] == nil {
				s.answers = settings{"redirect": "301 https://{host}{uri}"}
			}
			rest = append(rest, s)
			continue
		}
		t.left = append(t.left, s.notes...)
		t.absorbed = append(t.absorbed, s.listens...)
	}
	return rest, secured
}

// arrange sorts the servers into hosts by name and the one for all other names; nil: there is none.
func (t *translator) arrange() (hosts []*host, base *host) {
	t.addresses()
	rest, secured := t.absorb()
	for _, s := range rest {
		s.split(t)
		if s.isTLS() && s.toHTTPS(secured) {
			if s.answers["redirect"] == nil {
				s.answers["redirect"] = "301 https://{host}{uri}"
			}
			s.listens = append(s.listens, t.absorbed...)
		}
		// The name of a host is not the client's to choose, that of the default is.
		to, _ := s.answers["redirect"].(string)
		if base == nil && s.answers["closed"] == nil && !strings.Contains(to, "{host}") && (len(s.names) == 0 || s.isFirst()) {
			base = s
		}
	}
	named := make(map[string]*host)
	for _, s := range rest {
		if s == base {
			continue
		}
		if len(s.names) == 0 {
			t.without(s)
			continue
		}
		if same := slices.IndexFunc(s.names, func(n string) bool { return named[n] != nil }); same >= 0 && !s.apartFrom(named) {
			first := named[s.names[same]]
			n := Note{s.place.String(), "server", "a server with the name " + s.names[same] + " is at " + first.place.String() + " already"}
			first.notes, t.left = append(first.notes, n), append(t.left, n)
			continue
		}
		for _, n := range s.names {
			named[n] = s
		}
		hosts = append(hosts, s)
	}
	for _, s := range t.servers {
		hosts = append(hosts, s.splits...)
	}
	hosts = append(hosts, t.bind(rest, hosts, base)...)
	if base == nil && len(hosts) > 0 {
		t.remarks = append(t.remarks, Note{t.servers[0].place.String(), "server", "names that no server has get 421 here, and the first server there"})
	}
	return hosts, base
}

// without notes a server that answers for no name: names that no host has get 421.
func (t *translator) without(s *host) {
	if s.answers["closed"] != nil {
		return
	}
	n := Note{s.place.String(), "server", "it has no name, and another one answers for names that no server has, or it redirects to names that clients choose"}
	t.main.notes, t.left = append(t.main.notes, n), append(t.left, n)
}

// toHTTPS reports whether requests without TLS are sent to it.
func (s *host) toHTTPS(secured map[string]bool) bool {
	return secured[""] || len(s.secured) > 0 || slices.ContainsFunc(s.names, func(n string) bool { return secured[n] })
}

// split makes hosts of the names that go elsewhere.
func (s *host) split(t *translator) {
	for _, m := range s.moved {
		s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == m.name })
		h := &host{scope: *newScope(t.main), place: s.place, names: []string{m.name}, listens: s.listens, pairs: s.pairs}
		h.server = h
		h.answers["redirect"] = m.to
		s.splits = append(s.splits, h)
	}
}

func (s *host) isTLS() bool {
	return slices.ContainsFunc(s.listens, func(l listen) bool { return l.tls })
}
func (s *host) isFirst() bool {
	return slices.ContainsFunc(s.listens, func(l listen) bool { return l.first })
}

// isSecure reports whether a server speaks TLS for a name.
func (t *translator) isSecure(name string) bool {
	return slices.ContainsFunc(t.servers, func(s *host) bool { return s.isTLS() && slices.Contains(s.names, name) })
}

// addresses collects those of all servers, and the certificate that counts where no other does.
func (t *translator) addresses() {
	for _, s := range t.servers {
		for _, l := range s.listens {
			path := "listen"
			if l.tls {
				path = "tls.listen"
			}
			t.add(path, l.address)
		}
	}
	// The first server counts unless another says that it does.
	order := slices.Clone(t.servers)
	slices.SortStableFunc(order, func(a, b *host) int { return cmp.Compare(first(b), first(a)) })
	for _, s := range order {
		if len(s.pairs) > 0 && t.top["tls.cert"] == nil {
			t.top["tls.cert"], t.top["tls.key"] = s.pairs[0].cert, cmp.Or(s.pairs[0].key, s.pairs[0].cert)
		}
		if s.refuse {
			t.top["tls.unknown_name"] = "refuse"
		}
	}
}

func first(s *host) int {
	if s.isFirst() {
		return 1
	}
	return 0
}
