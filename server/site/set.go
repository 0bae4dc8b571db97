package site

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/record"
)

// Set is a compiled configuration of all hosts. It is immutable: a new one takes its
// place. It may be used by any goroutine that has retained it, or for which somebody has.
// When it is released as often, its roots are closed unless another Set has them too.
type Set struct {
	only      *Place  // the default host, if there is nothing else; nil: there is
	all       table   // of hosts that answer everywhere
	at        []table // by listener; nil: all of them do
	places    []*Place
	hosts     []*vhost // those with names
	listeners []Listener
	room      int             // bytes that the lines of header rules can add to a head
	keys      map[string]bool // beginnings of the keys in the cache of files
	spaces    map[space]string

	methods *auth.Methods

	refs  atomic.Int32
	roots []*sharedRoot // each is retained
	open  *rootSet      // that the roots are of
}

// vhost is a compiled Host.
type vhost struct {
	name      string // as in CheckHostName; empty: the default host
	names     []string
	whole     *Place // what no location is for
	row       int    // see Set.Number
	isDefault bool   // for names that no host has

	// Locations by what they match; nil: there are none.
	exact, byPrefix, suffixes map[string]*Place
	patterns                  []pattern // in the order in which they are asked
	lengths                   []int     // of the prefixes, falling
	begins                    [4]uint64 // bits of the bytes that follow the slash in prefixes
}

// Bound reports whether hosts answer at some listeners only, so that Find must know which.
func (t *Set) Bound() bool { return t.at != nil }

// Default returns the place of the requests of which no host is known, at a listener; see Find.
func (t *Set) Default(at int) *Place { return t.table(at).base.whole }

// Find returns the place of a request: for a normalised path, or if it is nil that of
// the host as a whole. at is its listener, by its index in Compiler.Listeners; another number
// stands for one that no host is bound to. host is as it was sent. Find does not allocate, but for
// IPv6 literals.
func (t *Set) Find(last *LastHost, at int, host, path []byte) *Place {
	if t.only != nil {
		return t.only
	}
	return last.find(t.table(at), host).find(path)
}

// Methods returns how requests prove who asks.
func (t *Set) Methods() *auth.Methods { return t.methods }

// Room returns how much the lines of header rules can add to a head, in bytes.
func (t *Set) Room() int { return t.room }

// HasKey reports whether a key of a cache is of one of the places.
func (t *Set) HasKey(key string) bool {
	slash := strings.IndexByte(key, '/')
	return slash >= 0 && t.keys[key[:slash]]
}

// Names returns the first name of each host that has one.
func (t *Set) Names() []string {
	var names []string
	for _, h := range t.hosts {
		names = append(names, h.name)
	}
	return names
}

// Number sets the rows in which the responses of the hosts are counted, in the order
// of Names. It is called before anybody else has the Set.
func (t *Set) Number(rows []int) {
	for i, h := range t.hosts {
		h.row = rows[i]
	}
	for _, p := range t.places {
		p.Row = p.host.row
	}
}

// Roots returns the open roots by the directory that was configured.
func (t *Set) Roots() iter.Seq2[string, *openfile.Root] {
	return func(yield func(string, *openfile.Root) bool) {
		for _, r := range t.roots {
			if !yield(r.id.dir, r.Root) {
				return
			}
		}
	}
}

// below reports whether a path with a slash added is the prefix of a location.
func (h *vhost) below(path []byte) bool {
	if len(h.byPrefix) == 0 || path[len(path)-1] == '/' {
		return false
	}
	return h.byPrefix[string(path)+"/"] != nil
}

// sortPrefixes makes the lengths that find looks for.
func (h *vhost) sortPrefixes() {
	for prefix := range h.byPrefix {
		h.lengths = append(h.lengths, len(prefix))
		h.begins[prefix[1]/64] |= 1 << (prefix[1] % 64)
	}
	slices.SortFunc(h.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	h.lengths = slices.Compact(h.lengths)
}

// Retain keeps the roots open until Release. The caller must have retained the Set already, or
// be the one for whom somebody does.
func (t *Set) Retain() { t.refs.Add(1) }

// Release ends a Retain; the last one closes the roots.
func (t *Set) Release() {
	if t.refs.Add(-1) > 0 {
		return
	}
	for _, r := range t.roots {
		t.open.release(r)
	}
}

// space is what has files of its own in the caches: the same file under two
// places has two heads.
type space struct {
	root        *sharedRoot
	was         uint64 // of root, when the space was made
	host, match string
	alias       bool
	file        string // see Place.file
}

// Logs returns the access logs that places of the Set have.
func (t *Set) Logs() map[*record.AccessLog]bool {
	m := make(map[*record.AccessLog]bool)
	for _, p := range t.places {
		if p.Logging.Log != nil {
			m[p.Logging.Log] = true
		}
	}
	return m
}
