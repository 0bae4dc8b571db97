package site

import (
	"io/fs"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/release"
)

// Place is a compiled Location, or what of a Host has none. It is immutable once its
// Set is in use.
type Place struct {
	Policy        *httpfile.Policy
	Root          *openfile.Root // nil: there are no files, or FS has them
	FS            fs.FS          // nil: there is a Root, or nothing
	Index         []string       // not empty
	Precompressed bool
	Listing       bool
	ListingPage   int          // entries
	Guard         *admit.Guard // nil: everybody
	Users         *auth.File   // who may answer for Guard.Proof; nil: it is not a password that is asked for
	Wants         auth.Wants   // what else is, before a password
	Challenge     string       // value of WWW-Authenticate, if there are Users
	Bearer        string       // value of WWW-Authenticate, if Wants takes a key or a token
	Class         []byte       // nil: by the path of the request
	Astray        bool         // no host was configured for the request
	Answers       bool         // by Redirect or Respond, before anything else
	Try           []Attempt    // in place of the path itself; nil: that
	Row           int          // of the responses of its host; see Set.Number
	Logging       record.Logging
	// Release chooses for each request the one of Versions that answers it, see release.Index; nil:
	// the place does. One that is a version has its Version.
	Release  *release.Release
	Versions [release.NumVersions]*Place // nil: there is none
	Version  release.Version
	At       release.Index
	// HSTS is the line of Strict-Transport-Security with its CRLF, for encrypted answers; nil: none.
	HSTS []byte

	set   *Set
	host  *vhost
	found *Place // that its paths lead to: itself, or that of which it is a version
	// key begins the keys that the files of the place have in the cache, so that
	// those of several roots can be told apart: a number, or nothing, before the
	// slash that begins the path.
	key string
	// skip is where in a path the name to open begins.
	skip     int
	prefix   string             // that an alias replaces
	file     string             // the only file, below Root; empty: names are of paths
	redirect *redirect          // nil: none
	respond  *respond           // nil: none
	first    bool               // of prefixes: neither suffixes nor patterns are asked
	headers  *headerRules       // nil: none
	writes   openfile.Policy    // of what is not growing
	growing  *httpfile.Rules    // nil: nothing is
	pages    map[int]*ErrorPage // by status; nil: none
}

// Chooses reports whether requests are answered by one of Versions.
func (p *Place) Chooses() bool { return p.Versions[release.Stable] != nil }

// Set returns the Set that the place is of.
func (p *Place) Set() *Set { return p.set }

// AppendKey appends the key of a path in caches: the same path in two places has two.
func (p *Place) AppendKey(dst, path []byte) []byte { return append(append(dst, p.key...), path...) }

// PathOf returns the path that AppendKey has appended.
func (p *Place) PathOf(key []byte) []byte { return key[len(p.key):] }

// PathIn is PathOf for a key of a cache.
func (p *Place) PathIn(key string) string { return key[len(p.key):] }

// PathIsKey reports whether the keys of the place are its paths.
func (p *Place) PathIsKey() bool { return p.key == "" }

// NameAt returns where in a key the name below Root begins.
func (p *Place) NameAt() int { return len(p.key) + p.skip }

// File returns the name below Root of the only file of the place; empty: names are of paths.
func (p *Place) File() string { return p.file }

// Below returns what of a path is below Root.
func (p *Place) Below(path string) string { return path[p.skip:] }

// HostName returns the name that the host of the place has in the configuration; empty: none.
func (p *Place) HostName() string { return p.host.name }

// LeadsToLocation reports whether a path with a slash added is the prefix of a
// location of the host.
func (p *Place) LeadsToLocation(path []byte) bool { return p.host.below(path) }

// Elsewhere reports whether an index file of the place, by its path, is of another place: a
// single path, an extension or a pattern of the host takes it.
func (p *Place) Elsewhere(path []byte) bool {
	h := p.host
	return (h.exact != nil || h.suffixes != nil || h.patterns != nil) && h.find(path) != p.found
}

// GuardedElsewhere reports whether a path of the host is of another place, which does not answer all
// requests.
func (p *Place) GuardedElsewhere(path []byte) bool {
	at := p.host.find(path)
	return at != p.found && at.Guard != nil
}

// Shows reports whether a path of the host is one that anybody gets: it is not hidden, and
// its place does not refuse everybody.
func (p *Place) Shows(path []byte) bool {
	at := p.host.find(path)
	return !at.Policy.Hidden(path) && (at.Guard == nil || !at.Guard.Nobody())
}

// Lines returns the lines of the header rules for a path, each with its CRLF: nil if
// the place has no rules.
func (p *Place) Lines(path string) []byte {
	if p.headers == nil {
		return nil
	}
	return p.headers.lines(path)
}

// ContentTags reports whether tags are made of content.
func (p *Place) ContentTags() bool { return p.writes.Hashed }

// WritePolicy says how the file of a path is treated if somebody writes to it.
func (p *Place) WritePolicy(path []byte) openfile.Policy {
	w := p.writes
	if p.growing != nil {
		for range p.growing.All(string(path)) {
			w.Growing = true
		}
	}
	return w
}

// Respond plans what the place answers without a file, and reports whether there is that. A
// failure without a body of its own is left to the caller.
func (p *Place) Respond(plan *httpfile.Plan, r *httpfile.Request) (status int, planned bool) {
	if p.respond == nil {
		return 0, false
	}
	a := p.respond
	if len(a.body) == 0 && a.status >= httpfile.StatusBadRequest {
		return a.status, false
	}
	plan.Respond(a.status, r, p.Policy, a.typ, a.body)
	return a.status, true
}

// ErrorPage is a file that is the body of failures.
type ErrorPage struct {
	Status int // instead of the failure's; 0: that
	Place  *Place
	Path   []byte
	Key    []byte // of caches
	NameAt int    // where in Key the name below Place.Root begins
}

// ErrorPage returns the page for a status, nil if there is none.
func (p *Place) ErrorPage(status int) *ErrorPage { return p.pages[status] }

// pageKey is key for error pages. With an alias a path means another file there
// than in a request.
func (p *Place) pageKey() string {
	if p.skip > 1 || p.file != "" {
		return p.key + "e"
	}
	return p.key
}
