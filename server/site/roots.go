package site

import (
	"sync"

	"github.com/fserve/fserve/engine/openfile"
)

// sharedRoot is an open root that several places and sites may have.
type sharedRoot struct {
	*openfile.Root
	id   rootID
	refs int // guarded by rootSet.mu
}

// rootID tells roots apart. While one is open no other directory can have its
// inode.
type rootID struct {
	dir      string
	links    openfile.Symlinks
	dev, ino uint64
}

// rootSet are the open roots of a Compiler.
type rootSet struct {
	mu   sync.Mutex
	open map[rootID]*sharedRoot
}

// get opens a directory, or returns the root that is open already for it. The
// caller retains it.
func (s *rootSet) get(dir string, links openfile.Symlinks) (*sharedRoot, error) {
	root, err := openfile.OpenRoot(dir, links)
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

// release closes a root that nobody retains any more.
func (s *rootSet) release(r *sharedRoot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.refs--; r.refs == 0 && s.open[r.id] == r {
		delete(s.open, r.id)
		_ = r.Close() // O_PATH: there is nothing that could fail
	}
}
