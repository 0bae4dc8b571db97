package site

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/release"
)

// Compiler makes Sets for one server after another, and remembers what they share:
// open roots, and keys of caches. One goroutine at a time may Compile.
type Compiler struct {
	Log       *slog.Logger                // of what happens to roots while they are open; nil: slog.Default
	AccessLog *record.AccessLog           // of places that name none; nil: none
	Logs      *record.Logs                // opens those that places name
	Handler   bool                        // the Sets are for a Handler, which can read from an FS
	Trial     bool                        // the Sets are looked at only: no access log is opened
	Listeners []Listener                  // that Find is asked about, by index
	Identity  auth.Config                 // how requests prove who asks, in the next Set
	Releases  map[string]*release.Release // by name, likewise
	opener    auth.Opener
	roots     rootSet
	passwords map[string]*auth.File // of the last Set; by path
	nextSpace uint64                // see space
}

// listingPage is the default of Site.ListingPage.
const listingPage = 1000

// compilation is the making of one Set.
type compilation struct {
	*Compiler
	out    *Set
	before *Set // whose spaces are taken over; nil: there are none
	users  map[string]*auth.File
	faults []error

	targets   map[string]record.Target // of access logs, by file
	redirects []redirecting
}

// Compile checks what is said about hosts, opens the roots and returns the Set, retained
// once. base, whose names are not looked at, is for the requests that none of hosts
// is for. The files of before, which may be nil, stay good in caches where the new
// Set has them too. The error names every fault.
func (c *Compiler) Compile(base Host, hosts []Host, before *Set) (*Set, error) {
	b := &compilation{Compiler: c, before: before, users: make(map[string]*auth.File), targets: make(map[string]record.Target), out: &Set{
		keys: make(map[string]bool), spaces: make(map[space]string), open: &c.roots,
	}}
	b.out.Retain()
	b.identity()
	whole := b.host("", &base, nil)
	whole.whole.Astray = base.Root == "" && base.Release == "" && base.FS == nil && len(hosts) > 0 && !whole.whole.Answers
	b.tables(whole, hosts)
	for i := range hosts {
		b.named(&hosts[i], whole.whole.pages)
	}
	b.checkLoops()
	if len(b.out.places) == 1 {
		b.out.only = whole.whole
	}
	if err := errors.Join(b.faults...); err != nil {
		b.out.Release()
		return nil, err
	}
	c.passwords = b.users
	return b.out, nil
}

// fault notes what is wrong, with the place that it is wrong in.
func (b *compilation) fault(where string, err error) {
	if err == nil {
		return
	}
	if where != "" {
		err = fmt.Errorf("%s: %w", where, err)
	}
	b.faults = append(b.faults, err)
}

// Fault is something that is wrong with the files of a host or a location.
type Fault struct {
	// Host is the first name of the host; empty: what no host is for.
	Host string
	// Match is that of the location; empty: it is the host.
	Match string
	// Key is what names the file: root, alias, error_pages[STATUS]; of package server also
	// tls.cert.
	Key string
	// Err says what is wrong with it.
	Err error
}

func (f *Fault) Error() string {
	text := f.Err.Error()
	for _, where := range []string{f.Key, whereOf(f.Host, f.Match)} {
		if where != "" {
			text = where + ": " + text
		}
	}
	return text
}

func (f *Fault) Unwrap() error { return f.Err }

// named compiles a host with names. outer are the error pages around it.
func (b *compilation) named(h *Host, outer map[int]*ErrorPage) {
	if len(h.Names) == 0 {
		b.fault("", errors.New("a host needs a name"))
		return
	}
	v := b.host(h.key(), h, outer)
	b.out.hosts = append(b.out.hosts, v)
	tables := b.tablesOf(h)
	for i, name := range h.Names {
		same, err := CheckHostName(name)
		if err != nil {
			b.fault("host", err)
			continue
		}
		if i == 0 {
			v.name = cmp.Or(h.ID, same)
		}
		for _, t := range tables {
			if !t.add(same, v) {
				b.fault("host "+name, errors.New("there is a host of this name already"))
				break
			}
		}
	}
	for _, t := range tables {
		if h.Default && !t.setBase(v) {
			b.faults = append(b.faults, &Fault{h.key(), "", "default", fmt.Errorf("host %s is the default already", t.base.name)})
			break
		}
	}
}

