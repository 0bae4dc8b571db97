package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fserve/fserve/server/httpfile"
)

// space is what has files of its own in the caches: the same file under two
// places has two heads.
type space struct {
	root         *sharedRoot
	host, prefix string
	alias        bool
}

// compiler makes sites of a Config.
type compiler struct {
	srv    *Server
	out    *sites
	before *sites // whose spaces are taken over; nil: there are none
	faults []error
}

// compile checks what a Config says about hosts, opens the roots and returns the
// sites, held once. before are those whose files in the caches stay good.
func (s *Server) compile(c *Config, before *sites) (*sites, error) {
	b := &compiler{srv: s, before: before, out: &sites{
		exact: make(map[string]*vhost), wild: make(map[string]*vhost),
		keys: make(map[string]bool), spaces: make(map[space]string),
	}}
	b.out.hold()
	b.out.base = b.host("", &Host{Site: c.Site, Locations: c.Locations}, nil)
	b.out.base.whole.astray = c.Root == "" && len(c.Hosts) > 0
	for i := range c.Hosts {
		b.named(&c.Hosts[i])
	}
	if len(b.out.places) == 1 {
		b.out.only = b.out.base.whole
	}
	if err := errors.Join(b.faults...); err != nil {
		b.out.release(&s.roots)
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.hostRows.assign(b.out)
	return b.out, nil
}

// fault notes what is wrong, with the place that it is wrong in.
func (b *compiler) fault(where string, err error) {
	if err == nil {
		return
	}
	if where != "" {
		err = fmt.Errorf("%s: %w", where, err)
	}
	b.faults = append(b.faults, err)
}

// named compiles a host with names.
func (b *compiler) named(h *Host) {
	if len(h.Names) == 0 {
		b.fault("", errors.New("a host needs a name"))
		return
	}
	v := b.host(h.Names[0], h, b.out.base.whole.pages)
	b.out.hosts = append(b.out.hosts, v)
	for i, name := range h.Names {
		same, err := CheckHostName(name)
		if err != nil {
			b.fault("host", err)
			continue
		}
		if i == 0 {
			v.name = same
		}
		table, key := b.out.exact, same
		if suffix, wild := strings.CutPrefix(same, "*"); wild {
			table, key = b.out.wild, suffix
		}
		if table[key] != nil {
			b.fault("host "+name, errors.New("there is a host of this name already"))
		}
		table[key] = v
	}
}

// host compiles a host with its locations. outer are the error pages around it.
func (b *compiler) host(name string, h *Host, outer map[int]*errorPage) *vhost {
	v := &vhost{name: name, byPath: make(map[string]*place)}
	v.whole = b.place(name, &Location{Prefix: "/", Site: h.Site}, outer)
	for i := range h.Locations {
		l := &h.Locations[i]
		p := b.place(name, l, v.whole.pages)
		switch where := whereOf(name, l.Prefix); {
		case len(l.Prefix) < 3 || l.Prefix[0] != '/' || l.Prefix[len(l.Prefix)-1] != '/' || path.Clean(l.Prefix)+"/" != l.Prefix:
			b.fault(where, errors.New("the prefix of a location is a path that begins and ends with /, and is not / alone"))
		case v.byPath[l.Prefix] != nil:
			b.fault(where, errors.New("there is a location of this prefix already"))
		}
		v.byPath[l.Prefix] = p
	}
	v.sortPrefixes()
	return v
}

// whereOf names a place in errors.
func whereOf(host, prefix string) string {
	var parts []string
	if host != "" {
		parts = append(parts, "host "+host)
	}
	if prefix != "/" {
		parts = append(parts, "location "+prefix)
	}
	return strings.Join(parts, ": ")
}

// place compiles a location, or with the prefix / a host.
func (b *compiler) place(host string, l *Location, outer map[int]*errorPage) *place {
	where, s := whereOf(host, l.Prefix), &l.Site
	p := &place{
		site: b.out, prefix: l.Prefix, skip: 1, index: s.Index,
		precompressed: s.Precompressed, listing: s.Listing, pages: outer,
	}
	if l.Alias {
		p.skip = len(l.Prefix)
	}
	b.open(p, host, l, where)
	var err error
	p.policy, err = httpfile.NewPolicy(s.Files)
	b.fault(where, err)
	p.headers, err = compileHeaders(s.Headers)
	b.fault(where, err)
	b.out.room = max(b.out.room, p.headers.room())
	if len(p.index) == 0 {
		p.index = []string{"index.html"}
	}
	for _, name := range p.index {
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, "/") {
			b.fault(where, fmt.Errorf("index %q is not a file name", name))
		}
	}
	if !s.Access.everybody() {
		p.access = &s.Access
	}
	if s.Class != "" {
		p.class = []byte(s.Class)
		if s.Class[0] != '/' {
			b.fault(where, fmt.Errorf("class %q is not a path", s.Class))
		}
	}
	b.pages(p, l, where)
	b.out.places = append(b.out.places, p)
	return p
}

