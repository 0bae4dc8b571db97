package server

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/fserve/fserve/engine/loop"
	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/internal/sys"
)

// ErrClosed is returned by Swap when the server has ended.
var ErrClosed = errors.New("server: closed")

// Swap puts what cfg says about files in the place of what the Config has said:
// its Site, Locations, Hosts, CompressCache, Admission and Breaker, and of its TLS all but what is listened on and how many
// connections there may be. The rest of cfg is not looked at.
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
	if s.set == nil {
		return ErrClosed
	}
	cfg.Routes = s.cfg.Routes
	if err := cfg.checkLive(); err != nil {
		return err
	}
	next, err := s.compile(&cfg)
	if err != nil {
		return err
	}
	if err := s.tls.Replace(cfg.certificates()); err != nil {
		next.Release()
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.http.Admission.Set(cfg.admission())
	s.load.watch(&cfg.Breaker, next.Methods().Ranks())
	s.keepQuotas(&cfg)
	s.releases.use(s.compiler.Releases, sys.Nanotime())
	s.keepReleases()
	s.http.Forms.Resize(cmp.Or(cfg.CompressCache, defaultCompressCache))
	before := s.set
	s.set = next
	s.engine.Ask(func(l *loop.Loop) {
		if x := s.sessions.of(l); x != nil {
			x.Enter(next)
		}
	})
	before.Release()
	if s.cfg.AccessLogs != nil {
		s.cfg.AccessLogs.Keep(next.Logs())
	}
	return nil
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
	set := s.set
	if set != nil {
		set.Retain()
	}
	s.swapping.Unlock()
	if set == nil {
		return ErrClosed
	}
	defer set.Release()
	var faults []error
	for dir, root := range set.Roots() {
		if err := readable(root); err != nil {
			faults = append(faults, fmt.Errorf("root: %s: %w", dir, err))
		}
	}
	return errors.Join(faults...)
}

// readable reports why a root cannot be read.
func readable(root *openfile.Root) error {
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