// host compiles a host with its locations. outer are the error pages around it.
func (b *compilation) host(name string, h *Host, outer map[int]*ErrorPage) *vhost {
	v := &vhost{name: name, names: h.Names, isDefault: h.Default || name == ""}
	v.whole = b.versions(v, &Location{Site: h.Site}, match{text: "/"}, outer)
	for i := range h.Locations {
		l := &h.Locations[i]
		m, err := parseMatch(l.Match)
		if err != nil {
			b.faults = append(b.faults, &Fault{name, l.Match, "", err})
			continue
		}
		if !v.add(m, b.versions(v, l, m, v.whole.pages)) {
			b.fault(whereOf(name, l.Match), errors.New("there is such a location already"))
		}
	}
	v.sortPrefixes()
	return v
}

// whereOf names a place in errors.
func whereOf(host, match string) string {
	var parts []string
	if host != "" {
		parts = append(parts, "host "+host)
	}
	if match != "" {
		parts = append(parts, "location "+match)
	}
	return strings.Join(parts, ": ")
}

// place compiles a location, or what of a host has none.
func (b *compilation) place(host *vhost, l *Location, m match, outer map[int]*ErrorPage) *Place {
	l = l.private(b.Identity.Links.Cookie != "")
	where, s := whereOf(host.name, l.Match), &l.Site
	p := &Place{
		set: b.out, host: host, skip: 1, first: m.kind == matchFirst, Index: s.Index,
		Precompressed: s.Precompressed, Listing: s.Listing, ListingPage: cmp.Or(s.ListingPage, listingPage), pages: outer,
	}
	if err := p.alias(l, m); err != nil {
		b.faults = append(b.faults, l.rootFault(host.name, err))
	}
	if s.ListingPage < 0 {
		b.fault(where, fmt.Errorf("a page of a listing cannot have %d entries", s.ListingPage))
	}
	b.openRoot(p, l, where)
	var err error
	p.Policy, err = httpfile.NewPolicy(s.Files)
	b.fault(where, err)
	p.headers, err = compileHeaders(s.Headers)
	b.fault(where, err)
	p.HSTS, err = compileHSTS(s)
	b.fault(where, err)
	b.out.room = max(b.out.room, p.headers.room())
	b.fault(where, p.compileIndex())
	p.writes = openfile.Policy{Consistency: s.Consistency, Wait: s.WriteWait, Hashed: s.ContentTags}
	p.growing, err = compileGrowing(s.Growing)
	b.fault(where, err)
	b.guard(p, l, where)
	if s.Class != "" {
		p.Class = []byte(s.Class)
		if s.Class[0] != '/' {
			b.fault(where, fmt.Errorf("class %q is not a path", s.Class))
		}
		if b.Handler {
			b.fault(where, fmt.Errorf("class %q has no effect in a Handler: use engine.SetFlow", s.Class))
		}
	}
	b.answers(p, l, m)
	b.logging(p, l)
	b.pages(p, l)
	p.found = p
	b.out.places = append(b.out.places, p)
	return p
}

// alias puts the root into the place of what the location matches.
func (p *Place) alias(l *Location, m match) error {
	switch {
	case !l.Alias:
	case m.kind == matchPrefix, m.kind == matchFirst:
		p.prefix, p.skip = m.text, len(m.text)
	case m.kind == matchExact && m.text[len(m.text)-1] != '/':
		p.file = filepath.Base(l.Root)
	default:
		return errors.New("an alias is for a prefix, or for the path of one file (=): write root")
	}
	return nil
}

