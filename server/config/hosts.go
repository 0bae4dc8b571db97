package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
	"github.com/fserve/fserve/server/httpfile"
)

// Host is a site of its own, found by the name that a request is for.
type Host struct {
	// Names are further names of the host; *.example.com stands for all names that
	// end with .example.com. An exact name wins over a pattern, a longer pattern over
	// a shorter one. Default: none.
	Names []string `key:"names"`
	// Root is the directory that is served. Default: the root above.
	Root string `key:"root"`
	Own
	// Locations are parts of the host by prefix, as locations above are. Those are
	// not taken over. Default: none.
	Locations map[string]Location `key:"locations"`
}

// Location is a part of a host: the paths below a prefix.
type Location struct {
	// Root is the directory in which the paths of the location are: below /dl/, /dl/f
	// is ROOT/dl/f. Default: the root of the host.
	Root string `key:"root"`
	// Alias is the directory that takes the place of the prefix: below /dl/, /dl/f is
	// ALIAS/f. Default: none, it is the root that counts.
	Alias string `key:"alias"`
	Own
}

// Own is what a host or a location may say of its own. What it leaves out is as it
// is around it: a location takes it from its host, a host from what is above.
type Own struct {
	// Precompressed is as files.precompressed. Default: that around it.
	Precompressed *bool `key:"precompressed"`
	// Listing is as files.listing. Default: that around it.
	Listing *bool `key:"listing"`
	// Index is as files.index. Default: that around it.
	Index []string `key:"index"`
	// Symlinks is as files.symlinks. Default: that around it.
	Symlinks *engine.Symlinks `key:"symlinks"`
	// Dotfiles is as files.dotfiles. Default: that around it.
	Dotfiles *bool `key:"dotfiles"`
	// ErrorPages is as files.error_pages, of files below this root. Default: those
	// around it, all of them.
	ErrorPages map[int]string `key:"error_pages"`
	// CacheControl is as files.cache_control; patterns are of whole paths, the prefix
	// included. Default: that around it.
	CacheControl []Rule `key:"cache_control"`
	// Attachment is as files.attachment. Default: that around it.
	Attachment []string `key:"attachment"`
	// DownloadParam is as files.download_param. Default: that around it.
	DownloadParam *string `key:"download_param"`
	// Types is as files.types. Default: those around it.
	Types map[string]string `key:"types"`
	// Headers is as files.headers. Default: those around it.
	Headers []HeaderRule `key:"headers"`
	// ServerName is as files.server_name. Default: that around it.
	ServerName *string `key:"server_name"`
	// Allow is as allow above; a host or location that has allow or deny has nothing of those
	// around it. Default: that around it.
	Allow []string `key:"allow"`
	// Deny is as deny above. Default: that around it.
	Deny []string `key:"deny"`
	// Class is the path by which responses find their class of limits.paths, in place
	// of the path of the request. Default: that around it, or the path of the request.
	Class string `key:"class"`
}

// setting is what counts for a host or a location, with all that it has from around
// it.
type setting struct {
	root        string
	files       Files
	pages       map[int]string // nil: those around it
	allow, deny []string
	class       string
}

func (c *Config) setting() setting {
	return setting{root: c.Root, files: c.Files, pages: c.Files.ErrorPages, allow: c.Allow, deny: c.Deny}
}

// with returns the setting of what is inside and says o of its own.
func (s setting) with(root string, o *Own) setting {
	f := &s.files
	replace(&s.root, root)
	take(&f.Precompressed, o.Precompressed)
	take(&f.Listing, o.Listing)
	take(&f.Symlinks, o.Symlinks)
	take(&f.Dotfiles, o.Dotfiles)
	take(&f.DownloadParam, o.DownloadParam)
	take(&f.ServerName, o.ServerName)
	takeList(&f.Index, o.Index)
	takeList(&f.CacheControl, o.CacheControl)
	takeList(&f.Attachment, o.Attachment)
	takeList(&f.Headers, o.Headers)
	if o.Types != nil {
		f.Types = o.Types
	}
	s.pages = o.ErrorPages
	if o.Allow != nil || o.Deny != nil {
		s.allow, s.deny = o.Allow, o.Deny
	}
	replace(&s.class, o.Class)
	return s
}

func replace(v *string, by string) {
	if by != "" {
		*v = by
	}
}

func take[T any](v, by *T) {
	if by != nil {
		*v = *by
	}
}

func takeList[T any](v *[]T, by []T) {
	if by != nil {
		*v = by
	}
}

