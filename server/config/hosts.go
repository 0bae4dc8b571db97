package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// Host is a site of its own, found by the name that a request is for.
type Host struct {
	// Names are further names of the host; *.example.com stands for all names that
	// end with .example.com. An exact name wins over a pattern, a longer pattern over
	// a shorter one. Default: none.
	Names []string `key:"names"`
	// Listen are those of listen and tls.listen, written as there, at which the host answers.
	// Elsewhere it is as if it were not there. Default: all, or of a key with a port (NAME:PORT,
	// which stands beside other hosts of the name) those of the port.
	Listen []string `key:"listen"`
	// Default makes the host answer, where it listens, the requests that no other host is for,
	// and gives its certificate to clients that name none. Default: false.
	Default bool `key:"default"`
	// Root is the directory that is served. Default: the root above.
	Root string `key:"root" file:"dir"`
	// Release is the name of one of releases, in place of root. Default: the release above, if there is
	// no root here.
	Release string `key:"release"`
	// TLS is the certificate for clients that name the host in the handshake, with its key:
	// {cert: FILE, key: FILE}, or a list of them, of which a client gets the first that it can
	// use. Default: that of tls.
	TLS []KeyPair `key:"tls"`
	// HSTS is as hsts above; off takes it back. Default: that above.
	HSTS *HSTS `key:"hsts"`
	Own
	// Locations are parts of the host, as locations above are. Those are not taken
	// over. Default: none.
	Locations map[string]Location `key:"locations"`
}

// Location is a part of a host: the paths that its key matches.
type Location struct {
	// Root is the directory in which the paths of the location are: below /dl/, /dl/f
	// is ROOT/dl/f. Default: the root of the host.
	Root string `key:"root" file:"dir"`
	// Alias is the directory that takes the place of a prefix: below /dl/, /dl/f is
	// ALIAS/f. Of a single path (= /x) it is the file. Default: none, it is the root that
	// counts.
	Alias string `key:"alias" file:"file"`
	// Release is the name of one of releases, in place of root and alias. Default: that of the host, if
	// there is neither here.
	Release string `key:"release"`
	// Order is the turn of a pattern (~) among those of the host: the lowest is asked
	// first. Default: that of the files, counted from 1.
	Order int `key:"order"`
	Own
}

// counted implements counter.
func (l *Location) counted(key string, n int) {
	if l.Order == 0 && strings.HasPrefix(key, "~") {
		l.Order = n
	}
}

// Own is what a host or a location may say of its own. What it leaves out is as it
// is around it: a location takes it from its host, a host from what is above.
type Own struct {
	Files
	Access
	Answers
	// Class is the path by which responses find their class of limits.paths, in place
	// of the path of the request. Default: that around it, or the path of the request.
	Class string `key:"class"`
	// AccessLog is the access log of what is answered here. Default: that around it.
	AccessLog AccessLog `key:"access_log"`
}

// Answers is what answers in place of the file of a path. Nothing of it is taken over by hosts
// and locations.
type Answers struct {
	// Redirect is where requests are sent, URL or STATUS URL: https://example.com{uri}. The
	// status is 301, 302, 303, 307 or 308. {uri} stands for path and query, {path} for the
	// path, {query} for the query, {scheme} for http or https, {host} for the name of a host
	// that has one, {1} for the first capture of a pattern. What would lead to where the
	// request is does not happen. Default: none.
	Redirect Redirect `key:"redirect" flag:"redirect" live:"yes" help:"[STATUS ]URL: where requests are sent, like 'https://example.com{uri}' or '301 /new{uri}'" own:"As redirect above. Default: none."`
	// Respond is an answer to all requests that needs no file, STATUS or STATUS BODY: 200 ok.
	// A failure without body has its error page. Default: none.
	Respond Respond `key:"respond" flag:"respond" live:"yes" help:"STATUS[ BODY]: answer to all requests, like '200 ok' or '503'" own:"As respond above. Default: none."`
	// Try is what is looked for in place of the path, in order: $uri (the path, if it is a
	// file), $uri/ (if it is a directory), $uri.html, /path. The last may be a path, which is
	// answered as if it had been asked for, or a status: =404. Default: none, the path alone.
	Try []string `key:"try" flag:"try" live:"yes" help:"what is looked for in place of the path, in order: '$uri', '$uri/', '$uri.html', /path, =STATUS; repeatable" own:"As try above. Default: none."`
}

// answer reports whether requests are answered without files.
func (a *Answers) answer() bool { return a.Redirect != (Redirect{}) || a.Respond != (Respond{}) }