// logging finds out where the lines of a place go.
func (b *compilation) logging(p *Place, l *Location) {
	s := &l.Site
	if b.Handler && (s.AccessLog != record.Target{} || s.NoAccessLog || s.LogSample != 0) {
		b.fault(whereOf(p.host.name, l.Match), errors.New("an access log has no effect in a Handler: the server that calls it logs"))
		return
	}
	if s.NoAccessLog {
		return
	}
	p.Logging = record.Logging{Log: b.AccessLog, Sample: cmp.Or(s.LogSample, 1)}
	if s.AccessLog.File == "" {
		return
	}
	err := s.AccessLog.Check()
	if t, ok := b.targets[s.AccessLog.File]; ok && t != s.AccessLog {
		err = cmp.Or(err, fmt.Errorf("access log: %s has another format elsewhere", t.File))
	}
	b.targets[s.AccessLog.File] = s.AccessLog
	switch {
	case err != nil || b.Trial:
	case b.Logs == nil:
		err = errors.New("access log: Config.AccessLogs is missing, which opens it")
	default:
		p.Logging.Log, err = b.Logs.Open(s.AccessLog)
	}
	if err != nil {
		b.faults = append(b.faults, &Fault{p.host.name, l.Match, "access_log.file", err})
	}
}

// compileGrowing compiles patterns; nil: there are none.
func compileGrowing(patterns []string) (*httpfile.Rules, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	rules := make([]httpfile.Rule, len(patterns))
	for i, p := range patterns {
		rules[i] = httpfile.Rule{Match: p, Value: "growing"}
	}
	return httpfile.CompileRules("growing", rules)
}

// compileIndex checks the names that are tried in a directory.
func (p *Place) compileIndex() error {
	if len(p.Index) == 0 {
		p.Index = []string{"index.html"}
	}
	var faults []error
	for _, name := range p.Index {
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, "/") {
			faults = append(faults, fmt.Errorf("index %q is not a file name", name))
		}
	}
	return errors.Join(faults...)
}

// openRoot opens the root of a place and gives its files their keys.
func (b *compilation) openRoot(p *Place, l *Location, where string) {
	if l.FS != nil {
		p.FS = l.FS
		b.fault(where, l.checkFS(b.Handler))
		return
	}
	if l.Root == "" {
		if l.Match != "" && l.Redirect == (Redirect{}) && l.Respond == (Respond{}) {
			b.fault(where, errors.New("a location needs a root"))
		}
		return
	}
	dir := l.Root
	if p.file != "" {
		dir = filepath.Dir(dir)
	}
	root, err := b.roots.get(dir, l.Symlinks, cmp.Or(b.Log, slog.Default()))
	if err == nil && p.file != "" {
		err = isFile(root.Root, p.file)
	}
	if err != nil {
		b.faults = append(b.faults, l.rootFault(p.host.name, err))
		return
	}
	if slices.Contains(b.out.roots, root) {
		b.roots.release(root) // it is retained already
	} else {
		b.out.roots = append(b.out.roots, root)
	}
	p.Root = root.Root
	p.key = b.space(space{root: root, was: root.was.Load(), host: p.host.name, match: l.Match, alias: l.Alias, file: p.file})
	b.out.keys[p.key] = true
	b.out.keys[p.pageKey()] = true
}

// space returns what the keys of a space begin with: what they did before, or a
// number that no other had. The first has nothing, so that the key of a file is
// its path where there is one root.
func (b *compilation) space(id space) string {
	key, ok := "", false
	if b.before != nil {
		key, ok = b.before.spaces[id]
	}
	if !ok && b.nextSpace > 0 {
		key = strconv.FormatUint(b.nextSpace, 10)
	}
	if !ok {
		b.nextSpace++
	}
	b.out.spaces[id] = key
	return key
}