// site returns what a server answers by.
func (s *setting) site() server.Site {
	f := &s.files
	out := server.Site{
		Root: s.root, Symlinks: f.Symlinks, Index: f.Index, Files: f.policy(),
		Precompressed: f.Precompressed, Listing: f.Listing, ErrorPages: s.pages,
		Access: s.access(), Class: s.class,
	}
	for _, h := range f.Headers {
		out.Headers = append(out.Headers, server.HeaderRule(h))
	}
	return out
}

// access is of networks that Validate has read.
func (s *setting) access() (a server.Access) {
	a.Allow, _ = server.ParseNetworks(s.allow)
	a.Deny, _ = server.ParseNetworks(s.deny)
	return a
}

func (f *Files) policy() httpfile.Config {
	p := httpfile.Config{Server: f.ServerName, DownloadParam: f.DownloadParam, Dotfiles: f.Dotfiles, ContentTypes: f.Types}
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
	for _, prefix := range slices.Sorted(maps.Keys(m)) {
		l := m[prefix]
		own := s.with(l.Root, &l.Own)
		replace(&own.root, l.Alias)
		list = append(list, server.Location{Prefix: prefix, Alias: l.Alias != "", Site: own.site()})
	}
	return list
}

// hosts returns the hosts with names.
func (c *Config) hosts() (list []server.Host) {
	above := c.setting()
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		h := c.Hosts[name]
		own := above.with(h.Root, &h.Own)
		list = append(list, server.Host{
			Names: append([]string{name}, h.Names...), Site: own.site(), Locations: own.locations(h.Locations),
		})
	}
	return list
}

// hosts checks the hosts and the locations.
func (v *validator) hosts() {
	v.access("", v.Allow, v.Deny)
	v.locations("", v.Root, v.Locations)
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(v.Hosts)) {
		h := v.Hosts[name]
		path := "hosts[" + name + "]"
		v.hostName(seen, name, path)
		for i, n := range h.Names {
			v.hostName(seen, n, element(path+".names", i))
		}
		root := v.Root
		replace(&root, h.Root)
		if root == "" {
			v.form(path, "root is missing: there is none above that it could be")
		}
		v.own(path, &h.Own)
		v.locations(path+".", root, h.Locations)
	}
}

// hostName checks a name, which no host may have already.
func (v *validator) hostName(seen map[string]string, name, path string) {
	same, err := server.CheckHostName(name)
	if err != nil {
		v.form(path, "%v", err)
		return
	}
	if first, twice := seen[same]; twice {
		v.form(path, "%q: the host at %s has this name already", name, first)
		return
	}
	seen[same] = path
}

// locations checks those of a host with a root.
func (v *validator) locations(host, root string, m map[string]Location) {
	for _, prefix := range slices.Sorted(maps.Keys(m)) {
		l := m[prefix]
		path := host + "locations[" + prefix + "]"
		switch {
		case !strings.HasPrefix(prefix, "/") || !isNormal(prefix) || strings.HasSuffix(prefix, "/.") || strings.HasSuffix(prefix, "/.."):
			v.form(path, "%q: a prefix is a path as requests have it when they are decoded: it begins with / and has no empty segments, . and ..", prefix)
		case prefix == "/":
			v.form(path, "the location / is the host itself: write what is said of it there")
		case !strings.HasSuffix(prefix, "/"):
			v.form(path, "%q: a location is a directory: write %s/", prefix, prefix)
		}
		switch {
		case l.Root != "" && l.Alias != "":
			v.form(path+".alias", "there is a root too: which of them is meant?")
		case l.Root == "" && l.Alias == "" && root == "":
			v.form(path, "neither a root nor an alias, and there is no root around it")
		}
		v.own(path, &l.Own)
	}
}

// own checks what a host or a location says of its own.
func (v *validator) own(path string, o *Own) {
	f := Files{
		Index: o.Index, ErrorPages: o.ErrorPages, CacheControl: o.CacheControl,
		Attachment: o.Attachment, Types: o.Types, Headers: o.Headers,
	}
	take(&f.DownloadParam, o.DownloadParam)
	take(&f.ServerName, o.ServerName)
	v.files(path, &f)
	v.access(path+".", o.Allow, o.Deny)
	if o.Class != "" && o.Class[0] != '/' {
		v.form(path+".class", "%q is not a path, which limits.paths has", o.Class)
	}
}

// access checks networks.
func (v *validator) access(prefix string, allow, deny []string) {
	for key, list := range map[string][]string{"allow": allow, "deny": deny} {
		for i, n := range list {
			if _, err := server.ParseNetworks([]string{n}); err != nil {
				v.form(element(prefix+key, i), "%v", err)
			}
		}
	}
}
