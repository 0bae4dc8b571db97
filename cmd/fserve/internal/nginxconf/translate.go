package nginxconf

import (
	"maps"
	"slices"
)

// settings are what a place of nginx says of files, by fserve's keys; some of them are made of several
// directives when they are written.
type settings map[string]any

// scope is a level of nginx: http, a server or a location. What it says replaces what the level
// around it says, directive by directive.
type scope struct {
	settings
	began   map[string]bool // keys that it says something of itself
	match   string          // of a location; empty: none
	pattern string          // the match as a pattern, if it is a suffix
	prefix  string          // of a location by prefix, as nginx has it
	within  string          // the prefix around a nested pattern
	rank    rank
	notes   []Note
	link    secureLink
	answers settings // what is not taken over: redirect, respond, try, alias
	places  []*scope // its locations
	server  *host    // that it is in; nil: http
	// refererIf refuses requests of which $invalid_referer holds; nil: nothing does.
	refererIf *directive
}

// host is a server block.
type host struct {
	scope
	place   place
	names   []string
	listens []listen
	pairs   []pair
	refuse  bool     // handshakes
	whole   settings // of location /; nil: it says none
	secured []string // names that are sent to https; "" stands for all
	moved   []moved
	splits  []*host // of moved

	key      string   // of hosts; empty: the first of names
	bound    []string // where it answers; nil: everywhere
	fallback bool     // for names that no host has
}

// listen is an address of a server.
type listen struct {
	address    string
	tls, first bool
}

// pair is a certificate and its key.
type pair struct{ cert, key string }

type translator struct {
	main     *scope // main and http
	top      map[string]any
	topAt    map[string]string
	servers  []*host
	formats  map[string]accessLog // without a file, by name
	logs     map[string]log       // by file
	classes  map[string]class
	absorbed []listen          // of servers whose only purpose is to send their names to https
	zones    map[string]string // rates of requests by directive and name
	left     []Note
	remarks  []Note

	clientHeader bool // real_ip_header is given
}

// class is a limit for what is in it.
type class struct{ rate, after string }

func newTranslator() *translator {
	t := &translator{top: make(map[string]any), topAt: make(map[string]string), formats: make(map[string]accessLog), logs: make(map[string]log),
		classes: make(map[string]class), zones: make(map[string]string)}
	t.main = newScope(nil)
	// nginx follows all links.
	t.main.settings["symlinks"] = "follow"
	return t
}

func newScope(around *scope) *scope {
	s := &scope{settings: make(settings), began: make(map[string]bool), answers: make(settings)}
	if around != nil {
		s.settings, s.server = maps.Clone(around.settings), around.server
	}
	return s
}

// fresh forgets what is around a scope says of a key, the first time that it is called.
func (s *scope) fresh(key string) {
	if !s.began[key] {
		s.began[key] = true
		delete(s.settings, key)
	}
}

// leave notes a directive that has no effect.
func (t *translator) leave(s *scope, d *directive, why string) {
	n := Note{d.place.String(), d.text(), why}
	s.notes = append(s.notes, n)
	t.left = append(t.left, n)
}

// remark notes what is done in another way.
func (t *translator) remark(d *directive, why string) {
	t.remarks = append(t.remarks, Note{d.place.String(), d.text(), why})
}

// set sets a value of the whole server, which has one only.
func (t *translator) set(s *scope, d *directive, path string, value any) {
	if old, ok := t.top[path]; ok && old != value {
		t.leave(s, d, "it is one value for the whole server here, and given at "+t.topAt[path]+" already")
		return
	}
	t.top[path], t.topAt[path] = value, d.place.String()
}

// read reads a whole configuration, or a part of one that another would include.
func (t *translator) read(list []directive) {
	var servers []directive
	for _, d := range t.flat(list) {
		if d.name == "server" {
			servers = append(servers, d)
			continue
		}
		t.apply(t.main, &d)
	}
	for i := range servers {
		t.readServer(&servers[i])
	}
	for _, s := range t.servers {
		if _, said := s.settings["access_log"]; !said {
			t.remarks = append(t.remarks, Note{s.place.String(), "server", "it has no access_log: nginx writes one in any case, fserve does not"})
			break
		}
	}
}

// flat puts what is in http beside what is around it.
func (t *translator) flat(list []directive) (out []directive) {
	for _, d := range list {
		switch d.name {
		case "http":
			out = append(out, d.block...)
		case "events":
		case "stream", "mail":
			t.leave(t.main, &d, "fserve speaks HTTP only")
		default:
			out = append(out, d)
		}
	}
	return out
}

// apply puts a directive into effect in a scope.
func (t *translator) apply(s *scope, d *directive) {
	if do := handlers[d.name]; do != nil {
		if len(d.args) == 0 && d.name != "internal" && d.name != "types" {
			t.leave(s, d, "it has no value")
			return
		}
		do(t, s, d)
		return
	}
	if slices.Contains(silent, d.name) {
		return
	}
	t.leave(s, d, whyNot(d.name))
}

func (t *translator) readServer(d *directive) {
	srv := &host{scope: *newScope(t.main), place: d.place}
	srv.server = srv
	t.servers = append(t.servers, srv)
	for i := range d.block {
		if d.block[i].name == "location" {
			continue
		}
		t.apply(&srv.scope, &d.block[i])
	}
	t.checkLinks(&srv.scope)
	t.checkReferers(&srv.scope)
	a := srv.answers
	if a["redirect"] == nil && a["respond"] == nil && a["closed"] == nil { // these come before locations
		t.locations(&srv.scope, d.block)
	}
	srv.arrangePlaces()
	if len(srv.listens) == 0 {
		srv.listens = []listen{{address: "0.0.0.0:80"}}
	}
}

// locations reads those of a server or of another location. They stand beside each other in fserve;
// / is the server itself.
func (t *translator) locations(s *scope, list []directive) {
	for i := range list {
		d := &list[i]
		if d.name != "location" {
			continue
		}
		l := newScope(s)
		if !t.matchOf(s, l, d) {
			continue
		}
		if l.match == "/" && s == &s.server.scope {
			t.whole(s, d)
			continue
		}
		for j := range d.block {
			if d.block[j].name != "location" {
				t.apply(l, &d.block[j])
			}
		}
		t.checkLinks(l)
		t.checkReferers(l)
		if l.settings["internal"] == true {
			l.answers["respond"] = "404"
		}
		t.locations(l, d.block)
		host := &s.server.scope
		if !t.means(l) {
			host.notes = append(host.notes, l.notes...)
			continue
		}
		host.places = append(host.places, l)
		if rest := l.beside(d); rest != nil {
			host.places = append(host.places, rest)
		}
	}
}

// whole reads location / into its server. Other locations of the server do not take it over in
// nginx; what they say instead is found when they are written.
func (t *translator) whole(s *scope, d *directive) {
	root := newScope(s)
	root.prefix = "/"
	for j := range d.block {
		if d.block[j].name != "location" {
			t.apply(root, &d.block[j])
		}
	}
	t.checkLinks(root)
	t.checkReferers(root)
	if dir, ok := root.answers["alias"]; ok { // of the whole path it is the root
		root.settings["root"] = dir
		delete(root.answers, "alias")
	}
	s.notes = append(s.notes, root.notes...)
	maps.Copy(s.answers, root.answers)
	s.server.whole = root.settings
	t.locations(root, d.block)
}

// means reports whether a location keeps anything of what it says: without it the server answers.
func (t *translator) means(l *scope) bool {
	return len(l.answers) > 0 || len(l.began) > 0 || len(l.notes) == 0
}