// open opens the root of a place and gives its files their keys.
func (b *compiler) open(p *place, host string, l *Location, where string) {
	p.cut = p.skip
	if l.Root == "" {
		if l.Prefix != "/" {
			b.fault(where, errors.New("a location needs a root"))
		}
		return
	}
	root, err := b.srv.roots.get(l.Root, l.Symlinks)
	if err != nil {
		b.fault(where, err)
		return
	}
	if slices.Contains(b.out.roots, root) {
		b.srv.roots.release(root) // it is held already
	} else {
		b.out.roots = append(b.out.roots, root)
	}
	p.root = root.Root
	p.key = b.space(space{root: root, host: host, prefix: l.Prefix, alias: l.Alias})
	p.cut += len(p.key)
	b.out.keys[p.key] = true
	b.out.keys[p.pageKey()] = true
}

// space returns what the keys of a space begin with: what they did before, or a
// number that no other had. The first has nothing, so that the key of a file is
// its path where there is one root.
func (b *compiler) space(id space) string {
	key, ok := "", false
	if b.before != nil {
		key, ok = b.before.spaces[id]
	}
	if !ok && b.srv.nextSpace > 0 {
		key = strconv.FormatUint(b.srv.nextSpace, 10)
	}
	if !ok {
		b.srv.nextSpace++
	}
	b.out.spaces[id] = key
	return key
}

// pageKey is key for error pages. With an alias a path means another file there
// than in a request.
func (p *place) pageKey() string {
	if p.skip > 1 {
		return p.key + "e"
	}
	return p.key
}

// errorPage is a file that is the body of failures.
type errorPage struct {
	place *place
	path  []byte
	key   string // of the cache
	name  string // to open
}

// pages checks the error pages of a place: each is there when the configuration
// is taken. One that goes away later is replaced by the short text.
func (b *compiler) pages(p *place, l *Location, where string) {
	if l.ErrorPages == nil {
		return
	}
	p.pages = make(map[int]*errorPage, len(l.ErrorPages))
	for status, name := range l.ErrorPages {
		if err := p.checkPage(status, name); err != nil {
			b.fault(where, fmt.Errorf("error page %d=%s: %w", status, name, err))
			continue
		}
		p.pages[status] = &errorPage{place: p, path: []byte(name), key: p.pageKey() + name, name: name[1:]}
	}
}

func (p *place) checkPage(status int, name string) error {
	if status < 400 || status > 599 || http.StatusText(status) == "" {
		return errors.New("not the status of a failure")
	}
	if !cleanPath(name) || name[len(name)-1] == '/' {
		return errors.New("not an absolute path of a file below the root")
	}
	if p.root == nil {
		return errors.New("error pages need a root")
	}
	o := p.root.Open(name[1:], false)
	if o.Err != 0 {
		return o.Err
	}
	if o.FD < 0 {
		return errors.New("not a regular file")
	}
	return syscall.Close(int(o.FD))
}
