package server

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fserve/fserve/engine"
)

// ErrClosed is returned by Swap when the server has ended.
var ErrClosed = errors.New("server: closed")

// Swap puts what cfg says about files in the place of what the Config has said:
// its Site, Locations and Hosts. The rest of cfg is not looked at.
//
// Roots are opened and everything is checked before anything changes; an error
// wraps ErrConfig, and all goes on as it was. When Swap returns, every request
// whose head is read from then on gets the new configuration. Responses under way
// go on with the version of their file, and requests that wait for the disk end
// under the configuration with which they began.
//
// Swap may be called from any goroutine, but not on an event loop (by a handler
// that is not Blocking): it waits for the loops.
func (s *Server) Swap(cfg Config) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	if s.sites == nil {
		return ErrClosed
	}
	cfg.Routes = s.cfg.Routes
	if !cfg.hasContent() {
		return errNoContent
	}
	next, err := s.compile(&cfg, s.sites)
	if err != nil {
		return err
	}
	before := s.sites
	s.sites = next
	s.engine.Ask(func(l *engine.Loop) {
		if x := s.sessions.of(l); x != nil {
			x.enter(next)
		}
	})
	before.release(&s.roots)
	return nil
}

// enter makes a session use sites. What was rendered for files under others is
// dropped, and so are the files of roots that there are not any more.
func (s *session) enter(t *sites) {
	s.sites = t
	s.responses.resize(&s.srv.hostRows)
	s.loop.Files.SetHeadroom(headroom + t.room)
	s.loop.Files.Prune(func(key string, f *engine.File) bool {
		f.Data = nil
		return t.hasKey(key)
	})
}

// hasKey reports whether a key of the cache is of one of the sites' places.
func (t *sites) hasKey(key string) bool {
	slash := strings.IndexByte(key, '/')
	return slash >= 0 && t.keys[key[:slash]]
}

// leave ends what a task held. If the session has other sites by now, the files
// that the task has put into the cache may be of nobody.
func (s *session) leave(t *sites) {
	if t != s.sites {
		s.loop.Files.Prune(func(key string, _ *engine.File) bool { return s.sites.hasKey(key) })
	}
	t.release(&s.srv.roots)
}

// closeSites closes the roots once: Close may follow Shutdown. No loop runs any
// more.
func (s *Server) closeSites() {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	if s.sites != nil {
		s.sites.release(&s.roots)
		s.sites = nil
	}
}

// Ready returns why the server cannot answer for its files now, or nil: the
// directories that it serves must be readable. It may wait for the disk.
func (s *Server) Ready() error {
	select {
	case <-s.Done():
		return errors.New("the server has ended")
	default:
	}
	s.swapping.Lock()
	t := s.sites
	if t != nil {
		t.hold()
	}
	s.swapping.Unlock()
	if t == nil {
		return ErrClosed
	}
	defer t.release(&s.roots)
	var faults []error
	for _, r := range t.roots {
		if err := readable(r.Root); err != nil {
			faults = append(faults, fmt.Errorf("root: %s: %w", r.id.dir, err))
		}
	}
	return errors.Join(faults...)
}

// readable reports why a root cannot be read.
func readable(root *engine.Root) error {
	dir, e := root.OpenDir(".")
	if e != 0 {
		return e
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
