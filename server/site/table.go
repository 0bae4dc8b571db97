package site

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
)

// table finds hosts by name.
type table struct {
	base  *vhost            // for names that no host has
	exact map[string]*vhost // by name
	wild  map[string]*vhost // by what follows the star: ".example.com"
}

func newTable(base *vhost) table {
	return table{base, make(map[string]*vhost), make(map[string]*vhost)}
}

// add adds a host by a name as in CheckHostName; false: there is one already.
func (t *table) add(name string, v *vhost) bool {
	m, key := t.exact, name
	if suffix, wild := strings.CutPrefix(name, "*"); wild {
		m, key = t.wild, suffix
	}
	if m[key] != nil {
		return false
	}
	m[key] = v
	return true
}

// setBase makes a host with names the one for names that no host has; false: another is.
func (t *table) setBase(v *vhost) bool {
	if t.base.name != "" {
		return false
	}
	t.base = v
	return true
}

// LastHost is the host that Set.Find has found last: most requests of a loop ask for it again, and
// to compare what was sent costs a tenth of finding it. It is for one goroutine. The zero value
// remembers nothing.
type LastHost struct {
	of     *table // of one Set and listener, so another configuration is another table
	sent   []byte
	host   *vhost
	memory []byte // of names
}

func (l *LastHost) find(t *table, sent []byte) *vhost {
	if l.of != t || !bytes.Equal(l.sent, sent) {
		l.of, l.sent, l.host = t, append(l.sent[:0], sent...), t.host(&l.memory, sent)
	}
	return l.host
}

// host returns the host of a name as it was sent.
func (t *table) host(buf *[]byte, host []byte) *vhost {
	if len(t.exact)+len(t.wild) == 0 {
		return t.base
	}
	if h := t.exact[string(withoutPort(host))]; h != nil { // written as nearly all clients write it
		return h
	}
	name := appendHostName((*buf)[:0], host)
	*buf = name
	if h := t.exact[string(name)]; h != nil {
		return h
	}
	if len(t.wild) == 0 {
		return t.base
	}
	for i := bytes.IndexByte(name, '.'); i >= 0; {
		if h := t.wild[string(name[i:])]; h != nil && i > 0 {
			return h
		}
		next := bytes.IndexByte(name[i+1:], '.')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return t.base
}

// table returns that of a listener; see Find.
func (t *Set) table(at int) *table {
	if uint(at) < uint(len(t.at)) {
		return &t.at[at]
	}
	return &t.all
}

// tables makes those in which hosts are found: one for each listener if any host is bound to some.
func (b *compilation) tables(base *vhost, hosts []Host) {
	b.out.all, b.out.listeners = newTable(base), b.Listeners
	if !slices.ContainsFunc(hosts, func(h Host) bool { return len(h.Listen) > 0 }) {
		return
	}
	b.out.at = make([]table, len(b.Listeners))
	for i := range b.out.at {
		b.out.at[i] = newTable(base)
	}
}

// tablesOf returns the tables in which a host is found.
func (b *compilation) tablesOf(h *Host) (list []*table) {
	if len(h.Listen) == 0 {
		list = append(list, &b.out.all)
	}
	for i, addr := range h.Listen {
		if !slices.ContainsFunc(b.Listeners, func(l Listener) bool { return l.Addr == addr }) {
			b.faults = append(b.faults, &Fault{h.key(), "", fmt.Sprintf("listen[%d]", i), fmt.Errorf("%q is not listened on", addr)})
		}
	}
	for i := range b.out.at {
		if len(h.Listen) == 0 || slices.Contains(h.Listen, b.Listeners[i].Addr) {
			list = append(list, &b.out.at[i])
		}
	}
	return list
}

// samples returns requests for a host without their paths: one at each of its listeners, or where
// that makes no difference one by HTTP and one by HTTPS.
func (t *Set) samples(h *vhost) (list []Requested) {
	name := ""
	if len(h.names) > 0 {
		name, _ = CheckHostName(h.names[0])
		if wild, ok := strings.CutPrefix(name, "*"); ok {
			name = "x" + wild
		}
	}
	for _, encrypted := range []bool{false, true} {
		if t.at == nil {
			list = append(list, Requested{Host: []byte(name), Encrypted: encrypted, at: -1})
		}
	}
	var buf []byte
	for i := range t.at {
		if t.at[i].host(&buf, []byte(name)) == h {
			list = append(list, Requested{Host: []byte(name), Encrypted: t.listeners[i].TLS, at: i})
		}
	}
	return list
}

// listenerOf returns the listener that a request of a redirect reaches, by the port of its host;
// false: none of these.
func (t *Set) listenerOf(r *Requested) (at int, ok bool) {
	if t.at == nil {
		return -1, true
	}
	port := map[bool]string{false: "80", true: "443"}[r.Encrypted]
	if _, p, err := net.SplitHostPort(string(r.Host)); err == nil {
		port = p
	}
	at = slices.IndexFunc(t.listeners, func(l Listener) bool { return l.TLS == r.Encrypted && strings.HasSuffix(l.Addr, ":"+port) })
	return at, at >= 0
}