// setting is what counts for a host or a location, with all that it has from around
// it. Its error pages are its own: the server takes those around it by itself, since
// they are below the root there.
type setting struct {
	root, hsts, release string
	Own
}

func (c *Config) setting() setting {
	return setting{c.Root, c.HSTS.value(), c.Release, Own{Files: c.Files, Access: c.Access, Answers: c.Answers, AccessLog: c.AccessLog}}
}

// with returns the setting of a host or a location inside, which has a root or a release, and o of
// its own.
func (s setting) with(root, release string, o *Own) setting {
	if root+release != "" {
		s.root, s.release = root, release
	}
	s.Class = cmp.Or(o.Class, s.Class)
	s.Files = leftOut(o.Files, s.Files)
	s.ErrorPages, s.Answers = o.ErrorPages, o.Answers
	s.AccessLog = o.AccessLog.within(s.AccessLog)
	s.Access = o.Access.within(s.Access)
	return s
}

// leftOut returns own with everything that it leaves out as it is around it.
func leftOut[T Files | Access](own, around T) T {
	v, outer := reflect.ValueOf(&own).Elem(), reflect.ValueOf(around)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			v.Field(i).Set(outer.Field(i))
		}
	}
	return own
}

// complete returns own with zero values for the single values that it leaves out.
func complete[T Files | Access](own T) T {
	v := reflect.ValueOf(&own).Elem()
	for i := range v.NumField() {
		if e := v.Field(i); e.Kind() == reflect.Pointer && e.IsNil() {
			e.Set(reflect.New(e.Type().Elem()))
		}
	}
	return own
}

// site returns the setting as a server has it.
func (s *setting) site() server.Site {
	out := server.Site{
		Root: s.root, Release: s.release, Symlinks: *s.Symlinks, Index: s.Index, Files: s.Files.policy(),
		Precompressed: *s.Precompressed, Listing: *s.Listing, ListingPage: *s.ListingPage,
		Consistency: *s.Consistency, WriteWait: time.Duration(*s.BeingWritten), ContentTags: *s.ETag == ETagContent, Growing: s.Growing,
		Class: s.Class, HSTS: s.hsts,
	}
	out.Redirect, out.Respond, out.Try = server.Redirect(s.Redirect), server.Respond(s.Respond), s.Try
	if s.ErrorPages != nil {
		out.ErrorPages = make(map[int]server.Page, len(s.ErrorPages))
	}
	for status, page := range s.ErrorPages {
		out.ErrorPages[status] = server.Page{Path: page.Page, Status: page.Status}
	}
	s.AccessLog.log(&out)
	s.Access.into(&out)
	for _, h := range s.Headers {
		out.Headers = append(out.Headers, server.HeaderRule(h))
	}
	return out
}

func (f *Files) policy() httpfile.Config {
	p := httpfile.Config{Server: *f.ServerField, DownloadParam: *f.DownloadParam, Dotfiles: *f.Dotfiles, ContentTypes: f.Types, DefaultType: *f.DefaultType,
		MaxRanges: *f.MaxRanges, RefuseEncodedSlash: *f.EncodedSlash == EncodedSlashRefuse, Compress: f.Compress.policy()}
	for _, r := range f.CacheControl {
		p.CacheControl = append(p.CacheControl, httpfile.Rule(r))
	}
	for _, pattern := range f.Attachment {
		p.Disposition = append(p.Disposition, httpfile.Rule{Match: pattern, Value: attachment})
	}
	return p
}

// locations returns those of a host with a setting.
func (s *setting) locations(m map[string]Location) (list []server.Location) {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[a].Order, m[b].Order), cmp.Compare(a, b)) })
	for _, key := range keys {
		l := m[key]
		own := s.with(cmp.Or(l.Alias, l.Root), l.Release, &l.Own)
		list = append(list, server.Location{Match: key, Alias: l.Alias != "", Site: own.site()})
	}
	return list
}

// hosts returns the hosts with names.
func (c *Config) hosts() (list []server.Host) {
	above := c.setting()
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		h := c.Hosts[name]
		own := above.with(h.Root, h.Release, &h.Own)
		if h.HSTS != nil {
			own.hsts = h.HSTS.value()
		}
		name, id := nameOf(name)
		list = append(list, server.Host{
			Names: append([]string{name}, h.Names...), ID: id, Listen: c.listensOf(id, &h), Default: h.Default,
			Site: own.site(), Locations: own.locations(h.Locations),
		})
	}
	return list
}

