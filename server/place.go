package server

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// sites is a compiled configuration of all hosts. It does not change: a new one
// takes its place (see Server.Swap).
//
// A loop's session uses the sites that it was given last; those are kept by the
// Server until all loops have left them. A task holds the sites of the request
// that it was started for, until it is done. When nobody holds them their roots
// are closed, unless later sites have them too.
type sites struct {
	only   *place            // the default host, if there is nothing else; nil: there is
	base   *vhost            // the default host
	exact  map[string]*vhost // by name
	wild   map[string]*vhost // by what follows the star: ".example.com"
	places []*place
	hosts  []*vhost        // those with names
	room   int             // bytes that the lines of header rules can add to a head
	keys   map[string]bool // beginnings of the keys in the cache of files
	spaces map[space]string

	refs  atomic.Int32
	roots []*sharedRoot // each is held
}

// vhost is a compiled Host.
type vhost struct {
	name    string // as in CheckHostName; empty: the default host
	whole   *place // what no location is for
	byPath  map[string]*place
	lengths []int // of the prefixes, falling
}

// place is a compiled Location, or what of a Host has none.
type place struct {
	site   *sites
	row    int          // of the responses of its host; see hostRows
	prefix string       // "/" for a host
	root   *engine.Root // nil: there are no files
	// key begins the keys that the files of the place have in the cache, so that
	// those of several roots can be told apart: a number, or nothing, before the
	// slash that begins the path.
	key string
	// cut is where in such a key the name to open begins, and skip where it does
	// in the path.
	cut, skip int

	policy        *httpfile.Policy
	index         []string
	precompressed bool
	listing       bool
	headers       *headerRules       // nil: none
	pages         map[int]*errorPage // by status; nil: none
	access        *Access            // nil: everybody
	class         []byte             // nil: by the path of the request
	astray        bool               // no host was configured for the request
}

// find returns the place of a request. path is normalised; buf is scratch memory.
func (t *sites) find(buf *[]byte, host, path []byte) *place {
	return t.host(buf, host).find(path)
}

// host returns the host of a name as it was sent. It does not allocate, but for
// IPv6 literals.
func (t *sites) host(buf *[]byte, host []byte) *vhost {
	if len(t.exact)+len(t.wild) == 0 {
		return t.base
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

// find returns the place with the longest prefix.
func (h *vhost) find(path []byte) *place {
	for _, n := range h.lengths {
		if n > len(path) {
			continue
		}
		if p := h.byPath[string(path[:n])]; p != nil {
			return p
		}
	}
	return h.whole
}

// below reports whether a path with a slash added is the prefix of a location.
func (h *vhost) below(path []byte) bool {
	if len(h.byPath) == 0 || path[len(path)-1] == '/' {
		return false
	}
	return h.byPath[string(path)+"/"] != nil
}

// sortPrefixes makes the lengths that find looks for.
func (h *vhost) sortPrefixes() {
	for prefix := range h.byPath {
		h.lengths = append(h.lengths, len(prefix))
	}
	slices.SortFunc(h.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	h.lengths = slices.Compact(h.lengths)
}

// name returns what is to be opened for a key of the cache.
func (p *place) name(key string) string {
	if name := key[p.cut:]; name != "" {
		return name
	}
	return "."
}

// path returns the path of a key.
func (p *place) path(key []byte) []byte { return key[len(p.key):] }

// dir returns the name to open of a path that ends with a slash.
func (p *place) dir(path string) string {
	if name := path[p.skip:]; name != "" {
		return name[:len(name)-1]
	}
	return "."
}

func (t *sites) hold() { t.refs.Add(1) }

// release lets go of sites; the last one who does closes the roots.
func (t *sites) release(all *rootSet) {
	if t.refs.Add(-1) > 0 {
		return
	}
	for _, r := range t.roots {
		all.release(r)
	}
}

// sharedRoot is an open root that several places and sites may have.
type sharedRoot struct {
	*engine.Root
	id   rootID
	refs int // guarded by rootSet.mu
}

// rootID tells roots apart. While one is open no other directory can have its
// inode.
type rootID struct {
	dir      string
	links    engine.Symlinks
	dev, ino uint64
}

// rootSet are the open roots of a Server.
type rootSet struct {
	mu   sync.Mutex
	open map[rootID]*sharedRoot
}

// get opens a directory, or returns the root that is open already for it. The
// caller holds it.
func (s *rootSet) get(dir string, links engine.Symlinks) (*sharedRoot, error) {
	root, err := engine.OpenRoot(dir, links)
	if err != nil {
		return nil, err
	}
	id := rootID{dir: dir, links: links}
	st, e := root.Stat(".")
	if e != 0 {
		_ = root.Close()
		return nil, e
	}
	id.dev, id.ino = st.Dev, st.Ino
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.open[id]
	if r != nil {
		err = root.Close()
	} else {
		r = &sharedRoot{Root: root, id: id}
		if s.open == nil {
			s.open = make(map[rootID]*sharedRoot)
		}
		s.open[id] = r
	}
	r.refs++
	return r, err
}

// release closes a root that nobody holds any more.
func (s *rootSet) release(r *sharedRoot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.refs--; r.refs == 0 && s.open[r.id] == r {
		delete(s.open, r.id)
		_ = r.Close() // O_PATH: there is nothing that could fail
	}
}