// answers compiles what answers in place of the file of the path.
func (b *compilation) answers(p *Place, l *Location, m match) {
	fault := func(key string, err error) {
		if err != nil {
			b.faults = append(b.faults, &Fault{p.host.name, l.Match, key, err})
		}
	}
	var err error
	p.redirect, err = compileRedirect(l.Redirect, m.pattern, !p.host.isDefault)
	fault("redirect", err)
	p.respond, err = compileRespond(l.Respond, p.Policy)
	fault("respond", err)
	var at int
	p.Try, at, err = p.attempts(l.Try)
	fault(fmt.Sprintf("try[%d]", at), err)
	if p.respond != nil && len(l.Try) > 0 {
		fault("try", errors.New("respond answers everything: nothing is tried"))
	}
	p.Answers = p.redirect != nil || p.respond != nil
	if p.redirect != nil {
		b.redirects = append(b.redirects, redirecting{p, p.host.name, l.Match, m})
	}
}

// redirecting is a place that redirects.
type redirecting struct {
	*Place
	hostName, name string // as Fault has them
	match
}

// checkLoops finds redirects that lead back to where they began, or on for ever.
func (b *compilation) checkLoops() {
	for _, r := range b.redirects {
		path := r.sample()
		if r.host.find([]byte(path)) != r.Place {
			continue // an example of a pattern is not always found
		}
		for _, from := range b.out.samples(r.host) {
			from.Path = []byte(path)
			if way := b.out.loop(from); way != nil {
				b.faults = append(b.faults, &Fault{r.hostName, r.name, "redirect",
					fmt.Errorf("a loop: %s leads to %s, %s, …", path, way[0], way[1])})
				break
			}
		}
	}
}

// sample returns a path that the match takes, mostly.
func (m *match) sample() string {
	switch m.kind {
	case matchExact:
		return m.text
	case matchSuffix:
		return "/x" + m.text
	case matchPattern:
		literal, _ := m.pattern.LiteralPrefix()
		return "/" + strings.TrimPrefix(literal+"x", "/")
	}
	return m.text + "x"
}

// pages checks the error pages of a place: each is there when the configuration
// is taken. One that goes away later is replaced by the short text.
func (b *compilation) pages(p *Place, l *Location) {
	if l.ErrorPages == nil {
		return
	}
	p.pages = make(map[int]*ErrorPage, len(l.ErrorPages))
	for status, page := range l.ErrorPages {
		if err := p.checkPage(status, page); err != nil {
			b.faults = append(b.faults, &Fault{p.host.name, l.Match, fmt.Sprintf("error_pages[%d]", status), fmt.Errorf("%s: %w", page.Path, err)})
			continue
		}
		p.pages[status] = &ErrorPage{
			Status: page.Status, Place: p, Path: []byte(page.Path), Key: []byte(p.pageKey() + page.Path), NameAt: len(p.pageKey()) + len("/"),
		}
	}
}

func (p *Place) checkPage(status int, page Page) error {
	name := page.Path
	if !isFailure(status) {
		return errors.New("not the status of a failure")
	}
	if page.Status != 0 && page.Status != httpfile.StatusOK && !isFailure(page.Status) {
		return fmt.Errorf("status %d: 200 or that of a failure is needed", page.Status)
	}
	if !CleanPath(name) || name[len(name)-1] == '/' {
		return errors.New("not an absolute path of a file below the root")
	}
	if p.FS != nil {
		return isFileIn(p.FS, name[1:])
	}
	if p.Root == nil {
		return errors.New("error pages need a root")
	}
	return isFile(p.Root, name[1:])
}

// isFile reports what is wrong with a file that the configuration names.
func isFile(root *openfile.Root, name string) error {
	o := root.Open(name, false)
	if o.Err != 0 {
		return o.Err
	}
	if o.FD < 0 {
		return errors.New("not a regular file")
	}
	return syscall.Close(int(o.FD))
}

// CleanPath reports whether path is one that a request could have: a root or what
// lies below it, normalised. A slash at the end asks for the index.
func CleanPath(path string) bool {
	name, ok := strings.CutPrefix(path, "/")
	return ok && (name == "" || name != "." && fs.ValidPath(strings.TrimSuffix(name, "/")))
}