// nameOf returns the name in the key of a host, and the key if it has a port, too.
func nameOf(key string) (name, id string) {
	i := strings.LastIndexByte(key, ':')
	if i < 0 || i < strings.LastIndexByte(key, ']') || strings.IndexByte(key, ':') < i && key[0] != '[' {
		return key, ""
	}
	return key[:i], key
}

// listensOf returns where a host listens; id is its key, if that has a port.
func (c *Config) listensOf(id string, h *Host) []string {
	if len(h.Listen) > 0 || id == "" {
		return h.Listen
	}
	list, port := []string{}, id[strings.LastIndexByte(id, ':'):]
	for _, addr := range slices.Concat(c.Listen, c.TLS.Listen) {
		if strings.HasSuffix(addr, port) {
			list = append(list, addr)
		}
	}
	return list
}

// hosts checks the hosts and the locations.
func (v *validator) hosts() {
	v.access("", &v.Access)
	v.hsts("hsts", &v.HSTS)
	v.releases()
	v.named("", v.Release, v.Root)
	v.locations("", v.Root+v.Release, v.Locations)
	seen := make(map[seenName]string)
	for _, key := range slices.Sorted(maps.Keys(v.Hosts)) {
		h := v.Hosts[key]
		path := "hosts[" + key + "]"
		at := v.hostListen(path, key, &h)
		name, _ := nameOf(key)
		v.hostName(seen, at, name, path)
		for i, n := range h.Names {
			v.hostName(seen, at, n, element(path+".names", i))
		}
		v.named(path+".", h.Release, h.Root)
		root := cmp.Or(h.Root+h.Release, v.Root+v.Release)
		if root == "" && !h.answer() {
			v.form(path, "root is missing: there is none above that it could be")
		}
		v.own(path, &h.Own)
		v.hsts(path+".hsts", h.HSTS)
		v.locations(path+".", root, h.Locations)
	}
}

// hostListen checks where a host listens, and returns that, each address once.
func (v *validator) hostListen(path, key string, h *Host) []string {
	all := unique(slices.Concat(v.Listen, v.TLS.Listen))
	for i, addr := range h.Listen {
		if !slices.Contains(all, addr) {
			v.form(element(path+".listen", i), "%q is none of the addresses of listen and tls.listen: %s", addr, strings.Join(slices.Concat(v.Listen, v.TLS.Listen), ", "))
		}
	}
	_, id := nameOf(key)
	at := v.listensOf(id, h)
	switch {
	case len(at) > 0:
		return unique(at)
	case id != "":
		v.form(path, "%q: no listener has this port", key)
	}
	return all
}

// unique returns what is in a list, sorted and each once.
func unique(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// seenName is a name at a listener.
type seenName struct{ name, listen string }

// hostName checks a name, which no host may have already at the listeners.
func (v *validator) hostName(seen map[seenName]string, at []string, name, path string) {
	same, err := server.CheckHostName(name)
	if err != nil {
		v.form(path, "%v", err)
		return
	}
	for _, addr := range at {
		n := seenName{same, addr}
		if first, twice := seen[n]; twice {
			v.form(path, "%q: the host at %s has this name already", name, first)
			return
		}
		seen[n] = path
	}
}

// locations checks those of a host with a root.
func (v *validator) locations(host, root string, m map[string]Location) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		l := m[key]
		path := host + "locations[" + key + "]"
		if err := server.CheckMatch(key); err != nil {
			v.form(path, "%v", err)
		}
		if l.Order != 0 && !strings.HasPrefix(key, "~") {
			v.form(path+".order", "only patterns (~) have an order")
		}
		v.named(path+".", l.Release, l.Root+l.Alias)
		switch {
		case l.Root != "" && l.Alias != "":
			v.form(path+".alias", "there is a root too: which of them is meant?")
		case l.Root+l.Alias+l.Release == "" && root == "" && !l.answer():
			v.form(path, "neither a root nor an alias, and there is no root around it")
		}
		v.own(path, &l.Own)
	}
}

// own checks what a host or a location says of its own.
func (v *validator) own(path string, o *Own) {
	v.files(path, &o.Files)
	v.access(path+".", &o.Access)
	if o.Class != "" && o.Class[0] != '/' {
		v.form(path+".class", "%q is not a path, which limits.paths has", o.Class)
	} else if o.Class != "" && !v.hasClass(o.Class) {
		v.form(path+".class", "%q is in no class of limits.paths; one that limits are set for while the server runs is %s: unlimited", o.Class, o.Class)
	}
}

// hasClass reports whether there is a class for a path.
func (v *validator) hasClass(path string) bool {
	for prefix := range v.Limits.Paths {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}
