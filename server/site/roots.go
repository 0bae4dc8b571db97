package site

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fserve/fserve/engine/openfile"
)

// lookEvery is how often the path of a root is looked at again.
const lookEvery = time.Second

// sharedRoot is an open root that several places and sites may have.
type sharedRoot struct {
	*openfile.Root
	id   rootID
	refs int           // guarded by rootSet.mu
	was  atomic.Uint64 // how many other directories it was
	gone chan struct{} // closed when nobody retains it any more
}

// rootID tells roots apart.
type rootID struct {
	dir   string
	links openfile.Symlinks
}

// rootSet are the open roots of a Compiler.
type rootSet struct {
	mu   sync.Mutex
	open map[rootID]*sharedRoot
}

// get opens a directory, or returns the root that is open already for it, after
// a look at its path. The caller retains it.
func (s *rootSet) get(dir string, links openfile.Symlinks, log *slog.Logger) (*sharedRoot, error) {
	id := rootID{dir, links}
	if r := s.retain(id); r != nil {
		if err := r.look(log); err != nil {
			s.release(r)
			return nil, err
		}
		return r, nil
	}
	root, err := openfile.OpenRoot(dir, links)
	if err != nil {
		return nil, err
	}
	r := &sharedRoot{Root: root, id: id, refs: 1, gone: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[rootID]*sharedRoot)
	}
	s.open[id] = r
	go r.watch(log)
	return r, nil
}

// retain returns the root that is open already, nil: none is.
func (s *rootSet) retain(id rootID) *sharedRoot {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.open[id]
	if r != nil {
		r.refs++
	}
	return r
}

// release closes a root that nobody retains any more.
func (s *rootSet) release(r *sharedRoot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.refs--; r.refs == 0 {
		delete(s.open, r.id)
		close(r.gone)
		_ = r.Close() // O_PATH: there is nothing that could fail
	}
}

// watch looks at the path of the root until it is gone. What hangs there, a network
// file system say, keeps this goroutine and nobody else.
func (r *sharedRoot) watch(log *slog.Logger) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	lost := false
	for {
		select {
		case <-r.gone:
			return
		case <-tick.C:
		}
		switch err := r.look(log); {
		case err != nil && !lost:
			log.Warn("root lost: what was open is served on", "err", err)
			lost = true
		case err == nil && lost:
			log.Info("root found again", "root", r.id.dir)
			lost = false
		}
	}
}

// look looks at the path once.
func (r *sharedRoot) look(log *slog.Logger) error {
	changed, err := r.Refresh()
	if changed {
		r.was.Add(1)
		log.Info("root replaced: another directory is at its path", "root", r.id.dir)
	}
	return err
}
